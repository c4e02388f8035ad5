"""What does not take part: patterns in the syntax of .gitignore, from the root of the share."""

import os
from collections.abc import Iterable

import pathspec

from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.snapshot import Path

_VCS = (".git/", ".svn/", ".hg/", ".bzr/", "_darcs/", "CVS/")

STAGING_PREFIX = b".osxfs-sim-staging-"
"""Of the directories in a root in which new content waits: no side's, ever."""


class Ignore:
    """Whether a path is left out. Of a directory that is, nothing is read."""

    def __init__(self, patterns: Iterable[str], *, vcs: bool = False) -> None:
        """Raises SyncError for a pattern that means nothing."""
        lines = [*patterns, *(_VCS if vcs else ())]
        for line in lines:
            try:
                pathspec.GitIgnoreSpec.from_lines([line])
            except ValueError as error:
                raise SyncError(
                    f"{line!r} is no pattern of .gitignore: {str(error).splitlines()[0]}"
                ) from None
        self._spec = pathspec.GitIgnoreSpec.from_lines(lines) if lines else None

    def leaves_out(self, path: Path, *, is_directory: bool) -> bool:
        """Whether the user's patterns ignore *path*, whose parent takes part; never fails."""
        if self._spec is None:
            return False
        # Names that are not UTF-8 are matched too: surrogates stand for their bytes.
        text = os.fsdecode(b"/".join(path))
        return self._spec.match_file(f"{text}/" if is_directory else text)

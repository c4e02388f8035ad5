"""The bugs of real systems that a share can be given on purpose, one value each.

A bug is described by what a user sees and by the mistake behind it; the mount
makes the mistake (mount/faults/), and docs/museum.md shows each. Where the mistake
is about what is cached, the cache policy decides whether it shows: a share that
caches nothing can have it and be right all the same.

Sources: section numbers V1 to V9 are those of docs/museum.md, which links the threads.
"""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from osxfs_sim.model.events import What
from osxfs_sim.model.user_error import UserError

NOTHING = What(0)


class Bug(enum.StrEnum):
    """By name, as the option and the profile's table have it."""

    STALE_SIZE = "stale-size"
    LOST_BY_LINK = "lost-by-link"
    ONE_SPELLING = "one-spelling"
    TWO_LOCKS = "two-locks"
    PHANTOM = "phantom"
    STALE_CONTENT = "stale-content"
    STILL_MISSING = "still-missing"
    FALSE_CREATE = "false-create"
    DESCRIPTORS = "descriptors"


@dataclass(frozen=True, slots=True)
class BugSpec:
    """One bug of a real system, as the museum describes it."""

    id: str
    """Its number in the museum, such as V1."""
    title: str
    """A few words."""
    shows: str
    """What a user sees."""
    system: str
    """What had it."""
    mistake: str
    """What is done wrong."""
    sources: tuple[str, ...]
    """The threads that report it."""
    unheard: What = NOTHING
    """Changes of files on the host of which the server gets no event."""
    of_directories: bool = False
    """Whether it gets none of directories' either."""
    limit: int = 0
    """The number that it can be given, as the original had it; 0: it takes none."""


_FOR_MAC = "https://github.com/docker/for-mac/issues"
_FEEDBACK = "https://github.com/docker/desktop-feedback/issues"
_CONTENT = What.MODIFIED | What.ATTRIBUTES | What.CLOSED

BUGS: Mapping[Bug, BugSpec] = {
    Bug.STALE_SIZE: BugSpec(
        "V1",
        "Fresh data, cut at a stale size",
        "abc becomes 123abc on the host, and the guest reads 123a",
        "Docker Desktop 4.33 to 4.36, VirtioFS",
        "an edit on the host does not invalidate the cached size, and an open drops the pages",
        (f"{_FOR_MAC}/7494", f"{_FOR_MAC}/7501"),
        unheard=_CONTENT,
    ),
    Bug.LOST_BY_LINK: BugSpec(
        "V2",
        "A file lost by linking it",
        "after link() the old name, still cached, gives ENOENT",
        "Docker Desktop 4.25 to 4.27, VirtioFS",
        "the file changes its inode number, and the guest's name still leads to the old one",
        (
            f"{_FOR_MAC}/7059",
            "https://github.com/podman-container-tools/podman/issues/23061",
        ),
    ),
    Bug.ONE_SPELLING: BugSpec(
        "V3",
        "One spelling at a time",
        "ls a A gives ENOENT for one of them; each alone works",
        "Docker Desktop 4.28, VirtioFS",
        "a process that has listed a directory by one spelling does not find it by another",
        (f"{_FOR_MAC}/7218", f"{_FEEDBACK}/251"),
    ),
    Bug.TWO_LOCKS: BugSpec(
        "V4",
        "An exclusive lock, granted twice",
        "two processes hold flock(LOCK_EX) on one file at the same time",
        "Docker Desktop, VirtioFS below a layer that fakes owners",
        "an open file is another inode to a process that looks it up anew, with locks of its own",
        (f"{_FOR_MAC}/7004",),
    ),
    Bug.PHANTOM: BugSpec(
        "V5",
        "A phantom",
        "lstat succeeds, the directory does not list it, and open and readlink give EINVAL",
        "Docker Desktop in 2026, VirtioFS (names cached for an hour)",
        "a removal on the host ends nothing, and what is not there any more is EINVAL",
        (f"{_FEEDBACK}/520",),
        unheard=What.REMOVED,
    ),
    Bug.STALE_CONTENT: BugSpec(
        "V6",
        "The first content for ever",
        "what the host writes in place is not seen until a remount; delete and create is",
        "Docker Desktop 4.48, Docker VMM",
        "an edit on the host ends nothing, and pages outlive every open",
        (f"{_FEEDBACK}/341",),
        unheard=_CONTENT,
    ),
    Bug.STILL_MISSING: BugSpec(
        "V7",
        "It exists, and it is not there",
        "mkdir gives EEXIST, and the stat after it ENOENT",
        "Filestore of ydb-platform/nbs until March 2024",
        "a negative entry stays until its timeout, whichever side makes the name",
        ("https://github.com/ydb-platform/nbs/issues/579",),
        unheard=What.CREATED,
        of_directories=True,
    ),
    Bug.FALSE_CREATE: BugSpec(
        "V8",
        "Created to be deleted",
        "each IN_DELETE comes after an IN_CREATE of the same name",
        "Docker Desktop 2.2 and 2.3, osxfs",
        "a removal on the host is raised as a creation and a removal",
        (f"{_FOR_MAC}/4519",),
    ),
    Bug.DESCRIPTORS: BugSpec(
        "V9",
        "Too many open files in system",
        "after some 50,000 files, nothing can be opened or made: ENFILE",
        "Docker Desktop 4.17 to 4.32, VirtioFS",
        "the host holds a descriptor of all that the guest's kernel knows, open or not",
        (f"{_FOR_MAC}/6783", f"{_FEEDBACK}/168"),
        limit=50_000,
    ),
}
"""What is known of each, in the order of the museum."""


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A bug that a share has, and its number, where it takes one (else 0)."""

    bug: Bug
    """Which one."""
    limit: int = 0
    """Its number, where it takes one; else 0."""

    def __str__(self) -> str:
        return f"{self.bug}={self.limit}" if self.limit else str(self.bug)


_WORDS = re.compile(r"([^=]*)(?:=([0-9]{1,9}))?")


def parse_fault(text: str) -> FaultSpec:
    """The fault that *text* names: ``phantom``, ``V5``, ``descriptors=100``. Raises UserError."""
    words = _WORDS.fullmatch(text)
    if words is None:
        raise UserError(f"{text!r}: write a bug's name, or such as descriptors=100")
    found = next(
        (bug for bug in Bug if words[1].lower() in (bug.value, BUGS[bug].id.lower())), None
    )
    if found is None:
        raise UserError(f"unknown bug {words[1]!r}: there are {', '.join(Bug)}")
    limit = BUGS[found].limit
    if words[2] is not None:
        if not limit:
            raise UserError(f"the bug {found} takes no number: leave ={words[2]} out")
        limit = int(words[2])
        if limit < 1:
            raise UserError(f"{found}=0: nothing could ever be opened; give 1 or more")
    return FaultSpec(found, limit)


_CONTRARY = frozenset({Bug.STALE_SIZE, Bug.STALE_CONTENT})


def together(faults: Iterable[FaultSpec]) -> tuple[FaultSpec, ...]:
    """*faults* as a tuple. Raises UserError if one is given twice, or two contradict each other."""
    faults = tuple(faults)
    bugs = [fault.bug for fault in faults]
    for bug in bugs:
        if bugs.count(bug) > 1:
            raise UserError(f"the bug {bug} is given twice: leave one of them out")
    if set(bugs) >= _CONTRARY:
        raise UserError(
            f"{Bug.STALE_SIZE} has data end with each open and {Bug.STALE_CONTENT} never: "
            "leave one of them out"
        )
    return faults


def heard(faults: Iterable[FaultSpec], what: What) -> What:
    """The part of a host change *what* that a server with *faults* hears of, NOTHING if none."""
    for fault in faults:
        spec = BUGS[fault.bug]
        if spec.of_directories or What.DIRECTORY not in what:
            what &= ~spec.unheard
    return what if what & ~What.DIRECTORY else NOTHING

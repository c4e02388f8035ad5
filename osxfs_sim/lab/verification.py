"""Whether a run has left the tree that a native run leaves, where the case is deterministic."""

from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.lab.shares import MountedShare, check_failure, real_places
from osxfs_sim.lab.tree_digest import entries_of, first_difference, read_manifest, write_manifest
from osxfs_sim.lab.trees import fresh_tree
from osxfs_sim.lab.workload import Say, Workload, execute


@dataclass(frozen=True, slots=True)
class Reference:
    """What a native run leaves in the deterministic parts of the tree."""

    manifest: Path
    """A file with a line per entry (lab/tree_digest.py)."""
    failure: str = ""
    """Why there is none: what failed in the native run; else empty."""


def reference_of(workload: Workload, tree: Path, work: Path, say: Say) -> Reference | None:
    """What a native run leaves, or its failure. None if nothing is deterministic. Raises CaseError.

    Kept beside the set-up *tree*; where it is not there yet, the command is run once
    for it, below *work*, whichever arms have been asked for.
    """
    if not workload.case.deterministic:
        return None
    parts = (tree.name, workload.variant, workload.form, *sorted(workload.toggles), "manifest")
    reference = Reference(tree.with_name(".".join(parts)))
    if reference.manifest.is_file():
        return reference
    say("a native run, for the tree that every run must leave; this is done once")
    with fresh_tree(workload, tree, work) as host:
        failure = execute(workload, host, host).failure or check_failure(workload, host, host)
        if failure:
            return Reference(reference.manifest, failure)
        entries = entries_of(host, workload.case.deterministic, workload.case.ignored)
        write_manifest(entries, reference.manifest)
    return reference


def tree_mismatch(
    workload: Workload, host: Path, share: MountedShare | None, reference: Reference | None
) -> tuple[str, str | None]:
    """How the tree differs from *reference* first ("": not), and its digest (None: not compared).

    It is of the tree that the guest sees, after the share was flushed and without asking it:
    all is read where it really is. The digest is None where there is nothing to compare with.
    """
    if reference is None:
        return "", None
    if reference.failure:
        return (
            f"the tree cannot be verified, because a native run fails: {reference.failure}",
            None,
        )
    tree, elsewhere = real_places(workload, host, share)
    entries = entries_of(tree, workload.case.deterministic, workload.case.ignored, elsewhere)
    found = host.with_name("found.manifest")
    digest = write_manifest(entries, found)
    difference = first_difference(read_manifest(reference.manifest), read_manifest(found))
    what = f"the tree is not what a native run leaves: {difference}" if difference else ""
    return what, digest

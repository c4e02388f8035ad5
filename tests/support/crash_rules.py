"""What is to become of what two users did around a crash: the documented rules, path by path.

Pure, on trees as read_tree tells them. One user, the *mover*, has changed something, and all
stopped while that travelled; the *maker*, who may be the same, then did something on its own
side. Where the maker has seen what the mover did, its own comes after that, and counts. Where
it has not, both were at work at once, and the table of the mode says who gives way.

A crash of the process leaves no doubt: of every path, one outcome is right. After one of the
machine more may have travelled than is known: there something may come back that was deleted,
and be a conflict, or set aside, that need not. Nothing may be gone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from osxfs_sim.model.synchronization import SyncMode
from osxfs_sim.synchronize.reconcile import Side
from support.sync_trees import Tree

GONE = "nothing is there"


@dataclass(frozen=True)
class Story:
    """What was done, and what each user then had."""

    mode: SyncMode
    is_sure: bool
    """Whether the crash was the process's: or there was none."""
    is_recorded: bool
    """Whether a record speaks of all that had come into place: no crash came between."""
    mover: Side
    maker: Side
    base: Tree
    """Both sides, before."""
    wanted: Tree
    """The mover's side, as the mover left it."""
    changed: frozenset[str]
    """What the mover has put there or taken away, though it were equal."""
    found: Tree
    """The maker's side after the crash."""
    left: Tree
    """The maker's side, as the maker left it."""
    acted: frozenset[str]
    """As *changed*, of the maker."""
    sides: dict[Side, Tree]
    """Both at the next start."""


@dataclass(frozen=True)
class End:
    """What there is when nothing is left to do."""

    sides: dict[Side, Tree]
    conflicts: frozenset[str]
    kept: frozenset[object]
    """Contents, and targets of symlinks, that were set aside."""

    def is_in_conflict(self, path: str) -> bool:
        """Whether *path* is, or lies in, one that is listed."""
        return any(is_within(path, conflict) for conflict in self.conflicts)


def violations(story: Story, end: End) -> Iterator[str]:
    """What is not as it must be."""
    match story.mode:
        case SyncMode.ONE_WAY_REPLICA:
            for side in end.sides:
                yield from _differences(f"the {side}", end.sides[side], story.sides["host"])
            yield from (f"{path}: a conflict" for path in end.conflicts)
        case SyncMode.ONE_WAY_SAFE:
            yield from _one_way(story, end)
        case _ if story.is_sure:
            yield from _both_ways(story, end)
        case _:
            yield from _in_doubt(story, end)


def is_within(path: str, above: str) -> bool:
    """Whether *path* is *above* or lies in it."""
    return f"{path}/".startswith(f"{above}/")


def at(tree: Tree, path: str) -> object:
    """What lies there."""
    return tree.get(path, GONE)


def below(tree: Tree, path: str) -> Tree:
    """What lies there, with all that it holds."""
    return {name: entry for name, entry in tree.items() if is_within(name, path)}


def merged(story: Story) -> tuple[Tree, set[str]]:
    """What both have done, one on top of the other; and where they contradict each other."""
    if story.mover == story.maker:
        return dict(story.left), set()
    tree: Tree = {}
    contested: set[str] = set()
    for path in {*story.base, *story.wanted, *story.found, *story.left}:
        was, moved, made = (at(each, path) for each in (story.base, story.wanted, story.left))
        if path not in story.acted:
            entry = moved
        elif has_seen(story, path) or moved in (was, GONE):
            entry = made
        elif made in (GONE, moved, was):
            entry = moved  # an edit wins; what is written again as it was is none
        else:
            contested.add(path)
            continue
        if entry != GONE:
            tree[path] = entry
    for path in [*tree, *contested]:
        for above in ancestors(path):
            if at(tree, above) == GONE:
                tree[above] = None
            elif tree[above] is not None:
                contested.add(above)
    return tree, {
        path for path in contested if not any(above in contested for above in ancestors(path))
    }


def has_seen(story: Story, path: str) -> bool:
    """Whether the maker had the mover's version of *path* before it acted."""
    return at(story.found, path) == at(story.wanted, path)


def ancestors(path: str) -> Iterator[str]:
    """The directories that *path* lies in."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _both_ways(story: Story, end: End) -> Iterator[str]:
    tree, contested = merged(story)
    is_safe = story.mode is SyncMode.TWO_WAY_SAFE
    doubtful = {path for path in story.acted if may_be_a_conflict(story, path)}
    for path in end.conflicts:
        if not is_safe or path not in contested | doubtful:
            yield f"{path}: a conflict"
    for path in contested:
        for side in end.sides:
            own = story.mover if side == story.mover else story.maker
            if not is_safe:
                own = "host"
            right = story.left if own == story.maker else story.wanted
            yield from _differences(
                f"{path}: the {side}", below(end.sides[side], path), below(right, path)
            )
        if is_safe and path not in end.conflicts:
            yield f"{path}: no conflict"
    if not is_safe:  # and the host's version wins, if that is it
        contested |= {
            path
            for path in doubtful
            if stored(at(story.left, path)) in end.kept
            or has_its_content(end.sides["host"], path, at(story.left, path))
        }
    open_ = {*contested, *end.conflicts}
    comes_back = {
        path for path in story.acted if at(story.left, path) == GONE and not story.is_recorded
    }
    for side, found in end.sides.items():
        for path in {*tree, *found}:
            if any(is_within(path, each) for each in open_):
                continue
            # What the maker deleted before it was known to be agreed upon comes back.
            may_be = {at(tree, path)} if path not in comes_back else set_of(tree, story, path)
            if at(found, path) not in may_be:
                yield f"{path} of the {side} is {at(found, path)!r}: {at(tree, path)!r} is gone"
    if not contested and not doubtful and not end.conflicts and end.kept:
        yield f"set aside: {end.kept}"


def set_of(tree: Tree, story: Story, path: str) -> set[object]:
    """What there may be where the maker has deleted something."""
    return {at(tree, path), at(story.found, path), at(story.wanted, path)}


def may_be_a_conflict(story: Story, path: str) -> bool:
    """Whether the mover has changed just executability: nothing tells if that had arrived."""
    was, wanted = at(story.base, path), at(story.wanted, path)
    return (
        story.mover != story.maker
        and isinstance(was, tuple)
        and isinstance(wanted, tuple)
        and was != wanted
        and was[0] == wanted[0]
    )


def has_its_content(tree: Tree, path: str, entry: object) -> bool:
    """Whether what lies there is *entry*, or differs in executability: nothing to set aside."""
    return stored(at(tree, path)) == stored(entry)


def _in_doubt(story: Story, end: End) -> Iterator[str]:
    tree, contested = merged(story)
    is_safe = story.mode is SyncMode.TWO_WAY_SAFE
    for path in end.conflicts:
        # A directory that holds less than it did may have been emptied, or made anew.
        was_directory = at(story.base, path) is None and at(story.wanted, path) is not None
        if not is_safe or not (story.acted or was_directory):
            yield f"{path}: a conflict"
    host, guest = end.sides["host"], end.sides["guest"]
    for path in {*host, *guest}:
        if not end.is_in_conflict(path) and at(host, path) != at(guest, path):
            yield f"{path}: {at(host, path)!r} of the host, {at(guest, path)!r} of the guest"
        for side, found in end.sides.items():
            if path in found and not any(
                found[path] == at(had, path) for had in (*story.sides.values(), story.wanted)
            ):
                yield f"{path} of the {side}: {found[path]!r} was made by nobody"
    versions = [(path, entry, is_lost_to(story, path, entry)) for path, entry in tree.items()]
    for path in contested:
        versions = [each for each in versions if not is_within(each[0], path)]
        for had in (story.left, story.wanted):
            if is_safe or had is (story.left if story.maker == "host" else story.wanted):
                versions += [(name, entry, False) for name, entry in below(had, path).items()]
    for path, entry, may_be_kept in versions:
        if entry in (at(host, path), at(guest, path)):
            continue
        if may_be_kept and (
            stored(entry) in end.kept
            or has_its_content(host, path, entry)
            or (entry is None and at(host, path) != GONE)
        ):
            continue  # an empty directory that gives way is no loss
        yield f"{path}: {entry!r} is gone"


def is_lost_to(story: Story, path: str, entry: object) -> bool:
    """Whether *entry*, in doubt, may give way to what the host has, and is set aside then."""
    return story.mode is SyncMode.TWO_WAY_RESOLVED and at(story.sides["host"], path) != entry


def stored(entry: object) -> object:
    """As what was set aside is told."""
    return entry[0] if isinstance(entry, tuple) else entry


def _one_way(story: Story, end: End) -> Iterator[str]:
    host = story.sides["host"]
    guest = end.sides["guest"]
    yield from _differences("the host", end.sides["host"], host)
    own = guests_own(story)
    doubtful = {path for path in end.conflicts if may_be_the_guests(story, path)}
    for path in doubtful:
        found, right = below(guest, path), below(story.sides["guest"], path)
        if not story.is_sure:  # what a crash has interrupted may have emptied it before
            right = {name: entry for name, entry in right.items() if name in found}
        yield from _differences("a conflict of the guest", found, right)
    for path, entry in own.items():
        is_hosts = is_no_edit(story, path) and at(guest, path) == at(host, path)
        if at(guest, path) != entry and not is_hosts:
            yield f"{path}, the guest's own: {entry!r} is gone, for {at(guest, path)!r}"
        elif at(guest, path) != at(host, path) and path in host and not end.is_in_conflict(path):
            yield f"{path}: no conflict"
    for path, entry in host.items():
        is_in_the_way = (
            path in own
            or any(each in own and own[each] is not None for each in ancestors(path))
            or any(is_within(path, each) for each in doubtful)
        )
        if entry is not None:
            is_in_the_way = is_in_the_way or any(is_within(each, path) for each in own)
        if not is_in_the_way and at(guest, path) != entry:
            yield f"{path} of the guest is {at(guest, path)!r}, and not the host's"
    for path in guest:
        if path in host or path in own or any(is_within(each, path) for each in own):
            continue
        if end.is_in_conflict(path):
            continue  # which moves nothing
        may_stay = not story.is_sure or holds_what_came_unrecorded(story, path)
        if not may_stay or at(story.sides["guest"], path) != guest[path]:
            yield f"{path} is still there, which the host has deleted"
    for path in end.conflicts - doubtful:
        if not any(is_within(each, path) or is_within(path, each) for each in own):
            yield f"{path}: a conflict"


def may_be_the_guests(story: Story, path: str) -> bool:
    """Whether what the guest has may be its own: a conflict with what the host has.

    In doubt, a directory that holds less than it did may have been emptied, or made anew, and
    nothing tells of what has come that it was agreed upon, as that very object. Without doubt,
    a directory gives way to something else only if it is known with all that it holds.
    """
    host = at(story.sides["host"], path)
    is_left = host not in (GONE, None)
    if story.is_sure:
        is_directory = at(story.sides["guest"], path) is None
        return is_left and is_directory and holds_what_came_unrecorded(story, path)
    return host != GONE and (
        (is_left and at(story.base, path) is None) or has_come_to_the_guest(story, path)
    )


def holds_what_came_unrecorded(story: Story, path: str) -> bool:
    """Whether it, or something in it, came to the guest by the very step at which all stopped.

    Which object that is, is not known: so what the host deletes then does not travel.
    """
    return not story.is_recorded and any(
        is_within(each, path) and has_come_to_the_guest(story, each) for each in story.changed
    )


def has_come_to_the_guest(story: Story, path: str) -> bool:
    """Whether it has what the host had put there, or has again what it had deleted itself."""
    was, wanted = at(story.base, path), at(story.wanted, path)
    has = at(story.sides["guest"], path)
    if path not in story.changed or has == GONE:
        return False
    return has == wanted if story.mover == "host" else wanted == GONE and has == was


def guests_own(story: Story) -> Tree:
    """What the guest has put there, and not the synchronizer."""
    touched: set[str] = set()
    tree: Tree = {}
    if story.mover == "guest":
        touched, tree = {*story.changed}, story.wanted
    if story.maker == "guest":
        touched, tree = {*touched, *story.acted}, story.left
    return {path: tree[path] for path in touched if path in tree}


def is_no_edit(story: Story, path: str) -> bool:
    """Whether the guest has written what was agreed upon, before the host's edit came."""
    return (
        story.mover == "host"
        and story.maker == "guest"
        and not has_seen(story, path)
        and at(story.left, path) == at(story.base, path) != GONE
    )


def _differences(what: str, found: Tree, right: Tree) -> Iterator[str]:
    for path in {*found, *right}:
        if at(found, path) != at(right, path):
            yield f"{what}: {path} is {at(found, path)!r}: {at(right, path)!r} is gone"

"""Of which objects the guest's kernel has to know mode and owner, before and after a request.

With default_permissions inode_permission() refreshes them where they are not known
(fuse_permission, fs/fuse/dir.c). Who calls it, and how often, is fs/namei.c of Linux 6.18.
"""

from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.recording import TAKES_A_NAME, Lookup, Recording

OF_ITSELF = frozenset({Operation.ACCESS, Operation.OPEN, Operation.OPENDIR})
REMOVES = frozenset({"unlink", "unlinkat", "rmdir"})
LINKS = frozenset({"link", "linkat"})
MAY_MAKE = (" O_CREAT", " O_EXCL")
"""What calls end with that may make the file that they open."""
OF_THE_PARENT = TAKES_A_NAME | {Operation.MKNOD, Operation.MKDIR, Operation.SYMLINK}


def checked_before(recording: Recording, index: int, *, is_known: bool) -> tuple[int, ...]:
    """The inode numbers that are checked before the question number *index*, in turn.

    *is_known*: of a LOOKUP, whether the kernel has a positive dentry of the name, valid or not.
    """
    question = recording.questions[index]
    operation, inode = question.operation, question.inode
    if operation is Operation.LOOKUP:
        return _of_a_lookup(recording, index, is_known)
    if operation in OF_ITSELF or operation in OF_THE_PARENT:  # may_open, may_create, may_delete
        return (inode,)
    if operation is Operation.RENAME:  # may_delete of the old name, may_create of the new
        return inode, question.found
    if operation is Operation.LINK:  # safe_hardlink_source, may_create
        return question.found, inode
    if operation is Operation.SETATTR and question.call == "truncate":
        return (inode,)
    return ()


def checked_after(recording: Recording, index: int) -> tuple[int, ...]:
    """The inode numbers that are checked once the question number *index* was answered.

    A file that open(2) has made is opened by may_open like any other. And of what cannot be
    removed or linked (a directory by unlink(2), say) the parent is checked, though no request
    comes of it.
    """
    question = recording.questions[index]
    if question.operation is Operation.CREATE:
        return (question.found,)
    role, then = recording.lookups.get(index), recording.following(index)
    if role is Lookup.LAST and question.found and question.call in REMOVES:
        refused = then is None or then.operation not in TAKES_A_NAME
    elif role is Lookup.EXCLUSIVE and question.error and question.call in LINKS:
        refused = then is None or then.operation is not Operation.LINK
    else:
        refused = False
    return (question.inode,) if refused else ()


def _of_a_lookup(recording: Recording, index: int, is_known: bool) -> tuple[int, ...]:
    question, role = recording.questions[index], recording.lookups.get(index)
    parent = question.inode
    then = recording.following(index)
    if role is Lookup.RENAMED:
        # Both paths have been walked by now. Where the old name is missing nothing more is said
        # of the new one: it is taken to be in the same directory.
        is_target = not question.error and then is not None and then.operation is Operation.LOOKUP
        return parent, then.inode if is_target and then is not None else parent
    if role is Lookup.EXCLUSIVE and question.call.startswith("rename"):
        return ()
    goes_on_in_it = then is not None and then.inode == question.found and bool(then.name)
    may_make = not goes_on_in_it and not question.error
    makes = (may_make and question.call.endswith(MAY_MAKE)) or (
        then is not None
        and then.operation is Operation.CREATE
        and (then.inode, then.name) == (parent, question.name)
    )
    # may_o_create comes before the LOOKUP of open(2), for a name that is not known to be there.
    return (parent, parent) if makes and not is_known else (parent,)

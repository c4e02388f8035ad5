"""What changes a file system is done by descriptor, and to a path by one package alone.

A path is walked anew by each call, and who may write a directory on the way decides where it
leads. So no module changes anything by a path: it is done to a descriptor (osxfs_sim/fs/at.py),
to one name in a directory's descriptor, or is the writing of a file for the user
(osxfs_sim/fs/output.py). Held by reading every call; a rule that has never refused anything
proves nothing, so it is shown what it must refuse. Where a module does otherwise, the table
says why nobody else can swap what its paths lead to.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import osxfs_sim

PACKAGE = Path(osxfs_sim.__file__).parent

_OWN_TREE = "in a directory that it has just made for itself (mkdtemp: 0700, a name of its own)"
_OWN_RUNTIME = "in the runtime directory, which is checked to be its user's alone"
_OWN_STATE = "in its state's directory, which is checked to be its own, and 0700"
_PLAYS = "plays programs, which go by paths, " + _OWN_TREE

BY_PATH = {
    # Who is an end user of directories of their own.
    "coherence": _PLAYS,
    "emulated_shares.py": _OWN_TREE,
    "measuring_machine.py": _PLAYS,
    "cli/histories.py": _OWN_TREE,
    "cli/museum.py": _OWN_TREE,
    "cli/probing.py": _OWN_TREE,
    "lab/shares.py": _OWN_TREE,
    "lab/trees.py": _OWN_TREE + ", and in the user's cache",
    # Files of the kernel, and of the machine's administrator.
    "cli/errors.py": "/dev/null",
    "lab/caches.py": "/proc/sys/vm/drop_caches",
    "mount/mounts/connections.py": "/sys/fs/fuse/connections",
    "mount/server/supervisor.py": "/proc/self/oom_score_adj; imports nothing of ours, only opens",
    "mount/writeback/machine_sync.py": "/dev/loop-control and what it gives, /dev/fuse, a memfd",
    "mount/mounts/mountpoints.py": "/dev/fuse; the runtime directory, then opened and checked",
    "mount/loop/pm_qos.py": "/dev/cpu_dma_latency and /proc/self/timerslack_ns",
    # Places that nobody else may write.
    "mount/server/control_socket.py": _OWN_RUNTIME,
    "mount/server/synthetic_directories.py": _OWN_RUNTIME,
    "mount/mounts/exports_root.py": "makes mount points where its user says, as that user",
    "mount/tree/owner_store.py": "in the state's directory of its user; SQLite opens by paths",
    "synchronize/archive.py": _OWN_STATE,
    "synchronize/claims.py": "in /run or the user's runtime directory, checked and 0700",
    "synchronize/stage.py": "its record, " + _OWN_STATE,
}

# Never by a path: the object's own descriptor is what is changed.
_OF_OBJECTS = {"chmod", "lchmod", "chown", "lchown", "utime", "setxattr", "removexattr", "truncate"}
# Relative to a directory's descriptor they are of one name, which none of them follows.
_OF_NAMES = {
    *("mkdir", "rmdir", "unlink", "remove", "mkfifo", "mknod"),
    *("rename", "replace", "symlink", "link"),
}
# Whole paths, whatever else they are given.
_OF_TREES = {"makedirs", "removedirs", "renames"}
_OF_PATHS = {  # methods of pathlib.Path, and of none of ours with as many arguments
    *("write_text", "write_bytes", "touch", "chmod", "lchmod", "symlink_to", "hardlink_to"),
    *("mkdir", "rmdir", "unlink", "rename", "replace"),
}
_OF_OUR_OWN = {"super()"}  # handlers.py has methods of the same names
_SHUTIL = {"copy", "copy2", "copyfile", "copymode", "copystat", "copytree", "move", "chown"}
_READING = {
    *("O_RDONLY", "O_PATH", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"),
    *("O_NOATIME", "O_SYNC", "O_ASYNC"),
}
_UNFOLLOWED = {"O_NOFOLLOW", "O_EXCL", "O_TMPFILE", "O_DIRECTORY", "O_PATH"}


def violations(source: str, shared: "dict[str, set[str]] | None" = None) -> Iterator[str]:
    """What in *source* changes something by a path. *shared*: flags that it imports."""
    tree = ast.parse(source)
    flags = _Flags(tree, shared or {})
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not _is_fine(node, flags, functions):
            yield f"line {node.lineno}: {ast.unparse(node)[:100]}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil"):
            wrong = {each.name for each in node.names} & (
                _OF_OBJECTS | _OF_NAMES | _OF_TREES | _SHUTIL | {"rmtree", "open"}
            )
            if wrong:
                yield f"line {node.lineno}: from {node.module} import {', '.join(sorted(wrong))}"


def _is_fine(call: ast.Call, flags: "_Flags", functions: list[ast.FunctionDef]) -> bool:
    called = ast.unparse(call.func)
    module, _, name = called.rpartition(".")
    given = {each.arg for each in call.keywords}
    if module == "os":
        return _is_fine_of_os(call, name, given, flags, functions)
    if module == "shutil":
        return name not in _SHUTIL and (name != "rmtree" or "dir_fd" in given)
    if called == "open":
        return not _may_write(call, 1)
    if module and name == "open" and not _is_method_of_ours(module):
        return not _may_write(call, 0)
    if module and name in _OF_PATHS and module not in _OF_OUR_OWN:
        if name in ("rename", "replace"):  # str.replace and dataclasses.replace have others
            return len(call.args) != 1 or bool(given)
        return _is_method_of_ours(module)
    return True


def _is_fine_of_os(
    call: ast.Call,
    name: str,
    given: "set[str | None]",
    flags: "_Flags",
    functions: list[ast.FunctionDef],
) -> bool:
    if name in _OF_OBJECTS:
        # Of a descriptor, where the name says so: fd, data_fd, self._fd.
        return _is_descriptor(call.args[0])
    if name in _OF_NAMES:
        wanted = {"src_dir_fd", "dst_dir_fd"} if name in ("rename", "replace") else {"dir_fd"}
        if name == "link":
            return "dst_dir_fd" in given and "follow_symlinks" in given
        return wanted <= given
    if name in _OF_TREES:
        return False
    if name == "open":
        used = flags.of(call.args[1], [each for each in functions if _holds(each, call)])
        if (used is not None and used <= _READING) or _is_the_kernels(call.args[0]):
            return True
        return "dir_fd" in given and used is not None and bool(used & _UNFOLLOWED)
    return True


def _is_the_kernels(path: ast.expr) -> bool:
    """Whether it is a literal path that only the kernel, or root, puts anything at."""
    return (
        isinstance(path, ast.Constant)
        and isinstance(path.value, str)
        and path.value.startswith(("/dev/", "/proc/", "/sys/"))
        and not path.value.startswith("/dev/shm")
    )


def _holds(function: ast.FunctionDef, call: ast.Call) -> bool:
    return function.lineno <= call.lineno <= (function.end_lineno or 0)


def _is_descriptor(node: ast.expr) -> bool:
    last = ast.unparse(node).rpartition(".")[2]
    return last in ("fd", "fh", "writing", "target") or last.endswith("_fd")


def _is_method_of_ours(module: str) -> bool:
    """Of what has methods called as those of paths.

    Layers of handlers (the next is ``self.next`` or ``self._next``), backings, injectors, roots.
    """
    return module in ("self.next", "self._next") or module.rpartition(".")[2] in (
        *("_backing", "_injector", "super()", "root", "tarfile"),
    )


def _may_write(call: ast.Call, position: int) -> bool:
    mode: ast.expr | None = call.args[position] if len(call.args) > position else None
    for each in call.keywords:
        if each.arg == "mode":
            mode = each.value
    if mode is None:
        return False
    if not isinstance(mode, ast.Constant):
        return True
    target = call.args[0] if position else None
    if target is not None and _is_descriptor(target):
        return False
    return not isinstance(mode.value, str) or bool(set(mode.value) & set("wax+"))


class _Flags:
    """Which flags of open(2) an expression may have, by the constants of its module."""

    def __init__(self, tree: ast.Module, shared: dict[str, set[str]]) -> None:
        self.known = dict(shared)
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found = self.of(node.value, [])
                if found:
                    self.known[node.targets[0].id] = found

    def of(self, node: ast.expr, functions: list[ast.FunctionDef]) -> set[str] | None:
        """None where that cannot be told."""
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                parts = self.of(left, functions), self.of(right, functions)
                if None in parts:
                    # What is known to be among them is enough to know that none is followed.
                    return (parts[0] or parts[1] or set()) | {"?"} if any(parts) else None
                return (parts[0] or set()) | (parts[1] or set())
            case ast.BinOp(left=left, op=ast.BitAnd()):
                return self.of(left, functions)
            case ast.IfExp(body=body, orelse=orelse):
                parts = self.of(body, functions), self.of(orelse, functions)
                return None if None in parts else (parts[0] or set()) | (parts[1] or set())
            case ast.Attribute(value=ast.Name(id="os"), attr=attribute):
                return {attribute}
            case ast.Constant(value=0):
                return set()
            case ast.Name(id=name) if name in self.known:
                return self.known[name]
            case ast.Name(id=name):
                found: set[str] = set()
                for function in functions:
                    for each in ast.walk(function):
                        match each:
                            case (
                                ast.Assign(targets=[ast.Name(id=assigned)], value=value)
                                | ast.AugAssign(target=ast.Name(id=assigned), value=value)
                            ) if assigned == name:
                                found |= self.of(value, []) or {"?"}
                return found or None
        return None


def _flags_of_modules() -> dict[str, set[str]]:
    """Flags that some module gives a name to which others import."""
    shared: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        known = _Flags(ast.parse(path.read_text()), {}).known
        shared |= {name: each for name, each in known.items() if not name.startswith("_")}
    return shared


def modules() -> Iterator[tuple[str, str]]:
    """Each module below the package and its source. Cases are scripts of their own."""
    for path in sorted(PACKAGE.rglob("*.py")):
        within = path.relative_to(PACKAGE)
        if within.parts[0] not in ("cases", "fs"):
            yield str(within), path.read_text()


def allowed(module: str) -> bool:
    return module in BY_PATH or module.partition("/")[0] in BY_PATH


@pytest.mark.takes_seconds
def test_nothing_is_changed_by_a_path() -> None:
    shared = _flags_of_modules()
    found = {
        module: wrong
        for module, source in modules()
        if not allowed(module) and (wrong := list(violations(source, shared)))
    }
    assert not found


@pytest.mark.takes_seconds
def test_each_exception_is_still_needed() -> None:
    shared = _flags_of_modules()
    needed = {
        place
        for module, source in modules()
        for place in (module, module.partition("/")[0])
        if place in BY_PATH and any(violations(source, shared))
    }
    assert needed == set(BY_PATH)


def test_no_exception_works_on_a_tree_of_others() -> None:
    """What serves requests, writes back, recovers, synchronizes and copies has none."""
    others = (
        *(
            "mount/requests/handlers.py",
            "mount/writeback/handlers.py",
            "mount/writeback/host_writer.py",
            "mount/writeback/host_places.py",
            "mount/writeback/host_contents.py",
            "mount/writeback/restoring.py",
            "mount/writeback/recovery.py",
            "mount/requests/namespace.py",
        ),
        *(
            "mount/tree/backing.py",
            "mount/tree/owners.py",
            "mount/tree/set_id.py",
            "mount/mounts/copying.py",
        ),
        *(
            "mount/writeback/journal.py",
            "mount/writeback/journal_directory.py",
            "mount/writeback/journal_reader.py",
            "mount/writeback/recovery_progress.py",
            "mount/writeback/inode_resolver.py",
            "mount/writeback/quarantine.py",
            "mount/writeback/unwritten.py",
            "mount/server/local.py",
        ),
        *("synchronize/transition.py", "synchronize/roots.py", "synchronize/engine.py"),
        *("trace/files.py", "lab/results.py", "cli/report.py", "mount/events/inject.py"),
    )
    there = {module for module, _ in modules()}
    assert set(others) <= there
    assert not [each for each in others if allowed(each)]


@pytest.mark.parametrize(
    "source",
    [
        "os.chmod(path, 0o644)",
        "os.chmod(name, 0o644, dir_fd=dir_fd)",  # it follows the name
        "os.chown(copy, 0, 0)",
        "os.chown(name, 0, 0, dir_fd=dir_fd, follow_symlinks=False)",  # another's by then?
        "os.utime(path)",
        "os.truncate(path, 0)",
        "os.setxattr(path, 'user.x', b'')",
        "os.mkdir(path)",
        "os.makedirs(path, exist_ok=True)",
        "os.rename(old, new)",
        "os.rename(old, new, src_dir_fd=fd)",
        "os.replace(beside, file)",
        "os.unlink(path)",
        "os.rmdir(path)",
        "os.link(old, new)",
        "os.symlink('to', path)",
        "os.mknod(path)",
        "os.open(path, os.O_WRONLY)",
        "os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)",
        "os.open(path, flags)",
        "os.open('/dev/shm/x', os.O_RDWR)",
        "os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=dir_fd)",  # it may follow a link
        "_F = os.O_RDWR\nos.open(path, _F)",
        "def f():\n    flags = os.O_WRONLY\n    os.open(path, flags)",
        "open(path, 'w')",
        "open(path, mode='ab')",
        "open(path, 'r+b')",
        "open(path, mode)",
        "path.open('w')",
        "path.write_text('')",
        "path.write_bytes(b'')",
        "path.chmod(0o700)",
        "path.mkdir(parents=True)",
        "(directory / 'x').unlink(missing_ok=True)",
        "path.touch()",
        "path.rename(other)",
        "beside.replace(path)",
        "path.symlink_to('x')",
        "shutil.rmtree(path)",
        "shutil.copytree(a, b, symlinks=True)",
        "shutil.move(a, b)",
        "from os import chmod",
        "from shutil import rmtree",
    ],
)
def test_the_rule_refuses(source: str) -> None:
    assert len(list(violations(f"import os, shutil\n{source}"))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "os.fchmod(fd, 0o644)",
        "os.truncate(fd, 0)",
        "os.mkdir(name, 0o700, dir_fd=dir_fd)",
        "os.rename(a, b, src_dir_fd=fd, dst_dir_fd=fd)",
        "os.link(a, b, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)",
        "os.open(path, os.O_RDONLY | os.O_CLOEXEC)",
        "os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd)",
        "_F = os.O_RDWR | os.O_NOFOLLOW\nos.open(name, _F, dir_fd=dir_fd)",
        "def f():\n    flags = os.O_WRONLY | os.O_EXCL\n    os.open(name, flags, dir_fd=fd)",
        "os.open('/dev/fuse', os.O_RDWR | os.O_CLOEXEC)",
        "open(path)",
        "open(path, 'rb')",
        "open(fd, 'wb')",
        "path.open('rb')",
        "'text'.replace('a', 'b')",
        "dataclasses.replace(x, y=1)",
        "shutil.rmtree(name, dir_fd=dir_fd)",
        "shutil.which('git')",
        "super().mkdir(parent, name)",
        "self.next.mkdir(request, parent, name, mode, ctx)",
        "at.set_mode(fd, 0o644)",
    ],
)
def test_the_rule_lets_pass(source: str) -> None:
    assert list(violations(f"import os, shutil\n{source}")) == []


def test_an_exception_names_modules_that_exist() -> None:
    assert all((PACKAGE / each).exists() for each in BY_PATH)

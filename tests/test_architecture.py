"""Who may import whom: the table of the architecture, held by reading every import.

Imports are read from the source, those inside functions too. A rule that has
never refused anything proves nothing, so each is shown a package it must refuse.
"""

import ast
import functools
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import osxfs_sim

PACKAGE = Path(osxfs_sim.__file__).parent
TESTS = Path(__file__).parent

# The architecture's table: of our own packages, those that each may import besides
# itself. What is not named here (the package itself, cli) may import all of them.
MAY_IMPORT = {
    "model": set(),
    # Whoever works on a tree that others may change does it by descriptor.
    "fs": set(),
    "mount": {"model", "fs"},
    "simulate": {"model", "trace"},
    # A share runs the synchronizer, which knows nothing of shares.
    "synchronize": {"model", "fs"},
    "trace": {"model", "fs"},
    "coherence": {"model", "fs", "toml_files"},
    "lab": {"model", "trace", "coherence", "fs", "sources", "toml_files"},
    "report": {"lab", "trace", "simulate", "coherence", "fs"},
    "sources": set(),
    "toml_files": {"model", "fs"},
    "profile_file": {"model", "toml_files"},
    "catalogue": {"model", "sources", "fs", "profile_file", "toml_files"},
    "share_options": {"model", "catalogue"},
    "settings": {"model", "catalogue", "share_options"},
    "exports": {"model", "settings", "fs", "toml_files", "share_options"},
    # The lab is handed how an arm is mounted: this is where the two meet.
    "predicted_systems": {"model", "simulate", "lab", "emulated_shares"},
    "measuring_machine": {
        *("model", "trace", "simulate", "coherence", "lab", "emulated_shares"),
        "predicted_systems",
    },
    "predicting": {
        *("fs", "model", "trace", "simulate", "coherence", "lab", "emulated_shares"),
        *("predicted_systems", "measuring_machine"),
    },
    "verifying": {"model", "trace", "simulate", "lab", "emulated_shares", "predicting"},
    "emulated_shares": {"lab", "mount", "settings", "catalogue", "model"},
}

# Where the code does otherwise, module by module, so that it does not spread unseen.
BEYOND_THE_TABLE = {
    # Settings are plain values, and what a mount is told to do.
    ("osxfs_sim.mount", "osxfs_sim.settings"),
    # A trace is written where the requests are, in the format that others read.
    ("osxfs_sim.mount", "osxfs_sim.trace"),
    # The server of a synchronized share runs the synchronizer in a thread.
    ("osxfs_sim.mount", "osxfs_sim.synchronize"),
    # Pure parts of the model that tables are written with.
    ("osxfs_sim.report", "osxfs_sim.model"),
}


# The same within mount: of its packages, and of the modules that lie beside them, those that each
# may import besides itself. What a module of mount's imports of the others goes by MAY_IMPORT.
MOUNT_MAY_IMPORT = {
    "errors": set(),
    "syscalls": set(),
    "loop": set(),
    "mounts": {"syscalls", "errors"},
    "tree": {"syscalls", "errors"},
    "latency": {"loop", "mounts", "errors"},
    "watch": {"tree", "mounts", "syscalls", "errors"},
    "requests": {"tree", "watch", "loop", "latency", "syscalls", "errors"},
    # These two are siblings that do not know each other.
    "events": {"requests", "tree", "watch", "loop", "mounts", "syscalls", "errors"},
    "writeback": {
        *("requests", "tree", "watch", "loop", "latency", "mounts", "syscalls", "errors"),
    },
    "faults": {"events", "requests", "tree", "watch", "loop", "errors"},
    # They start a share and end it, from outside: of write-back they know what it leaves behind.
    "force": {"mounts", "syscalls", "errors", "writeback.unwritten"},
    "launch": {"force", "mounts", "syscalls", "errors", "writeback.unwritten"},
    "server": {
        *("requests", "events", "writeback", "faults", "tree", "watch", "loop", "latency"),
        *("mounts", "launch", "force", "syscalls", "errors"),
    },
}

# Where mount does otherwise, module by module.
BEYOND_THE_TABLE_OF_MOUNT: set[tuple[str, str]] = set()


@functools.cache
def imports_of(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """The full names of all that *source* imports, itself being *module*."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    above = module.split(".")
                    kept = len(above) - node.level + is_package
                    base = ".".join([*above[:kept], *filter(None, [base])])
                found |= {f"{base}.{alias.name}" for alias in node.names}
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found.add(name)
    return found


def modules_of(package: Path) -> Iterator[tuple[str, set[str]]]:
    """Each module's full name and what it imports. Cases are scripts of their own."""
    for path in sorted(package.rglob("*.py")):
        within = path.relative_to(package)
        if within.parts[0] == "cases":
            continue
        is_package = path.name == "__init__.py"
        parts = within.parent.parts if is_package else within.with_suffix("").parts
        module = ".".join(("osxfs_sim", *parts))
        yield module, imports_of(path.read_text(), module, is_package=is_package)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def impure(package: Path) -> list[str]:
    """What the model imports that is neither the standard library, numpy nor the model."""
    allowed = {*sys.stdlib_module_names, "numpy"}
    return [
        f"{module} imports {name}"
        for module, names in modules_of(package)
        if is_within(module, "osxfs_sim.model")
        for name in sorted(names)
        if name.split(".")[0] not in allowed and not is_within(name, "osxfs_sim.model")
    ]


# A decision takes time as an argument, so nothing in the model may ask for it,
# or for anything else of the world.
IMPURE_LIBRARIES = {"time", "socket", "subprocess", "threading", "random", "select", "asyncio"}


def worldly(package: Path) -> list[str]:
    """What the model imports of the standard library that no pure decision needs."""
    return [
        f"{module} imports {name}"
        for module, names in modules_of(package)
        if is_within(module, "osxfs_sim.model")
        for name in sorted(names)
        if name.split(".")[0] in IMPURE_LIBRARIES
    ]


def with_fuse(package: Path) -> list[str]:
    """Modules outside mount that import pyfuse3."""
    return [
        f"{module} imports {name}"
        for module, names in modules_of(package)
        if not is_within(module, "osxfs_sim.mount")
        for name in sorted(names)
        if is_within(name, "pyfuse3")
    ]


def against_the_table(package: Path) -> list[str]:
    """Imports between our own packages that the table does not have."""
    wrong = []
    for module, names in modules_of(package):
        own = module.split(".")[1:2]
        if not own or own[0] not in MAY_IMPORT:
            continue
        for name in sorted(names):
            if not is_within(name, "osxfs_sim"):
                continue
            other = name.split(".")[1:2]
            if not other or other[0] in MAY_IMPORT[own[0]] | {own[0], "__version__"}:
                continue
            if not any(
                is_within(module, importer) and is_within(name, imported)
                for importer, imported in BEYOND_THE_TABLE
            ):
                wrong.append(f"{module} imports {name}")
    return wrong


def against_the_table_of_mount(package: Path) -> list[str]:
    """Imports between the packages of mount that its table does not have."""
    within = "osxfs_sim.mount"
    wrong = []
    for module, names in modules_of(package):
        if not is_within(module, within) or module == within:
            continue
        own = module.removeprefix(f"{within}.").split(".")[0]
        allowed = MOUNT_MAY_IMPORT.get(own, set()) | {own}
        for name in sorted(names):
            if not is_within(name, within) or name == within:
                continue
            if any(is_within(name, f"{within}.{each}") for each in allowed):
                continue
            if not any(
                is_within(module, importer) and is_within(name, imported)
                for importer, imported in BEYOND_THE_TABLE_OF_MOUNT
            ):
                wrong.append(f"{module} imports {name}")
    return wrong


def beside_the_reader(package: Path) -> list[str]:
    """Who reads TOML, or checks what was read, by another way than toml_files."""
    libraries = {
        "tomllib": {"osxfs_sim.fs.reading", "osxfs_sim.toml_files"},
        "osxfs_sim.fs.reading.parse_toml": {"osxfs_sim.toml_files"},
        "msgspec": {"osxfs_sim.toml_files"},
    }
    return [
        f"{module} imports {name}"
        for module, names in modules_of(package)
        for name in sorted(names)
        for library, readers in libraries.items()
        if is_within(name, library) and module not in readers
    ]


# The small helpers, started as scripts: they must start fast, and find what they import.
HELPERS: dict[str, set[str]] = {
    "osxfs_sim.mount.latency.prober": set(),
    "osxfs_sim.mount.mounts.binder": set(),
    "osxfs_sim.mount.server.supervisor": set(),
    "osxfs_sim.mount.server.waits": set(),
    "osxfs_sim.coherence.scorecard.listener": {"inotify_simple"},
    "osxfs_sim.coherence.staleness.load": set(),
    "osxfs_sim.coherence.edits.editor": set(),
}


def beyond_the_library(package: Path) -> list[str]:
    """What the small helpers import that is not the standard library, nor named above."""
    return [
        f"{module} imports {name}"
        for module, names in modules_of(package)
        if module in HELPERS
        for name in sorted(names)
        if name.split(".")[0] not in sys.stdlib_module_names | HELPERS[module]
    ]


# What writes to the host runs in processes that cannot import these: server/without_fuse.py.
FUSE = {"pyfuse3", "trio"}
WITHOUT_FUSE = {
    "osxfs_sim.mount.server.recovery_process",
    "osxfs_sim.mount.server.without_fuse",
    *(
        f"osxfs_sim.mount.writeback.{name}"
        for name in (
            *("host_writer", "recovery", "journal", "overlay", "quarantine", "unwritten"),
            *("journal_data", "journal_format", "journal_directory", "journal_reader"),
            "recovery_progress",
            *(
                "host_places",
                "host_contents",
                "effects",
                "effect_applier",
                "restoring",
                "conflicts",
                "draining",
                "room",
                "inode_resolver",
            ),
        )
    ),
}


def tied_to_a_mount(package: Path) -> list[str]:
    """How what must run without FUSE would import it, however many modules lie between."""
    imports = dict(modules_of(package))
    wrong = []
    for module in sorted(WITHOUT_FUSE & imports.keys()):
        seen, waiting = {module}, [module]
        while waiting:
            here = waiting.pop()
            for name in sorted(imports[here]):
                if name.split(".")[0] in FUSE:
                    wrong.append(f"{module} needs {name}, which {here} imports")
                # What is imported of a module imports the module, and the packages above it.
                parts = name.split(".")
                above = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
                found = (above & imports.keys()) - seen
                seen |= found
                waiting += sorted(found)
    return wrong


RULES = [
    *(impure, worldly, with_fuse, against_the_table),
    *(against_the_table_of_mount, beside_the_reader, beyond_the_library, tied_to_a_mount),
]


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps(rule):
    assert rule(PACKAGE) == []


def test_the_rules_are_about_modules_that_exist():
    modules = {module for module, _ in modules_of(PACKAGE)}
    assert {"osxfs_sim", "osxfs_sim.model.latency"} <= modules
    assert set(HELPERS) | WITHOUT_FUSE <= modules
    imports = dict(modules_of(PACKAGE))
    assert "pyfuse3" in imports["osxfs_sim.mount.requests.handlers"]


def test_the_table_of_mount_has_all_that_is_in_it():
    here = {path.stem for path in (PACKAGE / "mount").iterdir() if path.name[0] != "_"}
    assert set(MOUNT_MAY_IMPORT) == here
    allowed = {each for others in MOUNT_MAY_IMPORT.values() for each in others}
    assert {each.split(".")[0] for each in allowed} <= here


REFUSED_IN_MOUNT = {
    "errors": "syscalls",
    "syscalls": "errors",
    "loop": "tree.inodes",
    "mounts": "loop.reactor",
    "tree": "writeback.overlay",
    "latency": "requests.handlers",
    "watch": "loop.reactor",
    "requests": "events.injected_requests",
    "events": "writeback.overlay",
    "writeback": "events.invalidate",
    "faults": "writeback.handlers",
    "force": "server.session",
    "launch": "writeback.journal",
}
"""Of each package of mount something that it may not import; server may import all."""


def test_every_package_of_mount_but_the_server_is_refused_something():
    assert set(REFUSED_IN_MOUNT) == set(MOUNT_MAY_IMPORT) - {"server"}


@pytest.mark.parametrize("importer", REFUSED_IN_MOUNT)
@pytest.mark.parametrize("source", ["import {}", "def f():\n    from {} import x"])
def test_an_import_against_the_table_of_mount_is_refused(tmp_path, importer, source):
    imported = f"osxfs_sim.mount.{REFUSED_IN_MOUNT[importer]}"
    folder = tmp_path / "mount" / importer
    folder.mkdir(parents=True)
    (folder / "x.py").write_text(source.format(imported))
    name = imported if source.startswith("import") else f"{imported}.x"
    assert against_the_table_of_mount(tmp_path) == [f"osxfs_sim.mount.{importer}.x imports {name}"]


@pytest.mark.parametrize("importer", MOUNT_MAY_IMPORT)
def test_what_the_table_of_mount_has_may_be_imported(tmp_path, importer):
    folder = tmp_path / "mount" / importer
    folder.mkdir(parents=True)
    allowed = [*MOUNT_MAY_IMPORT[importer], importer]
    (folder / "x.py").write_text("\n".join(f"import osxfs_sim.mount.{each}.x" for each in allowed))
    assert against_the_table_of_mount(tmp_path) == []


@pytest.mark.parametrize(
    ("rule", "path", "source", "refused"),
    [
        (impure, "model/x.py", "import trio", "osxfs_sim.model.x imports trio"),
        (
            impure,
            "model/x.py",
            "def f():\n    from scipy.stats import norm",
            "osxfs_sim.model.x imports scipy.stats.norm",
        ),
        (
            impure,
            "model/x.py",
            "from osxfs_sim import catalogue",
            "osxfs_sim.model.x imports osxfs_sim.catalogue",
        ),
        (
            impure,
            "model/x.py",
            "from .. import settings",
            "osxfs_sim.model.x imports osxfs_sim.settings",
        ),
        (
            impure,
            "model/__init__.py",
            "from ..mount.tree import inodes",
            "osxfs_sim.model imports osxfs_sim.mount.tree.inodes",
        ),
        (
            impure,
            "model/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import osxfs_sim.settings",
            "osxfs_sim.model.x imports osxfs_sim.settings",
        ),
        (impure, "model/deep/x.py", "import numpyro", "osxfs_sim.model.deep.x imports numpyro"),
        (worldly, "model/x.py", "import time", "osxfs_sim.model.x imports time"),
        (
            worldly,
            "model/x.py",
            "from time import monotonic_ns",
            "osxfs_sim.model.x imports time.monotonic_ns",
        ),
        (with_fuse, "lab/x.py", "import pyfuse3", "osxfs_sim.lab.x imports pyfuse3"),
        (
            with_fuse,
            "__init__.py",
            "def f():\n    from pyfuse3 import Operations",
            "osxfs_sim imports pyfuse3.Operations",
        ),
        (
            with_fuse,
            "cli/x.py",
            "import importlib\nimportlib.import_module('pyfuse3')",
            "osxfs_sim.cli.x imports pyfuse3",
        ),
        (
            with_fuse,
            "cli/x.py",
            "fuse = __import__('pyfuse3.asyncio')",
            "osxfs_sim.cli.x imports pyfuse3.asyncio",
        ),
        (
            against_the_table,
            "mount/x.py",
            "import osxfs_sim.simulate.kernel",
            "osxfs_sim.mount.x imports osxfs_sim.simulate.kernel",
        ),
        (
            against_the_table,
            "simulate/x.py",
            "from osxfs_sim.mount.latency import receipt",
            "osxfs_sim.simulate.x imports osxfs_sim.mount.latency.receipt",
        ),
        (
            against_the_table,
            "synchronize/x.py",
            "from osxfs_sim.mount import syscalls",
            "osxfs_sim.synchronize.x imports osxfs_sim.mount.syscalls",
        ),
        (
            against_the_table,
            "lab/x.py",
            "from osxfs_sim.cli import main",
            "osxfs_sim.lab.x imports osxfs_sim.cli.main",
        ),
        (
            against_the_table,
            "lab/cases.py",
            "from osxfs_sim.mount.launch import mounted",
            "osxfs_sim.lab.cases imports osxfs_sim.mount.launch.mounted",
        ),
        (
            against_the_table,
            "lab/comparing.py",
            "from osxfs_sim.emulated_shares import EmulatedShares",
            "osxfs_sim.lab.comparing imports osxfs_sim.emulated_shares.EmulatedShares",
        ),
        (
            against_the_table,
            "settings.py",
            "from osxfs_sim import mount",
            "osxfs_sim.settings imports osxfs_sim.mount",
        ),
        (
            beside_the_reader,
            "lab/x.py",
            "def f():\n    import tomllib",
            "osxfs_sim.lab.x imports tomllib",
        ),
        (
            beside_the_reader,
            "exports.py",
            "from osxfs_sim.fs.reading import parse_toml, read_text",
            "osxfs_sim.exports imports osxfs_sim.fs.reading.parse_toml",
        ),
        (
            tied_to_a_mount,
            "mount/writeback/journal.py",
            "def f():\n    import trio.lowlevel",
            "osxfs_sim.mount.writeback.journal needs trio.lowlevel, which "
            "osxfs_sim.mount.writeback.journal imports",
        ),
        (
            beyond_the_library,
            "mount/latency/prober.py",
            "import numpy",
            "osxfs_sim.mount.latency.prober imports numpy",
        ),
        (
            beyond_the_library,
            "coherence/scorecard/listener.py",
            "import inotify_simple\nimport osxfs_sim.coherence.scorecard.signals",
            "osxfs_sim.coherence.scorecard.listener imports osxfs_sim.coherence.scorecard.signals",
        ),
    ],
)
def test_a_rule_refuses(tmp_path, rule, path, source, refused):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source)
    assert rule(tmp_path) == [refused]


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (impure, "model/x.py", "import os, tomllib\nimport numpy.random\nfrom . import y"),
        (impure, "mount/x.py", "import trio"),
        (with_fuse, "mount/x.py", "import pyfuse3"),
        (with_fuse, "lab/x.py", "import pyfuse3000\n'import pyfuse3'"),
        (against_the_table, "mount/x.py", "from osxfs_sim.model.latency import DataPath"),
        (against_the_table, "cli/x.py", "import osxfs_sim.mount, osxfs_sim.lab"),
        (against_the_table, "lab/x.py", "from osxfs_sim import __version__"),
    ],
)
def test_a_rule_lets_pass(tmp_path, rule, path, source):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(source)
    assert rule(tmp_path) == []


def test_what_writes_to_the_host_may_not_reach_a_mount_by_a_detour(tmp_path):
    for path, source in {
        "mount/writeback/recovery.py": "from osxfs_sim.mount.tree.names import give",
        "mount/tree/__init__.py": "import osxfs_sim.mount.loop",
        "mount/tree/names.py": "",
        "mount/loop/__init__.py": "from pyfuse3 import main",
        "mount/writeback/handlers.py": "import pyfuse3",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    assert tied_to_a_mount(tmp_path) == [
        "osxfs_sim.mount.writeback.recovery needs pyfuse3.main, which osxfs_sim.mount.loop imports"
    ]


# And when it runs


def loads(library: str, statement: str) -> bool:
    """Whether a new interpreter that runs *statement* has *library* then."""
    code = f"import sys\n{statement}\nprint({library!r} in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return {"True\n": True, "False\n": False}[result.stdout]


@pytest.mark.starts_processes
@pytest.mark.parametrize("module", ["osxfs_sim", "osxfs_sim.cli", "osxfs_sim.mount.launch"])
def test_where_nothing_is_mounted_fuse_is_not_needed(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} does not exist")
    assert not loads("pyfuse3", f"import {module}")


@pytest.mark.starts_processes
@pytest.mark.parametrize("library", ["trio", "numpy"])
@pytest.mark.parametrize("module", ["osxfs_sim", "osxfs_sim.cli", "osxfs_sim.mount.launch"])
def test_a_command_does_not_wait_for_what_only_a_server_needs(module, library):
    assert not loads(library, f"import {module}")


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("library", "statement"),
    [
        ("pyfuse3", "import osxfs_sim.mount.requests.handlers"),
        ("pyfuse3", "import osxfs_sim\nimport pyfuse3"),
        ("trio", "import osxfs_sim.mount.server.control_socket"),
        ("numpy", "from osxfs_sim.model.latency import Empirical\nEmpirical((1, 2))"),
    ],
)
def test_the_check_of_a_running_interpreter_notices(library, statement):
    assert loads(library, statement)


@pytest.mark.starts_processes
def test_everything_but_the_mount_is_imported_where_there_is_no_fuse():
    outside = [
        module
        for module, _ in modules_of(PACKAGE)
        if not is_within(module, "osxfs_sim.mount") and not module.endswith("__main__")
    ]
    statements = "\n".join(f"import {module}" for module in outside)
    assert not loads(
        "pyfuse3",
        f"sys.modules['pyfuse3'] = None\n{statements}\ndel sys.modules['pyfuse3']",
    )


@pytest.mark.starts_processes
def test_what_writes_to_the_host_is_imported_where_there_is_no_fuse():
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in sorted(FUSE))
    statements = "\n".join(f"import {module}" for module in sorted(WITHOUT_FUSE))
    assert not loads("osxfs_sim.mount.loop.reactor", f"{blocked}\n{statements}")


def test_every_exception_to_the_table_is_still_needed():
    imports = dict(modules_of(PACKAGE))
    for importer, imported in BEYOND_THE_TABLE | BEYOND_THE_TABLE_OF_MOUNT:
        assert any(
            is_within(module, importer) and is_within(name, imported)
            for module, names in imports.items()
            for name in names
        ), (importer, imported)


def unclosed_listings(text: str) -> list[int]:
    """The lines that list a directory in a way that stays open where something fails meanwhile.

    That is told of when it is collected: in another test, which has nothing to do with it.
    """
    tree = ast.parse(text)
    closed = {
        each.context_expr
        for node in ast.walk(tree)
        if isinstance(node, ast.With | ast.AsyncWith)
        for each in node.items
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "scandir"
        and node not in closed
    ]


def test_every_listing_is_closed():
    places = (PACKAGE, TESTS, TESTS.parent / "bench")
    found = {
        str(path): lines
        for place in places
        for path in place.rglob("*.py")
        if "node_modules" not in path.parts and (lines := unclosed_listings(path.read_text()))
    }
    assert not found


def test_a_listing_that_is_left_open_is_noticed():
    assert unclosed_listings("for entry in os.scandir('.'):\n    entry.stat()") == [1]
    assert not unclosed_listings("with os.scandir('.') as entries:\n    list(entries)")


# Each package's docstring is a map of it.


def mapped(docstring: str) -> set[str]:
    """The names that lines of a map begin with: a name, two spaces or more, what it is."""
    return set(re.findall(r"^(?: {4})?(\w+) {2,}\S", docstring, re.MULTILINE))


def beside_the_map(package: Path) -> list[str]:
    """What a package's map lacks, and what it names that is not there."""
    wrong = []
    for path in sorted(package.rglob("__init__.py")):
        folder = path.parent
        if "cases" in folder.relative_to(package).parts:
            continue
        there = {each.stem for each in folder.glob("*.py")} | {
            each.name
            for each in folder.iterdir()
            if each.is_dir() and any(each.iterdir()) and each.name != "__pycache__"
        }
        there = {name for name in there - {"__init__", "__main__"} if not name.startswith("test_")}
        said = mapped(ast.get_docstring(ast.parse(path.read_text()), clean=False) or "")
        name = ".".join(folder.relative_to(package.parent).parts)
        wrong += [f"{name} does not say what {each} is" for each in sorted(there - said)]
        wrong += [f"{name} speaks of {each}, which is not there" for each in sorted(said - there)]
    return wrong


@pytest.mark.parametrize("package", [PACKAGE, TESTS / "support", TESTS / "adversary"])
def test_maps_and_files_agree(package: Path) -> None:
    assert beside_the_map(package) == []


def test_every_helper_of_the_tests_is_in_a_package_with_a_map() -> None:
    flat = {path.stem for path in TESTS.glob("*.py") if not path.stem.startswith("test_")}
    assert flat == {"conftest"}


def test_a_map_that_does_not_agree_is_noticed(tmp_path: Path) -> None:
    package = tmp_path / "osxfs_sim"
    (package / "deep").mkdir(parents=True)
    (package / "deep" / "new.py").touch()
    (package / "__init__.py").write_text('"""A map.\n\n    deep  further down\n    old   gone\n"""')
    (package / "deep" / "__init__.py").write_text('"""No map: new is somewhere."""')
    assert beside_the_map(package) == [
        "osxfs_sim speaks of old, which is not there",
        "osxfs_sim.deep does not say what new is",
    ]

"""How tests wait, and for how long: so that they hold on a slow, busy or just-booted machine.

What must happen is waited for, generously, and by its own signs (eventually in support/guests.py);
nothing is asserted of how long anything took; and what is the whole machine's is left alone,
because other tests run beside.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from support.guests import PATIENCE_S

TESTS = Path(__file__).parent
_CLOCKS = {
    *("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"),
    *("time_ns", "process_time", "process_time_ns", "current_time"),
}
_LIMITS = {"wait": 0, "join": 0, "settimeout": 0, "fail_after": 0, "move_on_after": 0}
"""Calls that give up, and which argument says when."""
_CHANGING = ("open", "run", "Popen", "check_call", "write_text")
_OF_THE_MACHINE = ("/proc/sys/", "/sys/module/", "/sys/kernel/")

# Who may sleep, and why it does no harm. "Nothing comes": to wait longer could only find
# more, so that a busy machine makes such a test weaker for once, and never fail.
SLEEPERS = {
    ("support/guests.py", "eventually"): "the helper",
    ("support/unit_guard.py", "watched"): "it lets those sleep that may",
    ("test_fresh_start.py", "_MOUNTS_AND_WAITS"): "it is to be ended",
    ("support/asking.py", "RUN"): "the workload of a case",
    ("listeners/watchdog_listener.py", "*"): "it ends when it is killed",
    ("mount/loop/test_reactor.py", "drive"): "a loop in trio, which fail_after ends",
    (
        "mount/events/test_inject.py",
        "write_often",
    ): "its pauses are measured, and too long ones no answer",
    (
        "mount/events/test_inject.py",
        "test_raising_events_changes_nothing_on_the_host",
    ): "nothing comes",
    ("mount/events/test_inject.py", "_AS_NOBODY"): "nothing comes",
    (
        "mount/events/test_host_events.py",
        "test_the_guests_own_changes_do_not_come_back",
    ): "nothing comes",
    (
        "mount/events/test_host_events.py",
        "test_without_the_scan_a_loss_would_stay_cached",
    ): "nothing comes",
    (
        "mount/mounts/test_host_services.py",
        "test_a_slow_reader_slows_the_writer_and_not_the_share",
    ): ("the less was sent"),
    ("mount/writeback/test_crash.py", "kill_from_outside"): "at a random moment",
    ("mount/tree/test_owners.py", "test_an_owner_that_the_host_sets_is_told_at_once"): (
        "so that it may remember; that it does is not asserted"
    ),
    ("mount/loop/test_reactor_failures.py", "_wait_until"): "a loop in trio, which fail_after ends",
    ("mount/server/test_strikes.py", "struck_down"): "until a random moment",
    ("mount/server/test_strikes.py", "local_struck_down"): "until a random moment",
    ("mount/server/test_strikes.py", "site_struck_down"): "until a random moment",
    (
        "mount/mounts/test_shares_of_others.py",
        "_ANSWERS",
    ): "it is to be slow: slower still does no harm",
    ("mount/server/test_supervisor.py", "_AS_NOBODY"): "loops of looks, which run_as_nobody ends",
    ("mount/requests/test_tracing_counts.py", "quiet"): "between looks, whose number is limited",
    ("trace/test_recording.py", "until"): "between looks, whose number is limited",
    ("support/waiting_server.py", "_wait"): "until the test lets it go on, with a limit",
    ("adversary/arena.py", "_round"): "until a random moment, and for random pauses",
    ("adversary/arena.py", "_wait_for_agreement"): "between looks, with a limit",
    ("synchronize/test_scan.py", "test_content_is_read_again_only_where_it_may_have_changed"): (
        "longer than a tick of the clock of times; longer still does no harm"
    ),
    ("synchronize/test_synchronizer.py", "is_still"): "between looks of eventually",
}
# Asserts that compare moments, and do not mind how far they lie apart.
COMPARERS = {
    ("support/guests.py", "eventually"): "the limit of the helper",
    ("mount/test_force.py", "test_the_two_seconds_of_a_command_begin_with_its_process"): (
        "moments in their order"
    ),
}
IMPATIENT = {
    (
        "mount/server/test_supervisor.py",
        "test_with_the_share_s_descriptors_in_hand_they_would_be_left_waiting",
    ): "nothing comes",
    ("mount/events/test_inject.py", "told"): "between looks",
    ("synchronize/test_synchronizer.py", "churn"): "how often it is at work, until told to stop",
}
MEDDLERS = {
    ("mount/watch/test_watcher.py", "_WITH_FEW_WATCHES"): "limits of a user namespace of its own",
}


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _looks_at_a_clock(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(each, ast.Call) and _called(each) in _CLOCKS)
        or (isinstance(each, ast.Name) and each.id in names)
        for each in ast.walk(node)
    )


class _Reader(ast.NodeVisitor):
    """Collects (kind, function, line) of all that a test should not do."""

    def __init__(self, where: str = "*") -> None:
        self.found: list[tuple[str, str, int]] = []
        self._where = where
        self._measured: set[str] = set()

    def _note(self, kind: str, node: ast.AST) -> None:
        self.found.append((kind, self._where, getattr(node, "lineno", 0)))

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outside, self._where = self._where, node.name
        measured, self._measured = self._measured, set(self._measured)
        self.generic_visit(node)
        self._where, self._measured = outside, measured

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function  # noqa: N815

    def visit_Assign(self, node: ast.Assign) -> None:
        names = {
            each.id for to in node.targets for each in ast.walk(to) if isinstance(each, ast.Name)
        }
        if _looks_at_a_clock(node.value, self._measured):
            self._measured |= names
        text = node.value.value if isinstance(node.value, ast.Constant) else None
        if isinstance(text, str) and "\n" in text and len(names) == 1:
            # A program for another process: it is a test's own, too.
            try:
                program = ast.parse(text)
            except (SyntaxError, ValueError):  # ValueError: half a letter in it
                pass
            else:
                reader = _Reader(*names)
                reader.visit(program)
                self.found += [(kind, *names, node.lineno) for kind, _, _ in reader.found]
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if all(isinstance(each, ast.Pass | ast.Assert) for each in node.body):
            self._note("waits without an end", node)
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        for each in ast.walk(node.test):
            if not isinstance(each, ast.Compare):
                continue
            for left, how, right in zip(
                [each.left, *each.comparators], each.ops, each.comparators, strict=False
            ):
                smaller = {ast.Lt: left, ast.LtE: left, ast.Gt: right, ast.GtE: right}.get(
                    type(how)
                )
                # Two moments may be compared in their order; a duration may be no less than.
                larger = right if smaller is left else left
                if (
                    smaller is not None
                    and _looks_at_a_clock(smaller, self._measured)
                    and isinstance(smaller, ast.BinOp | ast.Call)
                    and not _looks_at_a_clock(larger, set())
                ):
                    self._note("asserts on how long it took", node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name == "sleep":
            self._note("sleeps", node)
        limits = [each.value for each in node.keywords if each.arg == "timeout"]
        if name in _LIMITS and node.args and isinstance(node.func, ast.Attribute):
            limits.append(node.args[_LIMITS[name]])
        for limit in limits:
            value = limit.value if isinstance(limit, ast.Constant) else None
            if isinstance(value, int | float) and 0 < value < PATIENCE_S:
                self._note("gives up soon", node)
        if name in _CHANGING and (name != "open" or len(node.args) > 1):
            for part in ast.walk(node):
                text = part.value if isinstance(part, ast.Constant) else None
                if isinstance(text, str) and any(there in text for there in _OF_THE_MACHINE):
                    self._note("changes the machine", part)
        self.generic_visit(node)


@functools.cache
def complaints(text: str) -> list[tuple[str, str, int]]:
    reader = _Reader()
    reader.visit(ast.parse(text))
    return reader.found


def modules() -> Iterator[tuple[str, str]]:
    for path in sorted(TESTS.rglob("*.py")):
        if "node_modules" not in path.parts:
            yield path.relative_to(TESTS).as_posix(), path.read_text()


ENDLESS = {
    ("conformance/test_contents.py", "test_a_file_copied_inside_the_kernel_is_the_same"): (
        "to the end of a file"
    ),
    ("mount/events/test_inject.py", "_AS_NOBODY"): "run_as_nobody ends it",
}

EXCEPTIONS = {
    "waits without an end": ENDLESS,
    "sleeps": SLEEPERS,
    "asserts on how long it took": COMPARERS,
    "gives up soon": IMPATIENT,
    "changes the machine": MEDDLERS,
}


@pytest.mark.takes_seconds
def test_no_test_relies_on_how_fast_the_machine_is() -> None:
    wrong = [
        f"tests/{name}:{line}: {function} {kind}"
        for name, text in modules()
        for kind, function, line in complaints(text)
        if not {(name, function), (name, "*")} & EXCEPTIONS[kind].keys()
    ]
    assert not wrong, "\n".join(wrong)


def test_every_exception_is_still_needed() -> None:
    made = {
        (kind, name, where)
        for name, text in modules()
        for kind, function, _ in complaints(text)
        for where in (function, "*")
    }
    listed = {(kind, *place) for kind, places in EXCEPTIONS.items() for place in places}
    assert listed <= made, listed - made


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sleeps", "def test():\n    time.sleep(0.1)\n    assert done"),
        ("sleeps", "async def test():\n    await trio.sleep(0.1)"),
        ("sleeps", 'PROGRAM = """\nimport time\ntime.sleep(1)\n"""'),
        ("waits without an end", "while not path.exists():\n    pass"),
        ("waits without an end", "while not path.exists():\n    assert process.poll() is None"),
        ("asserts on how long it took", "assert time.monotonic() - began_s < 2"),
        (
            "asserts on how long it took",
            "def test():\n    a = time.perf_counter()\n    work()\n"
            "    b = time.perf_counter()\n    assert b - a <= 0.5",
        ),
        ("asserts on how long it took", "assert 0.5 > time.process_time() - before"),
        ("gives up soon", "subprocess.run(command, timeout=5)"),
        ("gives up soon", "thread.join(10)"),
        ("gives up soon", "with trio.fail_after(2):\n    pass"),
        ("changes the machine", 'open("/proc/sys/vm/drop_caches", "w")'),
        (
            "changes the machine",
            'subprocess.run(["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"], check=True)',
        ),
    ],
)
def test_the_check_notices(kind: str, text: str) -> None:
    assert kind in [found for found, _, _ in complaints(text)]


@pytest.mark.parametrize(
    "text",
    [
        "eventually(lambda: done)",
        "assert before_ns <= read.call_ns <= time.monotonic_ns()",
        "assert sample.upper_ns >= age_ns",
        "assert time.monotonic() - began_s >= 0.02",
        "process.communicate(timeout=180)",
        "events = notify.read(timeout=0)",
        'open("/proc/sys/fs/pipe-max-size")',
        '", ".join(names)',
    ],
)
def test_the_check_lets_pass(text: str) -> None:
    assert complaints(text) == []


def test_no_property_looks_at_the_time_its_examples_take() -> None:
    assert hypothesis.settings.default is not None
    assert hypothesis.settings.default.deadline is None

"""A workload: a case in one form, and its commands run once.

What is measured begins and ends with the case's command. A command that fails, or prints
something else than it should, is a failed execution: its time does not count. The commands
around it (reset, check) are run and not measured.
"""

import hashlib
import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from osxfs_sim.coherence.edits.stream import Stream
from osxfs_sim.lab.cases import Case, CaseError
from osxfs_sim.lab.machine import busy_s

Say = Callable[[str], None]
"""Is told, in a line without its end, what is being done."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A case as it is run: which variant, which form, and under which edits of the host."""

    case: Case
    """The case that is run."""
    variant: str
    """One of the case's variants."""
    quick: bool = False
    """Whether its shortened command is measured."""
    toggles: tuple[str, ...] = ()
    """The options of the case that are switched on."""
    edits: Stream | None = None
    """How the host edits files while the command runs; None: it does not."""
    edits_seed: int = 0
    """What the edits are drawn with."""

    @property
    def form(self) -> str:
        """``quick`` or ``whole``: what the case's commands get for ``{form}``."""
        return "quick" if self.quick else "whole"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the case's commands: ours and the toggles'. Raises CaseError."""
        return {**os.environ, **self.case.environment(self.toggles)}

    @property
    def shared_part(self) -> PurePosixPath | None:
        """The directory of the tree that is on the share; None where all of it is."""
        return self.case.shared.get(self.variant)


@dataclass(frozen=True, slots=True)
class Watched:
    """An execution that somebody watches."""

    environment: Mapping[str, str]
    """The variables that the command gets instead of the workload's."""
    begin: Callable[[], None] = lambda: None
    """Called at the moment it begins."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of the measured command, by itself: nothing of a share is in it."""

    wall_s: float
    """Seconds from its start to its end."""
    workload_processor_s: float
    """Processor seconds of the command and its children."""
    failure: str = ""
    """Why it does not count; empty if it does."""
    last_line: str = ""
    """The last line that it printed, where the case says that it is a result."""
    start_ns: int = 0
    """When it began, of time.monotonic_ns(), as a trace has times."""
    end_ns: int = 0
    """When it ended, of time.monotonic_ns(), as a trace has times."""
    output_digest: str = ""
    """Digest of what it printed, wherever its tree lay; empty unless it is watched."""
    others_processor_s: float | None = None
    """Processor seconds of all other programs of the machine; None: not known."""


# How long something took ("added 12 packages in 5s") is no result.
_DURATION = re.compile(rb"\b\d+(?:\.\d+)?\s?(?:ms|s|m|min|sec|secs|seconds|minutes)\b")


def execute(
    workload: Workload, guest: Path, host: Path, watched: Watched | None = None
) -> Execution:
    """Run the measured command once in *guest*; its failure is in the Execution, not raised.

    What it should print is not asked of one that is *watched*: an edit may show in it. Raises
    nothing of the command's: how it failed is in the Execution.
    """
    case = workload.case
    words = case.quick if workload.quick and case.quick else case.measured
    command = case.command(
        words, tree=guest, variant=workload.variant, form=workload.form, host=host
    )
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        environment = workload.environment if watched is None else watched.environment
        before, busy_before = _children_processor_s(), busy_s()
        if watched is not None:
            watched.begin()
        start_ns, began_ns = time.perf_counter_ns(), time.monotonic_ns()
        try:
            process = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                check=False,
            )
        except OSError as error:  # such as an interpreter that is not there
            return Execution(0.0, 0.0, f"{command[0]} cannot be run: {error.strerror}")
        wall_s = (time.perf_counter_ns() - start_ns) / 1e9
        processor_s = _children_processor_s() - before
        busy, others_s = busy_s(), None
        if busy is not None and busy_before is not None:
            others_s = max(0.0, busy - busy_before - processor_s)
        output.seek(0)
        errors.seek(0)
        is_read = watched is not None or case.expected_output or case.tells
        printed = output.read() if is_read else b""
        failure = output_digest = ""
        if process.returncode:
            failure = _complaint(process.returncode, errors.read())
        elif watched is not None:
            told = printed.replace(os.fsencode(guest), b"{guest}")
            output_digest = hashlib.sha256(_DURATION.sub(b"{time}", told)).hexdigest()
        elif case.expected_output and not workload.quick:
            # From the host's side: the share shall not count it, nor remember it.
            if printed != (host / case.expected_output).read_bytes():
                failure = f"the output differs from {case.expected_output}"
        elif case.check is None and not os.fstat(output.fileno()).st_size:
            failure = "the command printed nothing"
    return Execution(
        wall_s=wall_s,
        workload_processor_s=processor_s,
        failure=failure,
        last_line=_last_line(printed) if case.tells else "",
        start_ns=began_ns,
        end_ns=began_ns + round(wall_s * 1e9),
        output_digest=output_digest,
        others_processor_s=others_s,
    )


def reset_tree(workload: Workload, tree: Path) -> None:
    """Run the case's command that makes *tree* what it was before a run. Raises CaseError."""
    if workload.case.reset is None:
        return
    why = run_unmeasured(workload, workload.case.reset, tree, tree)
    if why:
        raise CaseError(f"the case {workload.case.name} cannot be reset: {why}")


def run_unmeasured(workload: Workload, words: tuple[str, ...], tree: Path, guest: Path) -> str:
    """Run a command of the case in *tree*; returns why it failed, or "", instead of raising."""
    command = workload.case.command(
        words, tree=tree, variant=workload.variant, form=workload.form, guest=guest
    )
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=workload.environment,
            check=False,
        )
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    return _complaint(process.returncode, process.stderr) if process.returncode else ""


def _complaint(code: int, errors: bytes) -> str:
    """An exit code and the last line that a command said."""
    return f"exit code {code}: {_last_line(errors)}"


def _last_line(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").strip().splitlines()[-1:])


def _children_processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

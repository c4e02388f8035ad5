"""The probing process as calibration talks to it; here it probes a plain directory."""

import json
import subprocess
import sys

import pytest

from osxfs_sim.mount.latency import prober


@pytest.mark.starts_processes
def test_each_line_is_answered_with_as_many_times_as_it_asks_for(tmp_path):
    command = [sys.executable, "-I", "-S", prober.__file__, "-", str(tmp_path / "not-there")]
    result = subprocess.run(
        command, input="3 0\n0 0\n2 1000\n", capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [len(taken_ns) for taken_ns in answers] == [3, 0, 2]
    for taken_ns in answers:
        assert all(type(taken) is int and taken >= 0 for taken in taken_ns)


@pytest.mark.starts_processes
def test_it_ends_when_its_input_does(tmp_path):
    command = [sys.executable, "-I", "-S", prober.__file__, "-", str(tmp_path)]
    result = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")

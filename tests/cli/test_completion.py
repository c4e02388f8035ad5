"""Completion is asked for as a shell does it: by running what is printed, in a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Command


@pytest.fixture(scope="session")
def completion(cli: Command):
    def completion(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
        environment = {key: "" for key in os.environ if key.startswith("XDG_")}
        return cli("completion", *arguments, env={**environment, "HOME": str(home)})

    return completion


def completed_by_bash(script: Path, words: list[str], tools: Path) -> list[str]:
    """What bash offers for the last of *words*."""
    asking = (
        f'source "{script}"; COMP_WORDS=({" ".join(words)} ""); COMP_CWORD={len(words)}; '
        '_osxfs_sim_completion osxfs-sim; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", asking],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A directory with the command in it, for a shell's PATH."""
    command = tmp_path / "bin" / "osxfs-sim"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom osxfs_sim.cli import main\nmain()\n")
    command.chmod(0o755)
    return command.parent


def test_bash_completes_commands_profiles_and_cases_once_it_is_installed(
    completion, tmp_path: Path, tools: Path
) -> None:
    done = completion("bash", "--install", home=tmp_path)
    script = tmp_path / ".local/share/bash-completion/completions/osxfs-sim"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"written to {script}; new shells complete osxfs-sim\n"
    commands = completed_by_bash(script, ["osxfs-sim"], tools)
    assert {"mount", "run", "top"} <= set(commands)
    assert "rake" in completed_by_bash(script, ["osxfs-sim", "run"], tools)
    profiles = completed_by_bash(script, ["osxfs-sim", "run", "rake", "--arm"], tools)
    assert "osxfs-cached" in profiles


@pytest.mark.parametrize(("shell", "place"), [("zsh", ".local/share/zsh"), ("fish", ".config")])
def test_other_shells_get_theirs(completion, tmp_path: Path, shell: str, place: str) -> None:
    printed = completion(shell, home=tmp_path)
    assert "_OSXFS_SIM_COMPLETE" in printed.stdout
    completion(shell, "--install", home=tmp_path)
    (written,) = (path for path in (tmp_path / place).rglob("*osxfs-sim*") if path.is_file())
    assert written.read_text() == printed.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n", written], check=True)


def test_another_shell_is_one_line(completion, tmp_path: Path) -> None:
    done = completion("tcsh", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("osxfs-sim: Invalid value for '{bash|zsh|fish}': 'tcsh'")
    assert done.stderr.count("\n") == 1

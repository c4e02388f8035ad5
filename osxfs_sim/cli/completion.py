"""``completion``: what a shell needs to complete commands, options, profiles and cases."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from osxfs_sim.cli.saying import say, say_lines
from osxfs_sim.fs.output import make_output_directory, write_output

_NAME = "osxfs-sim"
_VARIABLE = "_OSXFS_SIM_COMPLETE"


def _place(shell: str) -> Path:
    """Where *shell* looks for a user's completions by itself (zsh: once it is told to)."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {
        "bash": data / "bash-completion" / "completions" / _NAME,
        "zsh": data / "zsh" / "site-functions" / f"_{_NAME}",
        "fish": config / "fish" / "completions" / f"{_NAME}.fish",
    }[shell]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it to where the shell looks for it.")
def completion(shell: str, install: bool) -> None:
    """Print what SHELL needs in order to complete commands, options, profiles and cases.

    \b
    osxfs-sim completion bash --install
    eval "$(osxfs-sim completion bash)"        # for this shell only
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    source = completion_class(click.Group(_NAME), {}, _NAME, _VARIABLE).source()
    if not install:
        say_lines(source)
        return
    place = _place(shell)
    make_output_directory(place.parent)
    write_output(place, source + "\n")
    say(f"written to {place}; new shells complete {_NAME}")
    if shell == "zsh":
        say(f"zsh looks there if ~/.zshrc has, before compinit: fpath+=({place.parent})")

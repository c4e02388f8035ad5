"""The command ``osxfs-sim``; the only place that wires the parts together.

Here are ``main``, the table of the commands, and how help lists them. Each command, or group of
commands, is in a file of its own, which is imported when it is asked for:

share       umount, status, flush, settle, drop-events
mount       ``mount``: a share, or all that a share file exports
unwritten   ``unwritten``: what shares have changed and the host does not have
top         a share at this moment
sync        ``sync``: how the two sides of a synchronized share stand, and going on after a halt
profiles    the systems it can be
clean       ``clean``: what osxfs-sim keeps and leaves on this machine, and what of it can go
run         a case study, arm by arm
new_case    a case of one's own, made from a command
compare     a case under several arms, interleaved
frontier    policies under host edits: wall time against stale answers
reproduce   ``reproduce``: a published table, measured again and set beside what was published
report      results as a page, as Markdown or as CSV
analyze     analyze, import-strace
predict     record, predict: what a recorded workload would take on other systems
edits       what the host changes while a case runs: edits list, record
events      what the guest hears of
staleness   how long each side sees what was
contract    the consistency contract, judged
museum      the bugs of real systems, shown and cured
histories   histories, check-history
help        ``help``: what --help says, for who asks for it as a command
completion  for the user's shell

What they share:

options     what several commands take: durations, rates, the options of a share
errors      a user's mistake becomes one line and a non-zero exit
saying      what a command says: the only place from which it writes to a terminal, besides
            tables
arms        the words of an arm
measuring   takes the samples of a comparison and says how far it is: for compare and for
            reproduce
probing     a share for the time of events and staleness
progress    how far something long is
outputs     whether a file can be written, asked before anything is measured that it is to hold
trust       what would be executed because a file says so is said first
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click

COMMANDS: Mapping[str, Mapping[str, str]] = {
    "Shares": {
        "mount": "mount",
        **dict.fromkeys(("umount", "status"), "share"),
        "top": "top",
        **dict.fromkeys(("flush", "settle"), "share"),
        "unwritten": "unwritten",
        "drop-events": "share",
        "sync": "sync",
        "profiles": "profiles",
        "clean": "clean",
    },
    "Measuring": {
        **dict.fromkeys(("cases", "run"), "run"),
        "new-case": "new_case",
        "compare": "compare",
        "report": "report",
        **dict.fromkeys(("analyze", "import-strace"), "analyze"),
        **dict.fromkeys(("record", "predict"), "predict"),
    },
    "Coherence": {
        "events": "events",
        "staleness": "staleness",
        "contract": "contract",
        **dict.fromkeys(("histories", "check-history"), "histories"),
        "museum": "museum",
        "edits": "edits",
    },
    "Studies": {
        "frontier": "frontier",
        "reproduce": "reproduce",
    },
    "Help": {
        "help": "help",
        "completion": "completion",
    },
}
"""The commands, in the order of the help and below its headings, and the file of each."""


class Group(click.Group):
    """Commands that help lists below headings, each with the whole first sentence of its own."""

    def headings(self, ctx: click.Context) -> Mapping[str, Sequence[str]]:
        """The names of the commands by the heading that help lists them below."""
        return {"Commands": self.list_commands(ctx)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write help's list of commands, below headings, each with its whole first sentence."""
        for heading, names in self.headings(ctx).items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, sentence_of(command)) for name, command in commands if command]
                )


class Commands(Group):
    """Imports a command when it is asked for, and words errors as its neighbours do."""

    def headings(self, ctx: click.Context) -> Mapping[str, Sequence[str]]:
        """The names of all commands by the heading below which help lists them."""
        return {heading: tuple(group) for heading, group in COMMANDS.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of the help."""
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the command of that *name* and return it. None where there is none."""
        for group in COMMANDS.values():
            if name in group:
                module = importlib.import_module(f"osxfs_sim.cli.{group[name]}")
                command: click.Command = getattr(module, name.replace("-", "_"))
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve *args* as click does. Raises UsageError, with the nearest, if unknown."""
        name, known = args[0], self.list_commands(ctx)
        if name not in known:
            from osxfs_sim.model.user_error import nearest

            ctx.fail(f"no such command {name!r}{nearest(name, known)}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line, end the process by SystemExit; Ctrl-C at any moment is code 130."""
        try:
            from osxfs_sim.cli.errors import run_and_end
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        run_and_end(lambda: super(Commands, self).main(*args, **extra | {"standalone_mode": False}))


INTERRUPTED = 130
"""The exit code after Ctrl-C: of a process that SIGINT has ended, as shells count it."""


def sentence_of(command: click.Command) -> str:
    """The first sentence of a command's help, uncut; for help's list of commands."""
    return command.get_short_help_str(limit=1_000)


def _say_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    import importlib.metadata  # no other command needs it, and it takes a while to load

    from osxfs_sim.cli.saying import say
    from osxfs_sim.sources import commit, digest_of_program

    version = importlib.metadata.version("osxfs-sim")
    made_from = commit()
    known = [*([f"commit {made_from}"] if made_from else []), f"code {digest_of_program()}"]
    say(f"osxfs-sim, version {version} ({', '.join(known)})")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version, and what tells commits apart, and exit.",
)
def main() -> None:
    """A lab for shared file systems: osxfs and its successors, emulated on a real kernel.

    \b
    osxfs-sim mount ~/project /mnt/share --profile osxfs
    osxfs-sim status /mnt/share
    osxfs-sim umount /mnt/share
    osxfs-sim run rake --quick

    osxfs-sim help COMMAND says more of one. Completion: osxfs-sim completion bash --install
    (or zsh, fish).
    """

"""``help``: what ``--help`` says, for who asks for it as a command."""

import click

from osxfs_sim.cli.saying import say_lines


@click.command()
@click.argument("names", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Say what COMMAND does and what it takes, or list all commands.

    \b
    osxfs-sim help mount
    osxfs-sim help sync status
    """
    assert ctx.parent is not None
    about = ctx.parent
    for name in names:
        group = about.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"{about.command_path} has no commands: leave {name!r} out")
        _, command, _ = group.resolve_command(about, [name])
        assert command is not None
        about = click.Context(command, parent=about, info_name=name)
    say_lines(about.get_help())

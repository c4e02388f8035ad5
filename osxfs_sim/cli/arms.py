"""The words of an arm, understood by the same options as a share's own commands."""

from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.cli.errors import renamed_option
from osxfs_sim.cli.options import ProfileName, share_options
from osxfs_sim.emulated_shares import settings_of
from osxfs_sim.lab.arms import Arm, words_of


@click.command(add_help_option=False)
@click.argument("profile", type=ProfileName())
@share_options
def _arm(**_: Any) -> None:
    """Never called: it is here for its parameters."""


def parse_arm(text: str) -> Arm:
    """The Arm that *text*, a profile and its options, means. Raises UserError or UsageError."""
    label, words = words_of(text)
    try:
        context = _arm.make_context("arm", words)
    except click.UsageError as error:
        renamed = renamed_option(error.option_name) if isinstance(error, click.NoSuchOption) else ""
        message = renamed or error.format_message().rstrip(".")
        raise click.UsageError(f"the arm {text!r}: {message}") from error
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    arm = Arm(label, given.pop("profile"), given)
    if arm.is_native and given:
        raise click.UsageError(
            f"the arm {text!r}: options of a share have no effect natively: name a profile"
        )
    if not arm.is_native:
        settings_of(arm).system()  # a mistake is found before anything has run
    return arm


def parse_arms(texts: Sequence[str]) -> tuple[Arm, ...]:
    """The arms that *texts* mean, as parse_arm() has it. Raises UserError or UsageError."""
    return tuple(parse_arm(text) for text in texts)

"""``profiles``: the systems it can be, with their values and sources."""

import dataclasses

import click

from osxfs_sim.catalogue import load_profile, profile_names
from osxfs_sim.cli.options import ProfileName
from osxfs_sim.cli.saying import say_json
from osxfs_sim.model.profile import check_caches, check_keeps
from osxfs_sim.report.profiles import profile_report, profile_values, profiles_report


@click.command()
@click.argument("name", type=ProfileName(), required=False)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def profiles(name: str | None, as_json: bool) -> None:
    """List the systems a share can be, or NAME with its values' sources."""
    if name is not None:
        profile = load_profile(name)
        check_caches(profile.caching, profile.name)
        check_keeps(profile.caching, profile.name)
        if as_json:
            values = profile_values(profile)
            sources = {key: dataclasses.asdict(value) for key, value in profile.sources.items()}
            say_json(
                {"name": profile.name, "title": profile.title, "about": profile.about}
                | {"values": values, "sources": sources},
                indent=2,
            )
        else:
            profile_report(profile)
        return
    loaded = [load_profile(known) for known in profile_names()]
    if as_json:
        say_json(
            [
                {"name": profile.name, "title": profile.title} | {"values": profile_values(profile)}
                for profile in loaded
            ],
            indent=2,
        )
    else:
        profiles_report(loaded)

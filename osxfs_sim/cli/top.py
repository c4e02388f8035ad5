"""``top``: what is asked of a share just now."""

import itertools
import time
from typing import Any

import click
from rich.console import RenderableType
from rich.live import Live

from osxfs_sim.cli.options import DurationType, PlainPath
from osxfs_sim.cli.saying import say_json
from osxfs_sim.mount.mounts.control import ask, ask_status, understanding
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.report.console import console
from osxfs_sim.report.top import live_counters_view

_SHORTEST_NS = 100_000_000
_LONGEST_NS = 5_000_000_000


@click.command()
@click.argument("mountpoint", type=PlainPath())
@click.option(
    "--interval", "interval_ns", type=DurationType(), default="1s", help="Between looks. [1s]"
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many looks. [Ctrl-C]")
@click.option("--directories", "top", type=click.IntRange(1, 100), default=10, help="[10]")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for scripts.")
def top(mountpoint: str, interval_ns: int, count: int | None, top: int, as_json: bool) -> None:
    """Show what is asked of the share at MOUNTPOINT, until Ctrl-C.

    Requests per second by operation, who answered them, target and observed latency,
    what write-back holds, and the directories most asked about. What the guest's
    kernel answers out of its own caches is never asked of a share, and not seen here.
    While somebody looks, each request costs the server about a microsecond more.
    """
    if not _SHORTEST_NS <= interval_ns <= _LONGEST_NS:
        raise click.UsageError("--interval goes from 100ms to 5s")
    if exports := ask_status(mountpoint).exports:
        raise MountError(
            f"{mountpoint} shows several exports: name one of them, such as "
            f"{mountpoint}/{exports[0]}"
        )
    ask(mountpoint, "live-counters", top=top)  # from now on it counts
    out = console()
    looks = itertools.count() if count is None else range(count)
    if as_json or not out.is_terminal:
        for _ in looks:
            counters = _next(mountpoint, interval_ns, top)
            if as_json:
                say_json(counters)
            else:
                out.print(_view(counters, mountpoint))
        return
    with Live(console=out, auto_refresh=False, screen=count is None) as live:
        for _ in looks:
            live.update(_view(_next(mountpoint, interval_ns, top), mountpoint), refresh=True)


def _view(counters: dict[str, Any], mountpoint: str) -> RenderableType:
    with understanding(mountpoint):
        return live_counters_view(counters, mountpoint)


def _next(mountpoint: str, interval_ns: int, top: int) -> dict[str, Any]:
    time.sleep(interval_ns / 1e9)
    return ask(mountpoint, "live-counters", top=top)

"""docs/systems.md says of each system what its profile says, and its example works."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from osxfs_sim.catalogue import load_profile, profile_names
from osxfs_sim.model.events import NotifySpec
from osxfs_sim.model.formatting import format_duration, format_rate
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.profile import FILE_RULES, POLICIES

PAGE = Path(__file__).parents[2] / "docs" / "systems.md"
HEADING = "| profile | metadata | write | bandwidth | cached for |"

# Where a share's requests are what a profile is about; a copy or a plain directory has none.
FLOORS = frozenset({"none", "host", "virtiofsd-none", "virtiofsd-auto", "virtiofsd-always"})
NOT_SHARES = frozenset({"native", "volume", "docker-vz-sync"})


def rows() -> list[str]:
    """The table as the profiles have it: names, and what they start from, before the rest."""
    names = [name for name in profile_names() if name not in NOT_SHARES]
    return [row_of(name) for name in names]


def row_of(name: str) -> str:
    text = (resources.files("osxfs_sim.model") / "profiles" / f"{name}.toml").read_text()
    document = tomllib.loads(text)
    profile = load_profile(name)
    latency, caching, notify = profile.latency, profile.caching, profile.events.notify
    factor = document.get("latency", {}).get("factor")
    if "latency" not in document and "extends" in document:
        metadata = write = f"as {document['extends']}"
    elif factor is None:
        metadata = format_duration(latency.metadata_ns)
        write = format_duration(latency.base_ns[OperationClass.WRITE])
    else:
        metadata = write = f"{factor:g} of {document['extends']}"
    heard = POLICIES[caching.policy]
    pages = "keeps content" if "keep_pages" in heard and caching.keep_pages else "reads anew"
    cells = [
        f"`{name}`",
        metadata,
        write,
        format_rate(latency.bandwidth_bytes_per_s),
        format_duration(caching.cache_timeout_ns or 0) if "cache_timeout" in heard else "0",
        format_duration(caching.negative_timeout_ns or 0) if "negative_timeout" in heard else "0",
        "caches nothing" if caching.policy == "direct" else pages,
        _told(notify),
        "told" if notify is not None and notify.deletes else "not told",
        profile.files.ownership.value,
        profile.files.replaced.value,
    ]
    return f"| {' | '.join(cells)} |"


def _told(notify: NotifySpec | None) -> str:
    if notify is None:
        return "none"
    return f"{'a touch ' if notify.touches else ''}on {notify.modifies}"


def table_in(page: str) -> list[str]:
    after = page[page.index(HEADING) :].splitlines()[2:]
    return after[: after.index("")]


def test_the_table_is_that_of_the_profiles() -> None:
    expected = rows()
    assert table_in(PAGE.read_text()) == expected, "write:\n" + "\n".join(expected)


def test_a_value_that_has_drifted_would_be_noticed() -> None:
    page = PAGE.read_text().replace("| `osxfs` | 130us |", "| `osxfs` | 131us |")
    assert table_in(page) != rows()


def test_every_profile_has_its_place_on_the_page() -> None:
    sections = PAGE.read_text().split("\n## ", 2)[2]
    lacking = [name for name in profile_names() if f"`{name}`" not in sections]
    assert lacking == []


OTHERS = {
    # Systems that start from the values of another, and what is documented of both alike.
    "docker-vmm": "docker-vz",
    "lima-vz": "docker-vz",
    "lima-vz-inotify": "docker-vz",
    "orbstack": "docker-vz",
}


def taken_over(name: str) -> list[str]:
    """What the profile calls documented by a source of the system that it starts from."""
    profile, before = load_profile(name), load_profile(OTHERS[name]).sources
    of_nothing = () if profile.events.stream is not None else ("events.",)
    return [
        key
        for key, source in profile.sources.items()
        if source.basis == "documented" and source == before.get(key)
        if key != "files.names" and not key.startswith(of_nothing)
    ]


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_documented_of_one_system_is_assumed_of_another(name: str) -> None:
    assert taken_over(name) == []


def test_a_source_that_is_taken_over_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OTHERS, "docker-vz-4.15", "docker-vz")
    assert "events.deletes" in taken_over("docker-vz-4.15")


@pytest.mark.parametrize("name", profile_names())
def test_every_value_of_how_files_and_events_are_has_a_source(name: str) -> None:
    """Also one that a profile has by default: an assumption is to be seen as one."""
    profile = load_profile(name)
    if profile.is_local:
        return
    shown = {f"files.{key}" for key in FILE_RULES} if name not in FLOORS else {"files.replaced"}
    if profile.events.notify is not None:
        shown |= {f"events.{key}" for key in ("creates", "modifies", "attributes", "deletes")}
    assert shown - profile.sources.keys() == set()


@pytest.mark.usefixtures("need_fuse")
def test_its_example_of_a_profile_of_your_own_works(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
    finally:
        if os.path.ismount(tmp_path / "share"):
            subprocess.run(["umount", "-l", str(tmp_path / "share")], check=True)
    assert done.returncode == 0, done.stderr
    assert "docker-vz-slow" in done.stdout

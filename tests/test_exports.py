"""A share file: several host trees below one mount point, each with options of its own."""

import dataclasses
import json
from pathlib import Path

import pytest
from support.complaints import complaint

from osxfs_sim.exports import export_keys, is_share_file, load_exports
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.settings import ShareSettings


@pytest.fixture
def share_file(tmp_path: Path):
    """A function that writes a share file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "share.toml"
        path.write_text(text)
        return str(path)

    return write


EVERYTHING = """
[exports.project]
source = "trees/project"
profile = "osxfs-negative"
latency = "65us"
bandwidth = "500MB/s"
distribution = "lognormal:0.2"
served_at_once = 4
cache_timeout = "10s"
negative_timeout = "1s"
ownership = "host"
names = "apfs"
extended_attributes = "host"
replaced = "held"
host_events = "inotify"
event_latency = "20ms"
dilate = 2
seed = 7
bugs = ["phantom", "descriptors=100"]

[exports.home]
source = "/home/me"
data_path = "copies=5,switches=3"

[exports.build]
source = "/build"
profile = "osxfs-delegated"
write_back_age = "1s"
write_back_changes = 100
write_back_bytes = "1MB"
kernel_write_back = true
unwritten = "discard"
volumes = { "node_modules" = "volumes/modules", "a/b" = "/volumes/b" }
"""

COPIED = """
[exports.copied]
source = "/copied"
profile = "volume"
copy = "copies/copied"
"""


def test_each_export_is_a_share_with_options_of_its_own(share_file, tmp_path: Path) -> None:
    exports = load_exports(share_file(EVERYTHING), "/mnt/share", {})
    assert exports.shares == (
        ShareSettings(
            str(tmp_path / "trees/project"),
            "/mnt/share/project",
            profile="osxfs-negative",
            latency_ns=65_000,
            bandwidth="500MB/s",
            distribution="lognormal:0.2",
            served_at_once=4,
            cache_timeout_ns=10_000_000_000,
            negative_timeout_ns=1_000_000_000,
            ownership="host",
            names="apfs",
            extended_attributes="host",
            replaced="held",
            host_events="inotify",
            event_latency_ns=20_000_000,
            dilate=2.0,
            seed=7,
            bugs=("phantom", "descriptors=100"),
        ),
        ShareSettings("/home/me", "/mnt/share/home", data_path=(5, 3)),
        ShareSettings(
            "/build",
            "/mnt/share/build",
            profile="osxfs-delegated",
            write_back_age_ns=1_000_000_000,
            write_back_changes=100,
            write_back_bytes="1MB",
            kernel_write_back=True,
            unwritten="discard",
            volumes=(
                ("node_modules", str(tmp_path / "volumes/modules")),
                ("a/b", "/volumes/b"),
            ),
        ),
    )
    assert exports.root.exports == ("project", "home", "build")
    assert exports.root.mountpoint == "/mnt/share"


def test_an_export_can_be_a_copy(share_file, tmp_path: Path) -> None:
    (share,) = load_exports(share_file(COPIED), "/mnt", {}).shares
    copy = str(tmp_path / "copies/copied")
    assert share == ShareSettings("/copied", "/mnt/copied", profile="volume", copy=copy)


def test_every_option_of_a_share_can_be_an_exports_own(share_file) -> None:
    of_the_share = {"source", "mountpoint", "exports", "host_services", "calibrate", "stronger"}
    of_the_share |= {"trace"}  # one file: the command says to mount the export by itself
    for_all = {"allow_other", "user", "state_directory"}
    settable = {field.name for field in dataclasses.fields(ShareSettings)}
    # All that EVERYTHING sets, found by its effect; the policy of one's own apart.
    exports = load_exports(share_file(EVERYTHING + COPIED), "/mnt", {})
    found = {key for share in exports.shares for key in share.given()}
    assert found | of_the_share | for_all | {"profile", "policy"} >= settable
    assert found <= settable


def test_what_is_given_on_the_command_line_holds_for_all(share_file) -> None:
    given = {"bandwidth": "1MB/s", "user": "somebody", "allow_other": False}
    exports = load_exports(share_file(EVERYTHING), "/mnt", given)
    for share in exports.shares:
        assert (share.bandwidth, share.user, share.allow_other) == ("1MB/s", "somebody", False)
    assert (exports.root.user, exports.root.allow_other) == ("somebody", False)
    assert exports.root.bandwidth is None


def test_a_profile_of_ones_own_lies_beside_the_share_file(share_file, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n[latency]\nmetadata = "7us"\n')
    text = '[exports.a]\nsource = "a"\nprofile = "mine.toml"\n'
    (share,) = load_exports(share_file(text), "/mnt", {}).shares
    assert share.system().latency.metadata_ns == 7_000


# Overlaps


def overlaps(share_file, **trees: tuple[str, str]) -> dict[str, tuple[tuple[str, str], ...]]:
    """What each export obeys beyond its own mode; *trees* are sources and profiles by name."""
    text = "".join(
        f'[exports.{name}]\nsource = "{source}"\nprofile = "{profile}"\n'
        for name, (source, profile) in trees.items()
    )
    exports = load_exports(share_file(text), "/mnt", {})
    return {share.mountpoint.removeprefix("/mnt/"): share.stronger for share in exports.shares}


def test_an_export_is_told_where_it_obeys_another(share_file) -> None:
    assert overlaps(
        share_file,
        above=("tree", "osxfs-cached"),
        strong=("tree/a/b", "osxfs"),
        below=("tree/a/b/c/d", "osxfs-negative"),
        beside=("tree-2", "osxfs-complete"),
    ) == {
        "above": (("a/b", "consistent"),),
        "strong": (),
        "below": ((".", "consistent"),),
        "beside": (),
    }


def test_sources_are_compared_as_what_links_lead_to(share_file, tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    trees = {"above": ("real", "osxfs-cached"), "strong": ("link/../link/inner", "osxfs")}
    assert overlaps(share_file, **trees)["above"] == (("inner", "consistent"),)
    trees["strong"] = ("link", "osxfs")
    assert overlaps(share_file, **trees)["above"] == ((".", "consistent"),)


def test_default_keeps_its_own_and_asks_nothing_of_others(share_file) -> None:
    trees = {"above": ("tree", "osxfs-cached"), "inner": ("tree/inner", "osxfs-default")}
    assert overlaps(share_file, **trees) == {"above": (), "inner": ()}


def test_a_policy_of_ones_own_obeys_as_cached_does(share_file, tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "policy_of_an_export.py").write_text(
        "from osxfs_sim.model.caching import Consistent\nclass Mine(Consistent): pass\n"
    )
    text = (
        '[exports.mine]\nsource = "tree"\npolicy = "policy_of_an_export:Mine"\n'
        '[exports.strong]\nsource = "tree/inner"\n'
    )
    mine, strong = load_exports(share_file(text), "/mnt", {}).shares
    assert mine.stronger == (("inner", "consistent"),)
    assert strong.stronger == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it exports nothing: write a table [exports.NAME] for each tree"),
        ("exports = 3", "exports = 3: write a table [exports.NAME] for each"),
        (
            "[export.a]",
            "unknown key 'export': write a table [exports.NAME] for each tree "
            "(what holds for all of them goes on the command line)",
        ),
        (
            '[exports.a]\nsource = "a"\nuser = "me"',
            "exports.a.user holds for the whole mount: give it on the command line",
        ),
        (
            '[exports.a]\nsource = "~no-such-user/a"',
            "exports.a.source: there is no user 'no-such-user'",
        ),
        ("[exports.a]\n", "exports.a lacks 'source'; write such as source = \"project\""),
        (
            "[exports.a]\nsource = 3",
            'exports.a.source = 3: write such as source = "project"',
        ),
        ("[exports]\na = 3", "exports.a must be a table: write [exports.a]"),
        (
            '[exports.a]\nsource = "a"\nlatencie = "1us"',
            "unknown key 'exports.a.latencie'; did you mean 'latency'?",
        ),
        (
            '[exports.a]\nsource = "a"\nlatency = 65',
            'exports.a.latency = 65: write such as latency = "65us"',
        ),
        (
            '[exports.a]\nsource = "a"\nseed = true',
            "exports.a.seed = True: write such as seed = 7",
        ),
        (
            '[exports.a]\nsource = "a"\nownership = "mine"',
            "exports.a: unknown ownership 'mine': there are host, osxfs",
        ),
        (
            '[exports."../up"]\nsource = "a"',
            "the export '../up' cannot be a directory's name: use letters, digits and . _ + -",
        ),
        (
            '[exports.".."]\nsource = "a"',
            "the export '..' cannot be a directory's name: use letters, digits and . _ + -",
        ),
        (
            '[exports.host-services]\nsource = "a"',
            "the name 'host-services' is kept for host services: choose another",
        ),
        (
            '[exports.a]\nsource = "a"\ndata_path = "copies=5"',
            "exports.a.data_path: 'copies=5': write copies=5,switches=3",
        ),
        (
            '[exports.a]\nsource = "a"\nvolumes = "node_modules"',
            "exports.a.volumes = 'node_modules': write such as "
            'volumes = { "node_modules" = "volume" }',
        ),
        (
            '[exports.a]\nsource = "a"\nbugs = [3]',
            'exports.a.bugs = [3]: write such as bugs = ["phantom"]',
        ),
        (
            '[exports.a]\nsource = "a"\nbugs = ["phantoms"]',
            "exports.a: unknown bug 'phantoms': there are stale-size, lost-by-link, "
            "one-spelling, two-locks, phantom, stale-content, still-missing, false-create, "
            "descriptors",
        ),
        (
            '[exports.a]\nsource = "a"\nvolumes = { "m" = 3 }',
            "exports.a.volumes.m = 3: write a text between quotes",
        ),
        (
            '[exports.a]\nsource = "a"\nvolumes = { "m" = "" }',
            "exports.a.volumes: 'm' = '': name a directory",
        ),
        (
            '[exports.a]\nsource = ""',
            "exports.a needs a source: the host's directory",
        ),
        (
            '[exports.a]\nsource = "a"\nvolumes = { "../m" = "x" }',
            "exports.a: the volume '../m' is no path inside the share: write such as "
            "node_modules or web/node_modules",
        ),
    ],
)
def test_mistakes_name_the_file_the_export_and_the_remedy(share_file, text, message) -> None:
    path = share_file(text)
    assert complaint(ProfileError, load_exports, path, "/mnt", {}) == (
        f"share file {path}: {message}"
    )


@pytest.mark.parametrize(
    "text",
    [
        '[exports.a]\nsource = "a"\nprofile = "\\u0000.toml"',
        '[exports.a]\nsource = "a"\ndistribution = "empirical:\\u0000"',
        '[exports.a]\nsource = "a"\ndilate = 1' + 400 * "0",
        "x = " + 50_000 * "[",
    ],
    ids=["NUL in a profile", "NUL in a file of samples", "a huge number", "deeply nested"],
)
def test_absurd_files_are_told_in_one_line(share_file, text: str) -> None:
    message = complaint(ProfileError, load_exports, share_file(text), "/mnt", {})
    assert message.startswith("share file ")


def test_what_is_no_toml_or_not_there_is_told(share_file, tmp_path: Path) -> None:
    message = complaint(ProfileError, load_exports, share_file("a = "), "/mnt", {})
    assert "not valid TOML" in message
    missing = str(tmp_path / "missing.toml")
    assert complaint(ProfileError, load_exports, missing, "/mnt", {}) == (
        f"cannot read the share file {missing}: No such file or directory"
    )


def test_a_directory_may_be_called_as_it_likes(tmp_path: Path) -> None:
    (tmp_path / "tree.toml").mkdir()
    assert not is_share_file(str(tmp_path / "tree.toml"))
    assert is_share_file(str(tmp_path / "share.toml"))
    assert not is_share_file(str(tmp_path))


@pytest.mark.parametrize(
    "settings",
    [
        ShareSettings(
            "", "", profile="osxfs-cached", latency_ns=65_000, cache_timeout_ns=10**9, seed=7
        ),
        ShareSettings("", "", data_path=(5, 3), dilate=2.5, host_events="inotify"),
        ShareSettings(
            "", "", profile="osxfs-delegated", write_back_age_ns=1, kernel_write_back=True
        ),
    ],
)
def test_the_keys_of_an_export_bring_the_same_settings_back(
    tmp_path: Path, settings: ShareSettings
) -> None:
    (tmp_path / "tree").mkdir()
    lines = [f"{key} = {json.dumps(value)}" for key, value in export_keys(settings).items()]
    path = tmp_path / "share.toml"
    path.write_text("\n".join(["[exports.one]", 'source = "tree"', *lines]))
    (share,) = load_exports(str(path), str(tmp_path / "guest"), {}).shares
    assert share.profile == settings.profile
    assert share.given() == settings.given()

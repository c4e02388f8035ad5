"""The command contract: live shares keep theirs, and break the rules of a stronger mode."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import Command
from support.guests import eventually_beside

import osxfs_sim
from osxfs_sim.coherence.contract.rules import RuleId

PACKAGE = str(Path(osxfs_sim.__file__).parents[1])


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": PACKAGE},
    )


@pytest.fixture(scope="session")
def contract(cli: Command):
    def contract(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return cli("contract", *arguments)

    return contract


def rules(*names: str) -> list[str]:
    return [word for name in names for word in ("--rule", name)]


@pytest.fixture(scope="session")
def judged(contract):
    def judged(*arguments: str | Path) -> tuple[int, dict[str, dict[str, object]]]:
        """The exit code, and what was found by rule."""
        result = contract(*arguments, "--latency", "0us", "--json")
        assert result.stdout, result.stderr
        assert "Traceback" not in result.stderr
        document = json.loads(result.stdout)
        assert document["schema"] == 1
        return result.returncode, {each["rule"]: each for each in document["rules"]}

    return judged


def verdicts(found: dict[str, dict[str, object]]) -> dict[str, object]:
    return {rule: each["verdict"] for rule, each in found.items()}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("osxf",), 1, "unknown profile 'osxf'; did you mean 'osxfs'?"),
        (("osxfs", "--as", "default"), 2, "'default' is not one of 'consistent', 'cached'"),
        (("osxfs", "--rule", "CON-3"), 2, "'CON-3' is not one of 'DEL-1'"),
        (("osxfs", "--list", "--script", "x"), 2, "--script has no effect with --list"),
        (("osxfs", "--volume", "a"), 2, "--volume has no part in the contract"),
        (("osxfs", "--cache-timeout", "1s"), 1, "cache_timeout has no effect under the policy"),
        ((), 2, "Missing argument 'PROFILE'"),
    ],
)
def test_bad_input_is_one_line(contract, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = contract(*arguments)
    assert result.returncode == code
    assert len(result.stderr.splitlines()) == 1
    assert said in result.stderr


def test_a_list_names_every_rule_and_plays_nothing(contract) -> None:
    result = contract("osxfs-delegated", "--list", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert [each["rule"] for each in document["rules"]] == list(RuleId)
    by_rule = {each["rule"]: each for each in document["rules"]}
    assert by_rule["CON-2"]["not_applicable"].startswith("a rule of consistent mounts")
    assert {each["use"] for each in by_rule["DEL-2"]["schedules"]} == {"must", "may"}
    assert "DEL-7 a host change" in contract("osxfs", "--list").stdout


@pytest.mark.usefixtures("need_fuse")
def test_consistent_keeps_its_rules_and_says_what_a_mapping_shows(judged) -> None:
    code, found = judged("osxfs", *rules("DEL-3", "CAC-3", "CON-2"))
    assert (code, verdicts(found)) == (0, {"DEL-3": "kept", "CAC-3": "kept", "CON-2": "kept"})
    assert found["CON-2"]["schedules"] > 100
    assert [each["schedule"] for each in found["CON-2"]["known"]] in (
        ["overwrite, by a mapping: host, then guest, which had read it before"],
        [],  # the event was quicker each time
    )


@pytest.mark.usefixtures("need_fuse")
def test_what_a_mapping_shows_is_told_and_has_a_script(contract, tmp_path: Path) -> None:
    """Where there are no host events it never follows, however slow the machine is."""
    arguments = ("--latency", "0us", *rules("CON-2"), "--script", tmp_path)
    result = contract("none", *arguments)
    assert result.returncode == 0, result.stderr
    assert "kept*" in result.stdout
    assert "* CON-2, but for this: a mapping makes no request" in result.stdout
    assert run(tmp_path / "CON-2-known.py").returncode == 1


@pytest.mark.usefixtures("need_fuse")
def test_cached_keeps_its_rules_and_is_seen_to_lag(judged) -> None:
    code, found = judged("osxfs-cached", *rules("CAC-3", "CAC-5", "DEL-8"))
    assert (code, verdicts(found)) == (0, {"DEL-8": "kept", "CAC-3": "kept", "CAC-5": "kept"})


@pytest.mark.usefixtures("need_fuse")
def test_delegated_keeps_its_rules_and_is_seen_to_hold_back_and_to_lose(judged) -> None:
    code, found = judged("osxfs-delegated", *rules("DEL-2", "DEL-4", "DEL-7"))
    assert (code, verdicts(found)) == (0, {"DEL-2": "kept", "DEL-4": "kept", "DEL-7": "kept"})
    assert found["DEL-4"]["unplayed"] == []


@pytest.mark.usefixtures("need_fuse")
def test_what_shipped_as_delegated_is_inconclusive(judged) -> None:
    arguments = ("osxfs-delegated-17.06", "--as", "delegated", *rules("DEL-2", "DEL-7"))
    code, found = judged(*arguments)
    assert (code, verdicts(found)) == (1, {"DEL-2": "inconclusive", "DEL-7": "inconclusive"})


@pytest.mark.usefixtures("need_fuse")
def test_a_breach_is_a_script_that_finds_it_again_and_not_where_it_is_cured(
    contract,
    tmp_path: Path,
) -> None:
    """Without host events a cached share cannot but lag."""
    result = contract(
        *("osxfs-cached", "--as", "consistent", "--host-events", "none", "--latency", "0us"),
        *(*rules("CON-2"), "--script", tmp_path / "breaches"),
    )
    assert result.returncode == 1
    heading = " ".join(result.stdout.split())
    assert "osxfs-cached; latency 0us; host events none: the consistency contract" in heading
    assert "CON-2   broken" in result.stdout
    script = tmp_path / "breaches" / "CON-2.py"
    assert str(script) in result.stdout.replace("\n", "")
    found = run(script)
    assert (found.returncode, found.stderr) == (1, "")
    assert "BREACH: guest: " in found.stdout
    cured = run(script, "profile=osxfs")
    assert (cured.returncode, cured.stderr) == (0, "")
    assert cured.stdout.endswith("no breach\n")


@pytest.mark.usefixtures("need_fuse")
def test_holding_back_breaks_write_through(judged) -> None:
    code, found = judged("osxfs-delegated", "--as", "cached", *rules("CAC-3"))
    assert (code, verdicts(found)) == (1, {"CAC-3": "broken"})
    steps = found["CAC-3"]["breach"]["steps"]
    assert [(actor, step["act"]) for actor, step in steps] == [
        ("guest", "create"),
        ("host", "stat"),
    ]


@pytest.mark.usefixtures("need_fuse")
def test_a_policy_of_ones_own_that_believes_is_found_out(cli: Command, tmp_path: Path) -> None:
    """It believes names and attributes for a day, and is held to consistency."""
    (tmp_path / "believer.py").write_text(
        "from osxfs_sim import CachePolicy, CacheTimeouts\n"
        "class Believer(CachePolicy):\n"
        "    def found(self, name, status, now_ns):\n"
        "        return CacheTimeouts(86_400 * 10**9, 86_400 * 10**9)\n"
    )
    arguments = ("--policy", "believer:Believer", "--host-events", "none")
    result = cli(
        *("contract", "osxfs", "--as", "consistent", *arguments, *rules("CON-2"), "--json"),
        env={"PYTHONPATH": f"{PACKAGE}:{tmp_path}"},
    )
    assert result.returncode == 1, result.stderr
    (found,) = json.loads(result.stdout)["rules"]
    assert found["verdict"] == "broken"
    assert found["breach"]["times"] == found["breach"]["plays"]


@pytest.mark.usefixtures("need_fuse")
def test_a_bug_of_the_museum_is_found_out(judged) -> None:
    """An edit in place is not heard of: what is believed of the content never expires."""
    code, found = judged("osxfs-cached", "--bug", "stale-content", *rules("DEL-6", "CAC-5"))
    assert code == 1
    assert verdicts(found) == {"DEL-6": "broken", "CAC-5": "broken"}
    assert found["DEL-6"]["breach"]["times"] >= 2  # what shows once is not called broken


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.parametrize("bug", ["phantom", "stale-size", "stale-content"])
def test_a_share_that_does_not_hear_of_one_kind_keeps_no_promise_to_tell(judged, bug: str) -> None:
    """Each time: what was made has been told before anybody looks at it."""
    code, found = judged("osxfs-cached", "--bug", bug, *rules("DEL-6"))
    assert (code, verdicts(found)) == (1, {"DEL-6": "broken"})
    assert found["DEL-6"]["breach"]["times"] == found["DEL-6"]["breach"]["plays"]


@pytest.mark.usefixtures("need_fuse")
def test_of_a_copy_only_its_own_processes_are_judged(contract) -> None:
    result = contract("volume", *rules("DEL-3", "CON-2"), "--json")
    assert result.returncode == 0, result.stderr
    found = {each["rule"]: each for each in json.loads(result.stdout)["rules"]}
    assert verdicts(found) == {"DEL-3": "kept", "CON-2": "not applicable"}
    assert "copy" in found["CON-2"]["why"]


def mountpoints_of(pid: int) -> list[Path]:
    """Where the servers that process *pid* has started mount, or have mounted."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = []
    for child in children:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            if "osxfs_sim.mount.server.main" in words:
                found.append(Path(json.loads(words[4])["mountpoint"]))
    return found


@pytest.mark.usefixtures("need_fuse")
def test_an_interrupted_judgement_leaves_nothing_behind(cli: Command) -> None:
    process = cli.start("contract", "osxfs", "--latency", "0us", start_new_session=True)
    try:
        ours = eventually_beside(
            process, lambda: [path for path in mountpoints_of(process.pid) if path.is_mount()]
        )
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=180)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in errors
    assert not any(path.parent.exists() for path in ours)


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("profile", "kept"),
    [
        ("osxfs", "DEL-1 DEL-2 DEL-3 DEL-4 DEL-5 CAC-1 CAC-2 CAC-3 CAC-4 CON-1 CON-2"),
        ("osxfs-default", "DEL-1 DEL-2 DEL-3 DEL-4 CAC-1 CAC-2 CAC-3 CON-1 CON-2 DEF-1"),
        (
            "osxfs-cached",
            "DEL-1 DEL-2 DEL-3 DEL-4 DEL-5 DEL-6 DEL-8 CAC-1 CAC-2 CAC-3 CAC-4 CAC-5",
        ),
        ("osxfs-delegated", "DEL-1 DEL-2 DEL-3 DEL-4 DEL-5 DEL-6 DEL-7 DEL-8"),
    ],
)
def test_the_contracts_own_modes_keep_all_that_applies(judged, profile: str, kept: str) -> None:
    code, found = judged(profile)
    assert code == 0
    assert {rule for rule, each in found.items() if each["verdict"] == "kept"} == set(kept.split())
    others = {each["verdict"] for rule, each in found.items() if rule not in kept.split()}
    assert others == {"not applicable"}


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.slow
def test_the_kernels_own_write_back_breaks_what_an_event_promises(judged) -> None:
    code, found = judged("osxfs-delegated-kernel", *rules("DEL-1"))
    assert (code, verdicts(found)) == (1, {"DEL-1": "broken"})
    assert found["DEL-1"]["breach"]["schedule"].startswith("append")

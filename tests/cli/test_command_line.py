"""The command as a user meets it: one line and a non-zero exit for each mistake."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.command import Command
from support.guests import eventually_beside

from osxfs_sim.cli import mount as mount_command


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    source, mountpoint = tmp_path / "source", tmp_path / "share"
    source.mkdir()
    mountpoint.mkdir()
    return source, mountpoint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--profile", "osxf"], "unknown profile 'osxf'; did you mean 'osxfs'?"),
        (["--latency", "130"], "'130' has no unit: write 130us or 130ms"),
        (["--latency", "-1us"], "'-1us' is negative"),
        (["--latency", "130furlongs"], "'130furlongs' has an unknown unit"),
        (["--bandwidth", "250"], "is not a rate: write it like 250MB/s"),
        (["--bandwidth", "0MB/s"], "carries nothing"),
        (["--distribution", "normal"], "unknown distribution 'normal'"),
        (["--distribution", "lognormal:x"], "write lognormal and its sigma"),
        (["--distribution", "empirical:/no/such/file"], "cannot read the samples /no/such/file"),
        (["--cache-timeout", "1s"], "cache_timeout has no effect under the policy 'consistent'"),
        (["--policy", "nowhere"], "'nowhere' names no class"),
        (["--policy", "nowhere:Class"], "cannot import the policy's module"),
        (["--dilate", "0"], "dilate multiplies time"),
        (["--dilate", "nan"], "dilate multiplies time"),
        (["--data-path", "copies=5"], "write copies=5,switches=3"),
        (["--latency", "1ms", "--data-path", "copies=5,switches=3"], "give one of them"),
        (["--served-at-once", "0"], "0 is not in the range x>=1"),
        (["--write-back-age", "5s"], "write_back_age has no effect without write-back"),
        (["--unwritten", "forget"], "'forget' is not one of 'recover', 'discard'"),
        (["--host-events", "dnotify"], "'dnotify' is not one of 'auto', 'fanotify', 'inotify'"),
        (["--profile", "none", "--host-events", "inotify"], "has no effect without a stream"),
        (["--event-latency", "10"], "'10' has no unit: write 10us or 10ms"),
        (["--host-events", "none", "--event-latency", "1ms"], "leave one of them out"),
        (["--profile", "osxfs-complete", "--host-events", "none"], "policy complete needs to see"),
        (["--profil", "osxfs"], "No such option"),
        (["--lifetime", "1s"], "--lifetime is called --cache-timeout now (see --help)"),
        (["--missing-lifetime=1s"], "--missing-lifetime is called --negative-timeout now"),
    ],
)
def test_bad_input_is_one_line_with_its_remedy(
    complaint, directories: tuple[Path, Path], options: list[str], said: str
) -> None:
    assert said in complaint("mount", *directories, *options)
    assert not os.path.ismount(directories[1])


def test_samples_that_are_no_samples_are_refused(complaint, directories: tuple[Path, Path]) -> None:
    samples = directories[0] / "samples"
    for text, said in (
        ("", f"{samples} holds no samples"),
        ("# only a comment\n", f"{samples} holds no samples"),
        ("131us\nfast\n", f"{samples}, line 2: 'fast' is not a duration"),
    ):
        samples.write_text(text)
        assert said in complaint("mount", *directories, "--distribution", f"empirical:{samples}")


def test_a_profile_of_ones_own_with_an_unknown_key_names_the_nearest(
    complaint,
    directories: tuple[Path, Path],
) -> None:
    profile = directories[0] / "mine.toml"
    profile.write_text('name = "mine"\nextends = "osxfs"\n[latency]\nmetadta = "1us"\n')
    said = complaint("mount", *directories, "--profile", profile)
    assert said == f"{profile}: unknown key 'latency.metadta'; did you mean 'metadata'?"


def test_places_that_cannot_be_mounted_are_named(complaint, directories: tuple[Path, Path]) -> None:
    source, mountpoint = directories
    (source / "inside").mkdir()
    (source / "file").touch()
    missing = source / "missing"
    assert complaint("mount", missing, mountpoint) == f"the source {missing} does not exist"
    assert "is not a directory" in complaint("mount", source / "file", mountpoint)
    assert "mkdir -p" in complaint("mount", source, missing)
    assert "lies inside the source" in complaint("mount", source, source / "inside")
    assert "the same directory" in complaint("mount", source, source)
    assert "lies inside the mount point" in complaint("mount", source / "inside", source)


def test_what_is_not_mounted_has_no_status(complaint, tmp_path: Path) -> None:
    assert complaint("status", tmp_path).startswith(f"no share is mounted at {tmp_path}")
    assert complaint("umount", tmp_path) == f"nothing is mounted at {tmp_path}"
    assert complaint("umount", "/proc") == "/proc is a proc mount, not a share: use umount"


def test_cases_that_cannot_be_run_say_why(complaint) -> None:
    assert complaint("run", "raek") == "unknown case 'raek'; did you mean 'rake'?"
    assert "unknown profile 'osxfsx'" in complaint("run", "rake", "--arm", "osxfsx")
    assert "no variant 'fll'" in complaint("run", "rake", "--variant", "fll")
    assert "no option 'bootsnp'" in complaint("run", "rake", "--with", "bootsnp")
    assert "no effect" in complaint("run", "rake", "--arm", "native", "--latency", "1us")
    assert "does not exist" in complaint("run", "rake", "--json", "/no/such/directory/file")


def test_a_case_without_its_tools_names_the_command_that_installs_them(
    cli: Command, tmp_path: Path
) -> None:
    result = cli("run", "rake", env={"PATH": str(tmp_path)})
    assert result.returncode == 1
    assert result.stderr.startswith("osxfs-sim: the case rake needs ruby, rake, bundle")
    assert "apt-get install" in result.stderr


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.parametrize(
    ("option", "value", "key"),
    [
        ("--ownership", "host", "ownership"),
        ("--ownership", "osxfs", "ownership"),
        ("--names", "apfs", "names"),
        ("--names", "hfs+", "names"),
        ("--extended-attributes", "host", "extended_attributes"),
        ("--replaced", "held", "replaced"),
    ],
)
def test_rules_for_files_are_chosen_by_the_names_that_profiles_use(
    cli: Command, directories: tuple[Path, Path], option: str, value: str, key: str
) -> None:
    source, mountpoint = directories
    arguments = ("--profile", "none", option, value)
    mounted = cli("mount", source, mountpoint, *arguments)
    assert (mounted.returncode, mounted.stderr) == (0, "")
    try:
        status = json.loads(cli("status", "--json", mountpoint).stdout)
    finally:
        assert cli("umount", mountpoint).returncode == 0
    told = status[key]
    assert value in (told, *(told.values() if isinstance(told, dict) else ()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mont", "a", "b"), "no such command 'mont'; did you mean 'mount'? (see --help)"),
        (("--json", "status"), "no such option --json: options come after the command"),
        (("status", "--jsn"), "Did you mean '--json'?"),
        (("mount", "a"), "Missing argument 'MOUNTPOINT' (see --help)"),
        (("mount", "a", "b", "--names", "APFS"), "apfs"),
    ],
)
def test_a_wrong_command_line_is_one_line_too(cli: Command, arguments, message: str) -> None:
    result = cli(*arguments)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_an_empty_path_is_not_the_working_directory(
    complaint, directories: tuple[Path, Path]
) -> None:
    source, mountpoint = directories
    told = "name a directory"
    assert told in complaint("mount", source, "")
    assert told in complaint("mount", "", mountpoint)
    assert told in complaint("umount", "")
    assert told in complaint("status", "")


@pytest.fixture(scope="session")
def in_shell(cli: Command):
    def in_shell(script: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """What a shell makes of *script*, in which "$@" is the command and its arguments."""
        shell = ["sh", "-c", script, "sh", *cli.line(*arguments)]
        return subprocess.run(shell, capture_output=True, text=True, timeout=180)

    return in_shell


def test_a_full_disk_is_told(in_shell) -> None:
    for arguments in (("profiles",), ("profiles", "host"), ("profiles", "--json"), ("--help",)):
        result = in_shell('"$@" > /dev/full', *arguments)
        assert (result.returncode, result.stderr) == (1, "osxfs-sim: No space left on device\n")


def test_a_working_directory_that_is_gone_is_told(in_shell, tmp_path: Path) -> None:
    script = f'mkdir "{tmp_path}/gone" && cd "{tmp_path}/gone" && rmdir ../gone && "$@"'
    result = in_shell(script, "mount", "source", "share")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1:] == [
        "osxfs-sim: the working directory does not exist any more: cd to another"
    ]


@pytest.mark.usefixtures("need_fuse")
def test_who_has_closed_what_is_always_open_can_mount(
    cli: Command, in_shell, directories: tuple[Path, Path]
) -> None:
    source, mountpoint = directories
    assert in_shell('"$@" 0<&- 1>&- 2>&-', "profiles").returncode == 0
    mounted = in_shell('"$@" 0<&- 1>&- 2>&-', "mount", source, mountpoint, "--profile", "none")
    assert mounted.returncode == 0
    (mountpoint / "file").write_text("there")
    assert cli("umount", mountpoint).returncode == 0
    assert (source / "file").read_text() == "there"


def test_profiles_are_listed_with_their_sources(cli: Command) -> None:
    listed = json.loads(cli("profiles", "--json").stdout)
    assert {"none", "osxfs", "osxfs-cached", "osxfs-negative"} <= {p["name"] for p in listed}
    one = json.loads(cli("profiles", "osxfs", "--json").stdout)
    assert one["values"]["latency.metadata"] == "130us"
    assert one["sources"]["latency.metadata"]["basis"] == "documented"
    assert one["values"]["events.latency"] == "10ms"
    assert one["sources"]["events.latency"]["basis"] == "assumed"
    assert "130us" in cli("profiles", "osxfs").stdout
    assert "osxfs-negative" in cli("profiles").stdout


@pytest.mark.usefixtures("need_fuse")
def test_a_share_from_mount_to_umount(
    cli: Command, complaint, directories: tuple[Path, Path]
) -> None:
    source, mountpoint = directories
    (source / "file").write_text("hello")
    mounted = cli("mount", source, mountpoint, "--profile", "osxfs-cached", "--seed", "7")
    try:
        assert (mounted.returncode, mounted.stdout) == (0, "")
        assert (mountpoint / "file").read_text() == "hello"
        status = json.loads(cli("status", "--json", mountpoint).stdout)
        assert (status["profile"], status["seed"]) == ("osxfs-cached", 7)
        assert status["requests"]["READ"] == 1
        assert status["receipt"]["metadata"]["target_p50_ns"] in range(129_900, 130_100)
        table = cli("status", mountpoint)
        assert table.returncode == 0
        assert "osxfs with the consistency flag" in table.stdout
        assert str(mountpoint) in cli("status").stdout
        before = json.loads(cli("status", "--json", "--reset", mountpoint).stdout)
        after = json.loads(cli("status", "--json", mountpoint).stdout)
        # To ask a share is not counted by it.
        assert before["requests"]
        assert not after["requests"]
        assert "already mounted" in complaint("mount", source, mountpoint)
    finally:
        unmounted = cli("umount", mountpoint)
    assert (unmounted.returncode, unmounted.stdout, unmounted.stderr) == (0, "", "")
    assert not os.path.ismount(mountpoint)


@pytest.mark.usefixtures("need_fuse")
def test_a_target_out_of_reach_is_said_at_mount_with_its_remedy(
    cli: Command,
    directories: tuple[Path, Path],
) -> None:
    mounted = cli("mount", *directories, "--latency", "1us")
    try:
        assert mounted.returncode == 0
        assert "1us is out of reach" in mounted.stderr
        assert "--dilate" in mounted.stderr
    finally:
        cli("umount", directories[1])


@pytest.mark.usefixtures("need_fuse")
def test_in_the_foreground_a_signal_unmounts(cli: Command, directories: tuple[Path, Path]) -> None:
    source, mountpoint = directories
    (source / "file").write_text("hello")
    server = cli.start("mount", "-f", source, mountpoint, stdout=None)
    try:
        eventually_beside(server, (mountpoint / "file").exists)
        eventually_beside(server, lambda: cli("status", mountpoint).returncode == 0)
        server.terminate()
        assert server.wait(timeout=180) == 0
        assert not os.path.ismount(mountpoint)
    finally:
        server.kill()
        server.communicate()


@pytest.mark.usefixtures("need_fuse")
def test_changes_are_held_flushed_and_found_again_after_a_crash(
    cli: Command, complaint, directories: tuple[Path, Path], tmp_path: Path
) -> None:
    source, mountpoint = directories
    state = ("--state", tmp_path / "state")
    held = ("--profile", "osxfs-delegated", "--write-back-age", "1h")  # until we are done
    mount = ("mount", source, mountpoint, *held, *state)
    assert cli(*mount).returncode == 0
    (mountpoint / "flushed").write_text("content")
    assert cli("flush", mountpoint).returncode == 0
    assert (source / "flushed").read_text() == "content"
    (mountpoint / "left").write_text("content")
    status = json.loads(cli("status", mountpoint, "--json").stdout)
    assert "2 changes (7B)" in cli("status", mountpoint).stdout
    os.kill(status["pid"], signal.SIGKILL)
    unmounted = cli("umount", mountpoint)  # nobody is there to be asked
    assert unmounted.returncode == 0
    assert "2 changes (7B)" in unmounted.stderr
    left = cli("unwritten", source, *state)
    assert "2 changes (7B) are not on the host" in left.stdout
    (journal,) = json.loads(cli("unwritten", source, *state, "--json").stdout)
    assert journal["changes"] == [
        {"change": "make", "path": "left", "refused": None},
        {"change": "write", "path": "left", "refused": None},
    ]
    assert "--unwritten recover" in complaint(*mount)
    again = cli(*mount, "--unwritten", "recover")
    assert "2 changes unwritten: the host has them now" in again.stderr
    assert (source / "left").read_text() == "content"
    assert cli("umount", mountpoint).returncode == 0
    assert cli("unwritten", source, *state).stdout == "nothing was left unwritten\n"


def test_flush_needs_a_share(complaint, tmp_path: Path) -> None:
    assert "no share is mounted" in complaint("flush", tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_it_mounts_is_told_by_the_exit_code(number: int, code: int) -> None:
    with pytest.raises(SystemExit) as end:
        mount_command._interrupt(number, None)
    assert end.value.code == code

"""The cases that install packages: lock files, what they refuse, and (slow) their quick form."""

import json
import subprocess
from pathlib import Path

import pytest
from support.command import Command

from osxfs_sim.lab.cases import Case, load_case

LOCKS = {
    "npm-install/cra": 1_500,
    "npm-install/small": 100,
    "vite-install/app": 200,
    "watch/app": 40,
}
CREATE_REACT_APP = {
    "@testing-library/jest-dom": "5.16.5",
    "@testing-library/react": "13.4.0",
    "@testing-library/user-event": "13.5.0",
    "react": "18.2.0",
    "react-dom": "18.2.0",
    "react-scripts": "5.0.1",
    "web-vitals": "2.1.4",
}


def check(case: Case, tree: Path, form: str) -> "subprocess.CompletedProcess[str]":
    assert case.check is not None
    command = case.command(case.check, tree=tree, variant="default", form=form)
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_fixes_every_package_and_names_no_registry(lock: str) -> None:
    name, _, folder = lock.partition("/")
    place = load_case(name).folder / folder
    wanted = json.loads((place / "package.json").read_text())
    locked = json.loads((place / "package-lock.json").read_text())["packages"]
    for key in ("dependencies", "devDependencies"):
        assert locked[""].get(key) == wanted.get(key)
    packages = [entry for path, entry in locked.items() if path]
    assert len(packages) > LOCKS[lock]
    for entry in packages:
        assert "resolved" not in entry
        assert entry.get("integrity") or entry.get("inBundle")


def test_npm_install_is_the_published_project() -> None:
    place = load_case("npm-install").folder
    assert json.loads((place / "cra/package.json").read_text())["dependencies"] == CREATE_REACT_APP
    small = json.loads((place / "small/package.json").read_text())["dependencies"]
    assert {**small, "react-scripts": "5.0.1"} == CREATE_REACT_APP


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("name", "folder", "form"),
    [("npm-install", "small", "whole"), ("vite-install", "app", "quick")],
)
def test_a_package_that_is_missing_or_of_another_version_is_refused(
    tmp_path: Path, name: str, folder: str, form: str
) -> None:
    case = load_case(name)
    app = tmp_path / "app"
    app.mkdir()
    for file in ("package.json", "package-lock.json"):
        (app / file).write_text((case.folder / folder / file).read_text())
    locked = json.loads((app / "package-lock.json").read_text())["packages"]
    wanted = list(json.loads((app / "package.json").read_text())["dependencies"])
    assert f"{wanted[0]} {locked[f'node_modules/{wanted[0]}']['version']} is not installed" in (
        check(case, tmp_path, form).stderr
    )
    for package in wanted:
        place = app / "node_modules" / package
        place.mkdir(parents=True)
        version = locked[f"node_modules/{package}"]["version"]
        (place / "package.json").write_text(json.dumps({"version": version}))
    assert check(case, tmp_path, form).returncode == 0
    (app / "node_modules/react/package.json").write_text('{"version": "0.0.1"}')
    assert "is not installed: 0.0.1" in check(case, tmp_path, form).stderr
    if name == "vite-install":  # the whole form wants those of development, too
        assert check(case, tmp_path, "whole").returncode == 1


@pytest.mark.starts_processes
def test_pip_install_refuses_an_empty_place(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    result = check(load_case("pip-install"), tmp_path, "quick")
    assert result.returncode == 1
    assert "check.sh: asgiref==3.8.1 is not" in result.stderr


@pytest.mark.starts_processes
def test_watch_refuses_a_file_without_the_last_edit(tmp_path: Path) -> None:
    case = load_case("watch")
    (tmp_path / "src").mkdir()
    for text, form, code in (
        ('"edit 5"', "quick", 0),
        ('"edit 5"', "whole", 1),
        ('"edit 20"', "whole", 0),
        ('"edit 4"', "quick", 1),
    ):
        (tmp_path / "src/word.js").write_text(f"export const word = {text};\n")
        assert check(case, tmp_path, form).returncode == code
    assert case.reset is not None
    subprocess.run(case.command(case.reset, tree=tmp_path, variant="default"), check=True)
    assert '"edit 0"' in (tmp_path / "src/word.js").read_text()


@pytest.fixture(scope="session")
def run_quick(cli: Command):
    def run_quick(directory: Path, case: str, *arms: str) -> "subprocess.CompletedProcess[str]":
        words = [word for arm in arms for word in ("--arm", arm)]
        saved = ("--json", directory / "result.json")
        run = ("run", case, "--quick", "--runs", "1", *words, *saved)
        return cli(*run, cache=directory / "cache", within_s=600)

    return run_quick


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
@pytest.mark.parametrize("case", ["npm-install", "vite-install", "pip-install"])
def test_the_quick_form_leaves_the_same_natively_and_on_a_share(
    run_quick, tmp_path: Path, case: str
) -> None:
    result = run_quick(tmp_path, case, "native", "osxfs")
    assert result.returncode == 0, result.stdout + result.stderr
    native, shared = json.loads((tmp_path / "result.json").read_text())["samples"]
    assert native["digest"] == shared["digest"] is not None
    assert shared["share"]["requests"]["CREATE"] > 50


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_an_edit_on_the_host_is_reported_in_the_guest_where_the_share_raises_events(
    run_quick,
    tmp_path: Path,
) -> None:
    result = run_quick(tmp_path, "watch", "native", "osxfs", "osxfs-cached")
    assert result.returncode == 0, result.stdout + result.stderr
    for sample in json.loads((tmp_path / "result.json").read_text())["samples"]:
        assert sample["last_line"].startswith("median ")


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_where_no_event_is_raised_the_run_fails_in_bounded_time_and_says_so(
    run_quick, tmp_path: Path
) -> None:
    result = run_quick(tmp_path, "watch", "none")
    assert result.returncode == 1
    assert "edit 1 on the host was not reported in the guest within 5 s" in result.stderr

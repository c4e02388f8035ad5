"""A Vite development server in the guest reloads what is edited on the host."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.listening import (
    Listener,
    edit_as_editors_do,
    edit_in_place,
    from_json,
    is_ready,
    javascript,
    listener,
)
from support.live import LiveShare

PROJECT = {
    "index.html": '<script type="module" src="/main.js"></script><p>Hello</p>\n',
    "main.js": 'import { word } from "/word.js";\nconsole.log(word);\n',
    "word.js": 'export const word = "before";\nimport.meta.hot?.accept();\n',
    "plain.js": 'console.log("before");\n',
}


@pytest.fixture(params=["osxfs", "osxfs-cached"])
def project(
    request: pytest.FixtureRequest, share: Callable[..., LiveShare], field: Path
) -> LiveShare:
    """A share of a small Vite project."""
    source = field / "project"
    source.mkdir()
    for name, text in PROJECT.items():
        (source / name).write_text(text)
    return share(source, profile=request.param)


@pytest.fixture
def browser(project: LiveShare) -> Iterator["Listener[tuple[Any, ...]]"]:
    """What the server of the project tells a browser that shows the page."""
    vite = javascript("node_modules/vite/bin/vite.js")
    quiet = {"NO_COLOR": "1", "BROWSER": "none"}
    with listener(
        [*vite, "--host", "127.0.0.1"],
        project.guest,
        no_report,
        lambda line: "http://127.0.0.1" in line,
        quiet,
    ) as server:
        address = server.until_it_says(lambda line: "http://127.0.0.1" in line).split()[-1]
        command = [*javascript("browser.mjs"), address, "/", "/main.js", "/word.js", "/plain.js"]
        with listener(command, project.guest, from_json, is_ready) as browser:
            yield browser


def no_report(line: str) -> None:
    """The server's own words are for people."""


def an_update(path: str, word: str) -> Callable[[tuple[Any, ...]], bool]:
    """An update of *path*, after which the browser was given a module with *word* in it."""
    return lambda report: report[:2] == ("update", path) and word in report[2]


def a_reload(word: str) -> Callable[[tuple[Any, ...]], bool]:
    """A reload, after which the browser was given a page with *word* in it."""
    return lambda report: report[0] == "full-reload" and word in report[2]


def test_an_edit_on_the_host_replaces_the_module(
    project: LiveShare, browser: "Listener[tuple[Any, ...]]"
) -> None:
    edit_in_place(project.source / "word.js", PROJECT["word.js"].replace("before", "second"))
    assert an_update("/word.js", '"second"')(browser.until(bool)[0])


def test_an_edit_as_editors_do_it_replaces_the_module(
    project: LiveShare, browser: "Listener[tuple[Any, ...]]"
) -> None:
    edit_as_editors_do(
        project.source / "word.js", PROJECT["word.js"].replace("before", "quite new")
    )
    assert an_update("/word.js", '"quite new"')(browser.until(bool)[0])


def test_an_edit_of_what_cannot_be_replaced_reloads_the_page(
    project: LiveShare, browser: "Listener[tuple[Any, ...]]"
) -> None:
    edit_in_place(project.source / "plain.js", PROJECT["plain.js"].replace("before", "second"))
    browser.until(lambda report: report[0] == "full-reload")
    edit_in_place(project.source / "index.html", PROJECT["index.html"].replace("Hello", "World"))
    browser.until(a_reload("World"))


def test_an_edit_in_the_guest_replaces_the_module_once(
    project: LiveShare, browser: "Listener[tuple[Any, ...]]"
) -> None:
    edit_in_place(project.guest / "word.js", PROJECT["word.js"].replace("before", "second"))
    browser.until(an_update("/word.js", '"second"'))
    edit_in_place(project.source / "index.html", PROJECT["index.html"].replace("Hello", "World"))
    assert [report[0] for report in browser.until(a_reload("World"))] == ["update", "full-reload"]

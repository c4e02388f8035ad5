"""The adversary's oracle has an oracle: Linux itself, on a plain directory."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from adversary import actor
from adversary.expected import Expected, Seen, split, without_case
from adversary.moves import Move, Mover
from adversary.sides import tree

MOVES = 60
_seeds = st.integers(0, 1 << 32)


class Plain:
    """A plain directory, two actors of guests in it, and what is expected of it."""

    def __init__(self, seed: int, top: Path, **settings: object) -> None:
        self.top = top
        self.expected = Expected(has_attributes=has_attributes(top))
        self.movers = [
            Mover(Random(f"{seed} {name}"), name, **settings)  # type: ignore[arg-type]
            for name in ("g0", "g1")
        ]
        self.random = Random(seed)
        self.log: list[str] = []

    def step(self) -> None:
        mover = self.random.choice(self.movers)
        there: dict[str, list[str]] = {}
        for path, node in self.expected.walk():
            there.setdefault(node.kind, []).append("/".join(path))
        self.make(mover, mover.draw(there))

    def make(self, mover: Mover, move: Move) -> None:
        code, value = 0, None
        try:
            value = actor.do(str(self.top), move)
        except OSError as error:
            code = error.errno or 0
        mover.answered(move, code == 0)
        self.log.append(f"{mover.name} {move}: {os.strerror(code) if code else 'ok'}")
        wrong = self.expected.by_guest(mover.name, move, code, value)
        assert not wrong, "\n".join([*self.log, wrong])

    def check(self) -> None:
        host, inodes = tree(self.top)
        wrong = self.expected.missing(host) + self.expected.unsynced(host)
        assert not wrong, "\n".join([*self.log, str(wrong)])
        assert {path for path, _ in self.expected.walk()} == set(host)
        for path, node in self.expected.walk():
            if node.kind == "file":
                others = {other for other in host if inodes[other] == inodes[path]}
                assert set(self.expected.paths_of(node)) == others

    def adopt(self) -> None:
        self.expected.adopt(*tree(self.top))


def has_attributes(top: Path) -> bool:
    """Whether its file system keeps the extended attributes of users."""
    try:
        os.setxattr(top, actor.ATTRIBUTE, b"")
        os.removexattr(top, actor.ATTRIBUTE)
    except OSError:
        return False
    return True


@pytest.fixture
def closing() -> Iterator[None]:
    yield
    actor.do("/", {"do": "drop all"})


def run(seed: int, top: Path, adopts_at: int = MOVES // 2) -> Plain:
    plain = Plain(seed, top)
    try:
        for number in range(MOVES):
            plain.step()
            if number == adopts_at:
                plain.check()
                plain.adopt()
        plain.check()
    finally:
        actor.do("/", {"do": "drop all"})
    return plain


@pytest.mark.starts_processes
@settings(max_examples=150)
@given(_seeds)
def test_a_plain_directory_does_what_is_expected(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    run(seed, tmp_path_factory.mktemp("plain"))


@pytest.mark.starts_processes
def test_it_is_looked_at_indeed(tmp_path: Path) -> None:
    """Moves of every kind are done, and of all but some refused; much is there in the end."""
    log: list[str] = []
    checked: dict[str, int] = {}
    for seed in range(30):
        (tmp_path / str(seed)).mkdir()
        plain = run(seed, tmp_path / str(seed))
        log += plain.log
        for what, number in plain.expected.checked.items():
            checked[what] = checked.get(what, 0) + number
    done = {line.split("'")[3] for line in log if line.endswith(": ok")}
    refused = {line.split("'")[3] for line in log if not line.endswith(": ok")}
    of_paths = {"write", "append", "patch", "map", "truncate", "mkdir", "rmdir", "unlink"}
    of_paths |= {"rename", "exchange", "link", "symlink", "chmod", "utime", "attribute"}
    of_paths |= {"fsync", "list", "read", "hold"}
    assert of_paths <= refused
    assert of_paths | {"put", "cut", "look", "sync", "drop"} <= done
    assert checked["kept"] > 200
    assert checked["reads"] > 50
    assert checked["synced"] > 10


# What it must reject


FILE = {"token": "x.", "size": 10}


def after(*moves: Move, contested: str = "") -> Expected:
    expected = Expected()
    for move in moves:
        if contested and move["do"] == "write":
            expected.contest(split(contested))
        assert not expected.by_guest("g0", move, 0)
    return expected


WRITTEN = {"do": "write", "path": "a", **FILE}
CONTENT = b"x." * 5


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({}, "is not on the host"),
        ({("a",): Seen("directory", mode=0o755)}, "is a directory on the host, not a file"),
        ({("a",): Seen("file", CONTENT[:-1], 0o644)}, "holds"),
        ({("a",): Seen("file", CONTENT, 0o600)}, "has the mode 600, not 644"),
        ({("a",): Seen("file", CONTENT, 0o644, 5)}, "is of 5, not 7"),
        ({("a",): Seen("file", CONTENT, 0o644, 7, attribute=b"y")}, "has the attribute"),
        (
            {("a",): Seen("file", CONTENT, 0o644, 7), ("b",): Seen("file")},
            "is on the host, and the guest took it away",
        ),
    ],
)
def test_what_the_host_lacks_is_said(host: dict[tuple[str, ...], Seen], why: str) -> None:
    expected = after(WRITTEN, {"do": "utime", "path": "a", "at_s": 7})
    assert any(why in each for _, each in expected.missing(host))
    assert not expected.missing({("a",): Seen("file", CONTENT, 0o644, 7)})


def test_what_is_contested_is_excused_and_nothing_else() -> None:
    expected = after(WRITTEN, {"do": "mkdir", "path": "d", "mode": 0o755})
    expected.by_host("h0", {"do": "unlink", "path": "d/x"})
    assert [path for path, _ in expected.missing({})] == [("a",), ("d",)]
    expected.by_host("h0", {"do": "turn", "path": "a", "into": "file"})
    assert [path for path, _ in expected.missing({})] == [("d",)]


def test_what_the_guest_has_moved_the_host_knows_by_its_earlier_name() -> None:
    made = {"do": "mkdir", "path": "d", "mode": 0o755}, {"do": "write", "path": "d/f", **FILE}
    expected = after(*made, {"do": "rename", "path": "d", "to": "e"})
    expected.by_host("h0", {"do": "truncate", "path": "d/f", "size": 0})
    assert expected.is_contested(("e", "f"))
    assert not expected.is_contested(("e",))
    expected.by_host("h0", {"do": "mkdir", "path": "d/new", "mode": 0o755})
    assert expected.is_contested(("e", "new"))
    expected.by_host("h0", {"do": "rename", "path": "d", "to": "b"})
    assert expected.is_contested(("e",))


def test_a_conflict_about_what_the_guest_removed_may_count_where_it_was_last() -> None:
    renamed = {"do": "rename", "path": "a", "to": "b"}, {"do": "unlink", "path": "b"}
    expected = after(WRITTEN, *renamed, WRITTEN)
    assert ("b",) not in expected.touched
    expected.by_host("h0", {"do": "append", "path": "a", **FILE})
    assert ("b",) in expected.touched
    assert not expected.is_contested(("b",))


def test_what_the_host_holds_open_it_touches_under_any_name() -> None:
    expected = after(WRITTEN)
    expected.by_host("h0", {"do": "hold", "path": "a", "number": "h0-1"})
    expected.by_guest("g0", {"do": "rename", "path": "a", "to": "b"}, 0)
    assert not expected.is_contested(("b",))
    expected.by_host("h0", {"do": "put", "number": "h0-1", "offset": 0, **FILE})
    assert expected.is_contested(("b",))


def test_what_is_synced_is_so_until_it_is_touched() -> None:
    synced = {"do": "fsync", "path": "a"}
    expected = after(WRITTEN, synced)
    assert expected.unsynced({})
    assert expected.unsynced({("a",): Seen("file", b"other")})
    assert not expected.unsynced({("a",): Seen("file", CONTENT)})
    for touched in (
        {"do": "append", "path": "a", **FILE},
        {"do": "rename", "path": "a", "to": "b"},
        {"do": "unlink", "path": "a"},
    ):
        expected = after(WRITTEN, synced, touched)
        assert not expected.unsynced({("a",): Seen("file", CONTENT)})
    assert after(WRITTEN, {"do": "fsync", "path": "a"}).synced_names
    directory = {"do": "mkdir", "path": "d", "mode": 0o755}
    inside = {"do": "mkdir", "path": "d/e", "mode": 0o755}
    expected = after(directory, inside, {"do": "fsync", "path": "d"})
    assert expected.unsynced({("d",): Seen("directory")})


@pytest.mark.parametrize(
    ("move", "code", "value", "why"),
    [
        ({"do": "unlink", "path": "a"}, 2, None, "refused with ENOENT, and should be done"),
        ({"do": "unlink", "path": "b"}, 0, None, "done, and should be refused with ENOENT"),
        ({"do": "rmdir", "path": "a"}, 2, None, "with ENOENT, and should be with ENOTDIR"),
        ({"do": "read", "path": "a"}, 5, None, "refused with EIO, and should be done"),
        ({"do": "read", "path": "a"}, 116, None, "refused with ESTALE, and should be done"),
        ({"do": "read", "path": "a"}, 0, [9, "", "", 0], "it was told"),
        ({"do": "list", "path": ""}, 0, [], "it was told"),
    ],
)
def test_a_wrong_answer_is_said(move: Move, code: int, value: object, why: str) -> None:
    assert why in after(WRITTEN).by_guest("g0", move, code, value)


# Where names fold


def folding(*moves: Move) -> Expected:
    expected = Expected(fold=without_case)
    for move in moves:
        assert not expected.by_guest("g0", move, 0)
    return expected


MADE = {"do": "write", "path": "D/\u00e9", **FILE}
FOLDED = {"do": "mkdir", "path": "D", "mode": 0o755}, MADE


def test_names_that_fold_are_one() -> None:
    expected = folding(*FOLDED, {"do": "chmod", "path": "d/\u00c9", "mode": 0o644})
    assert "ENOENT" not in expected.by_guest("g0", {"do": "unlink", "path": "d/e\u0301"}, 0)
    assert expected.at(("d",)) is not None
    assert "EEXIST" in expected.by_guest("g0", {"do": "mkdir", "path": "d", "mode": 0o755}, 0)


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (["\u00e9"], ""),
        (["e\u0301"], ""),
        (["\u00c9"], "spells"),
        (["\u00e9", "\u00c9"], "are one name"),
        ([], "it was told"),
    ],
)
def test_a_listing_tells_each_name_once_as_it_was_spelled(listed: list[str], why: str) -> None:
    told = folding(*FOLDED).by_guest("g0", {"do": "list", "path": "d"}, 0, listed)
    assert (why in told) if why else not told


def test_the_host_has_it_as_it_was_spelled_last() -> None:
    expected = folding(*FOLDED, {"do": "rename", "path": "d/\u00e9", "to": "D/\u00c9"})
    host = {("D",): Seen("directory", mode=0o755), ("D", "\u00e9"): Seen("file", CONTENT, 0o644)}
    assert any("spells" in why for _, why in expected.missing(host))
    host["D", "\u00c9"] = host.pop(("D", "\u00e9"))
    assert not expected.missing(host)
    host["d",] = host["D",]
    assert any("are one name" in why for _, why in expected.missing(host))
    expected.adopt(host, {("D",): 1, ("d",): 2, ("D", "\u00c9"): 3})
    assert expected.is_contested(("d", "x"))

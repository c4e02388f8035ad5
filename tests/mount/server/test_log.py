"""A log that others can write into: escaped, cut, and never longer than it may be."""

import logging
import os
from pathlib import Path

import pytest

from osxfs_sim.mount.server import log as log_module
from osxfs_sim.mount.server.log import BoundedHandler


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def written(tmp_path: Path):
    """A logger, the clock of its handler, and the file that it writes."""
    path = tmp_path / "server.log"
    clock = Clock()
    with open(path, "w", errors="backslashreplace") as stream:
        logger = logging.Logger("a server's", logging.INFO)
        logger.addHandler(BoundedHandler(stream, clock))
        yield logger, clock, path


def test_a_name_is_escaped_and_stays_on_its_line(written):
    logger, _, path = written
    logger.warning("cannot look at %s", "\x1b]0;PWNED\x07\n2026-01-01 ERROR all is lost\udcff")
    (line,) = path.read_text().splitlines()
    assert line.endswith("at \\x1b]0;PWNED\\x07\\n2026-01-01 ERROR all is lost\\xff")


def test_a_long_line_is_cut_and_a_traceback_too(written):
    logger, _, path = written

    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise ValueError("\x1b[2J" + 100_000 * "x")

    try:
        fail(200)
    except ValueError:
        logger.exception("n" * 100_000)
    lines = path.read_text().splitlines()
    assert max(map(len, lines)) < 1_100
    assert 10 < len(lines) < 70
    assert lines[-1].startswith("ValueError: \\x1b[2Jxxx")


@pytest.mark.takes_seconds
def test_one_place_has_so_many_lines_and_later_some_more_and_others_have_theirs(written):
    logger, clock, path = written

    def spam() -> None:
        logger.warning("a bad owner")

    for _ in range(100_000):
        spam()
    assert len(path.read_text().splitlines()) == log_module.LINES_AT_ONCE
    logger.error("what matters")
    assert "what matters" in path.read_text()
    clock.now_s += log_module.REST_S
    spam()
    assert "(99,900 more from the same place were left out before)" in path.read_text()
    before = len(path.read_text().splitlines())
    spam()
    assert len(path.read_text().splitlines()) == before


def test_whatever_comes_the_file_stays_small_and_keeps_its_beginning_and_its_end(
    written, monkeypatch
):
    monkeypatch.setattr(log_module, "KEPT_BYTES", 10_000)
    logger, clock, path = written
    logger.error("the first")
    for number in range(2_000):
        clock.now_s += log_module.REST_S
        logger.error("%d %s", number, "x" * 500)
        assert path.stat().st_size < 22_000
    text = path.read_text()
    assert "the first" in text
    assert "1999 xxx" in text
    assert "left out, for the log to stay small" in text


def test_a_full_disk_under_the_log_is_nobodys_trouble():
    with open("/dev/full", "w") as stream:
        handler = BoundedHandler(stream)
        logger = logging.Logger("a server's", logging.INFO)
        logger.addHandler(handler)
        raising, logging.raiseExceptions = logging.raiseExceptions, False
        try:
            for _ in range(3):
                logger.error("x" * 10_000)
        finally:
            logging.raiseExceptions = raising
            stream_fd = os.open(os.devnull, os.O_WRONLY)
            os.dup2(stream_fd, stream.fileno())
            os.close(stream_fd)

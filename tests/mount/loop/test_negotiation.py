"""What the kernel is asked for beyond pyfuse3's own wishes; and listings by names only."""

import os
import socket
import struct
import threading
from pathlib import Path

import pyfuse3
import pytest
from support.live import LiveShare

from osxfs_sim.model.protocol import READDIRPLUS, ProtocolSpec
from osxfs_sim.mount.loop import negotiation
from osxfs_sim.mount.loop.negotiation import slot_offset, wanted_capabilities

PLUS, AUTO, PARALLEL = 1 << 13, 1 << 14, 1 << 18
ALL = PLUS | AUTO | PARALLEL
MANY = 1_200


@pytest.mark.parametrize(
    ("spec", "capable", "expected"),
    [
        (ProtocolSpec(), ALL, PLUS),
        (ProtocolSpec("never"), ALL, 0),
        (ProtocolSpec("adaptive"), ALL, PLUS | AUTO),
        (ProtocolSpec("adaptive"), PLUS, PLUS),
        (ProtocolSpec("never", parallel_directories=True), ALL, PARALLEL),
        (ProtocolSpec("adaptive", parallel_directories=True), PLUS | AUTO, PLUS | AUTO),
    ],
)
def test_nothing_is_asked_for_that_the_kernel_cannot(
    spec: ProtocolSpec, capable: int, expected: int
) -> None:
    others = 1 | 1 << 3
    assert wanted_capabilities(spec, PLUS | others, capable | others) == expected | others


def test_the_place_of_a_foreign_function_is_found_in_the_real_library() -> None:
    library = Path(pyfuse3.__file__).read_bytes()
    offset = slot_offset(library, "fuse_session_new")
    assert offset % 8 == 0
    assert offset != slot_offset(library, "fuse_session_mount")


def test_a_function_that_is_not_looked_up_has_no_place() -> None:
    with pytest.raises(LookupError, match="does not look no_such_function up"):
        slot_offset(Path(pyfuse3.__file__).read_bytes(), "no_such_function")


@pytest.mark.parametrize("library", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(100)])
def test_what_is_no_library_of_this_kind_is_refused(library: bytes) -> None:
    with pytest.raises(LookupError, match="not a 64-bit"):
        slot_offset(library, "fuse_session_new")


def test_a_library_without_tables_has_no_place_either() -> None:
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<HH", header, 54, 56, 0)
    with pytest.raises(LookupError, match="does not look"):
        slot_offset(bytes(header), "fuse_session_new")


# Listings, under each way of asking


@pytest.fixture(params=READDIRPLUS)
def listing(request, share, field: Path) -> LiveShare:
    file = field / "trial.toml"
    file.write_text(
        'name = "trial"\nextends = "none"\n[protocol]\n'
        f'readdirplus = "{request.param}"\nparallel_directories = true\n'
    )
    return share(profile=str(file))


def test_every_name_is_listed_once_with_its_kind_and_number(listing: LiveShare) -> None:
    names = [f"{number:04d}".ljust(4 + number % 200, "x") for number in range(MANY)]
    directory = listing.source / "many"
    directory.mkdir()
    for number, name in enumerate(names):
        if number % 3:
            (directory / name).touch()
        elif number % 2:
            (directory / name).mkdir()
        else:
            (directory / name).symlink_to("nowhere")
    with os.scandir(listing.guest / "many") as entries:
        found = {
            entry.name: (entry.is_dir(follow_symlinks=False), entry.is_symlink(), entry.inode())
            for entry in entries
        }
    assert sorted(found) == sorted(names)
    for number, name in enumerate(names):
        is_directory, is_link, inode = found[name]
        assert (is_directory, is_link) == (number % 6 == 3, number % 6 == 0)
        assert inode == os.lstat(listing.guest / "many" / name).st_ino


def test_a_listing_survives_what_it_lists_being_removed(listing: LiveShare) -> None:
    directory = listing.source / "going"
    directory.mkdir()
    for number in range(MANY):
        (directory / f"file-{number}").touch()
    with os.scandir(listing.guest / "going") as entries:
        seen = [next(entries).name]
        for number in range(0, MANY, 2):
            (directory / f"file-{number}").unlink()
        seen += [entry.name for entry in entries]
    kept = {f"file-{number}" for number in range(1, MANY, 2)}
    assert kept <= set(seen)
    assert len(seen) == len(set(seen))
    assert set(os.listdir(listing.guest / "going")) == kept


def test_a_directory_that_may_not_be_listed_says_so(listing: LiveShare) -> None:
    (listing.source / "gone").mkdir()
    fd = os.open(listing.guest / "gone", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rmdir(listing.guest / "gone")
        assert os.listdir(fd) == []
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        os.listdir(listing.guest / "gone")


def test_many_may_work_in_one_directory_at_once(listing: LiveShare) -> None:
    (listing.source / "busy").mkdir()
    directory = listing.guest / "busy"
    wrong: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(30):
                path = directory / f"{worker}-{number}"
                path.write_text(str(number))
                assert path.name in os.listdir(directory)
                assert path.read_text() == str(number)
                assert not os.path.lexists(directory / f"{worker}-none")
                if number % 2:
                    path.unlink()
        except BaseException as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
    kept = {f"{worker}-{number}" for worker in range(6) for number in range(0, 30, 2)}
    assert set(os.listdir(directory)) == set(os.listdir(listing.source / "busy")) == kept


def test_a_listing_by_names_is_traced_and_priced_as_a_listing(share, field: Path) -> None:
    live = share(profile="virtiofsd-none", latency_ns=1_000)
    (live.source / "file").touch()
    live.share.start_trace(str(field / "trace.parquet"))
    os.listdir(live.guest)
    assert live.share.stop_trace()["rows"] >= 4
    status = live.status()
    assert status.requests["READDIR"] == 2
    assert "READDIRPLUS" not in status.requests


def test_the_directory_for_host_services_is_in_a_listing_by_names(share, field: Path) -> None:
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(field / "host"))
        service.listen()
        live = share(profile="virtiofsd-none", host_services=(("echo", str(field / "host")),))
    (live.source / "file").touch()
    with os.scandir(live.guest) as entries:
        kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    assert kinds == {"file": False, "host-services": True}
    assert os.listdir(live.guest / "host-services") == ["echo.sock"]


def test_pyfuse3_finds_libfuse_itself_again_afterwards() -> None:
    slot = negotiation._slot("fuse_session_new")
    before = slot.value

    def unused(*_: object) -> None:
        raise AssertionError("no session is made here")

    with negotiation.negotiating(ProtocolSpec("never"), unused, unused):
        assert slot.value != before
    assert slot.value == before

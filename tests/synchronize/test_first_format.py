"""A state that was written before it was known which objects were agreed upon: taken over."""

import base64

import msgpack
import pytest
from support.pairs import Pair
from support.sync_trees import read_tree, write_tree

from osxfs_sim.synchronize import archive

# As the last version that wrote it has left them, but for the directories' paths: f, l,
# deleted, d/x and the executable d/run with the content "1" agreed upon and saved, and
# then "later", which only the journal has.
AGREED = base64.b64decode(
    "b3N4ZnMtc2ltIGFncmVlZCAxCmoTEyJOK4uKrYv2NVhYUFuTApLEEC9kZXYvc2htL2YxL2hvc3TEEC9kZXYvc2htL2Yx"
    "L2NvcHmSoWSUksQBZJKhZJKSxANydW6UoWbEFDl0/Ka0wQv1w8O+ajX54p/jrybVwwGSxAF4lKFmxBQ5dPymtMEL9cPD"
    "vmo1+eKf468m1cIBksQHZGVsZXRlZJShZsQUOXT8prTBC/XDw75qNfnin+OvJtXCAZLEAWaUoWbEFDl0/Ka0wQv1w8O+"
    "ajX54p/jrybVwgGSxAFskqFsxAFm"
)
JOURNAL = base64.b64decode(
    "MAAAAAhZWSeTp2pvdXJuYWwC2SQzMDEwMjQzMC03MjljLTRkN2MtOTkzYy00MjBlMDVmNWQ0M2MzAAAAGSIKM5amaW50"
    "ZW50ozItN6VndWVzdJHEBWxhdGVyxADEFUY5dPymtMEL9cPDvmo1+eKf468m1SgAAACZE+qTk6NwdXSRxAVsYXRlcpSh"
    "ZsQUOXT8prTBC/XDw75qNfnin+OvJtXCAQ=="
)
BOOT = "30102430-729c-4d7c-993c-420e05f5d43c"
TREE = {"f": "1", "d/x": "1", "d/run": "1", "deleted": "1", "later": "1"}


@pytest.fixture
def take_over(tmp_path, monkeypatch):
    """Both sides have what was agreed upon; *edit* them, and start."""
    made = []

    def take_over(edit, boot=BOOT):
        monkeypatch.setattr(archive, "boot_id", lambda: boot)
        host, guest, state = (tmp_path / name for name in ("host", "guest", "state"))
        state.mkdir()
        for root in (host, guest):
            write_tree(root, TREE)
            (root / "d/run").chmod(0o755)
            (root / "l").symlink_to("f")
        head, check = AGREED[:19], 16
        generation, _, tree = msgpack.unpackb(AGREED[len(head) + check :], strict_map_key=False)
        payload = msgpack.packb([generation, [bytes(host), bytes(guest)], tree])
        (state / "agreed").write_bytes(head + archive._check(payload) + payload)
        (state / "journal").write_bytes(JOURNAL)
        edit(host, guest)
        made.append(Pair(tmp_path))
        return made[-1]

    yield take_over
    for pair in made:
        pair.engine.close()


def edit_and_delete(host, guest):
    (host / "f").write_text("2")
    (guest / "d/x").write_text("2")
    (host / "deleted").unlink()
    (guest / "later").unlink()
    (guest / "l").unlink()


def test_edits_travel_by_it_and_nothing_is_deleted(take_over):
    pair = take_over(edit_and_delete)
    result = pair.engine.cycle()
    assert not result.conflicts
    assert read_tree(pair.host) == read_tree(pair.guest)
    assert read_tree(pair.host) == {
        "d": None,
        **dict.fromkeys(("f", "d/x"), (b"2", False)),
        **dict.fromkeys(("deleted", "later"), (b"1", False)),
        "d/run": (b"1", True),
        "l": "f",
    }
    # From now on it is known which they are.
    (pair.host / "deleted").unlink()
    pair.engine.cycle()
    pair.start_anew()
    assert (pair.state / "agreed").read_bytes().startswith(b"osxfs-sim agreed 2\n")
    (pair.host / "f").unlink()
    pair.engine.cycle()
    assert not {"deleted", "f"} & set(read_tree(pair.guest))


def test_after_another_boot_whoever_may_have_gone_back_is_asked(take_over):
    """What its journal had to say is not sure to be true of the disks."""
    pair = take_over(edit_and_delete, boot="another")
    result = pair.engine.cycle()
    assert [found.path for found in result.conflicts] == [(b"d", b"x"), (b"f",)]
    assert (pair.host / "f").read_text() == (pair.guest / "d/x").read_text() == "2"
    for root in (pair.host, pair.guest):
        assert {"deleted", "later", "l"} <= set(read_tree(root))


def test_a_deletion_that_was_under_way_is_taken_back(take_over):
    """Nothing tells that it is the object that was to go."""

    def stop_within(host, guest):
        (host / "f").unlink()
        (guest.parent / "state/staging-guest/old").mkdir(parents=True, mode=0o700)
        (guest / "f").rename(guest.parent / "state/staging-guest/old/2-8")
        payload = msgpack.packb(
            ["intent", "2-8", "guest", [b"f"], b"F" + bytes.fromhex(DIGEST), b""]
        )
        framed = archive._FRAME.pack(len(payload), archive.zlib.crc32(payload)) + payload
        (guest.parent / "state/journal").write_bytes(JOURNAL + framed)

    pair = take_over(stop_within)
    pair.engine.cycle()
    for root in (pair.host, pair.guest):
        assert (root / "f").read_text() == "1"


DIGEST = "3974fca6b4c10bf5c3c3be6a35f9e29fe3af26d5"

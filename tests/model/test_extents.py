"""A file held in part: what was written, what was cut, and what is still the host's."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.model.extents import ON_HOST, ZEROS, Extents, Piece


def shown(extents: Extents, size: int, host: bytes, store: bytes) -> bytes:
    """The file as a reader sees it."""
    content = bytearray()
    for piece in extents.read(0, size):
        assert piece.offset == len(content), "pieces follow each other without a gap"
        if piece.position == ZEROS:
            content += bytes(piece.length)
        elif piece.position == ON_HOST:
            content += host[piece.offset : piece.offset + piece.length].ljust(piece.length, b"\0")
        else:
            content += store[piece.position : piece.position + piece.length]
    return bytes(content)


def test_what_was_not_written_is_the_hosts():
    assert list(Extents().read(3, 4)) == [Piece(3, 4, ON_HOST)]


def test_a_write_shows_and_its_surroundings_are_the_hosts():
    extents = Extents()
    extents.write(2, 3, 100)
    assert list(extents.read(0, 7)) == [
        Piece(0, 2, ON_HOST),
        Piece(2, 3, 100),
        Piece(5, 2, ON_HOST),
    ]


def test_writes_that_continue_each_other_in_file_and_store_are_one_piece():
    extents = Extents()
    for block in range(100):
        extents.write(block * 10, 10, 500 + block * 10)
    assert extents.pieces() == [Piece(0, 1000, 500)]


def test_a_file_that_was_cut_and_grew_again_has_zeros_and_not_the_hosts_old_bytes():
    extents = Extents()
    extents.truncate(2)
    assert list(extents.read(0, 6)) == [Piece(0, 2, ON_HOST), Piece(2, 4, ZEROS)]


def test_an_overwrite_returns_what_it_replaced():
    extents = Extents()
    extents.write(0, 10, 100)
    assert extents.write(4, 2, 300) == [Piece(4, 2, 104)]
    assert extents.pieces() == [Piece(0, 4, 100), Piece(4, 2, 300), Piece(6, 4, 106)]


def test_what_the_host_has_got_leaves_but_not_what_was_written_over_it_since():
    extents = Extents()
    extents.write(0, 10, 100)
    extents.write(4, 2, 300)
    extents.mark_clean(0, 10, 100)
    assert extents.pieces() == [Piece(4, 2, 300)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40), st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("truncate"), st.integers(0, 50), st.just(b"")),
        st.tuples(st.just("write back"), st.just(0), st.just(b"")),
    ),
    max_size=30,
)


@given(host=st.binary(max_size=30), steps=STEPS)
def test_a_reader_always_sees_the_guests_file_whatever_has_been_written_back(host, steps):
    """Against a plain file; the changes are carried out on the host in their order."""
    extents, store, file, on_host = Extents(), bytearray(), bytearray(host), bytearray(host)
    waiting = []
    for kind, where, data in steps:
        if kind == "write":
            position = len(store)
            store += data
            extents.write(where, len(data), position)
            file.extend(bytes(max(0, where - len(file))))
            file[where : where + len(data)] = data
            waiting.append((where, data, position))
        elif kind == "truncate":
            extents.truncate(where)
            del file[where:]
            file.extend(bytes(where - len(file)))
            waiting.append((where, None, 0))
        elif waiting:
            where, data, position = waiting.pop(0)
            if data is None:
                del on_host[where:]
                on_host.extend(bytes(where - len(on_host)))
                extents.mark_cut_clean()
            else:
                on_host.extend(bytes(max(0, where - len(on_host))))
                on_host[where : where + len(data)] = data
                extents.mark_clean(where, len(data), position)
        assert shown(extents, len(file), bytes(on_host), bytes(store)) == file
        pieces = extents.pieces()
        assert extents.bytes == sum(piece.length for piece in pieces)
        assert all(a.offset + a.length <= b.offset for a, b in pairwise(pieces))
    while waiting:
        where, data, position = waiting.pop(0)
        if data is None:
            extents.mark_cut_clean()
        else:
            extents.mark_clean(where, len(data), position)
    assert not extents, "nothing is held once the host has everything"


def test_the_property_rejects_extents_that_forget_a_truncation():
    """The seeded bug: host bytes show again beyond a cut."""
    extents = Extents()
    extents.truncate(1)
    extents.mark_cut_clean()
    assert shown(extents, 3, b"abc", b"") != b"a\0\0"

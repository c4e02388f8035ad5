"""Asks the kernel for what pyfuse3 does not ask for, when a session begins.

pyfuse3 knows READDIRPLUS only, has every listing use it, and lets the kernel do one thing
at a time in a directory. A virtiofs server does otherwise, and the requests that a guest
sends depend on it (model/protocol.py). libfuse could do all of it: it takes a table of
functions, one per request, and calls the first of them with what can be agreed on. So the
table is completed on its way from pyfuse3 to libfuse: for as long as pyfuse3.init runs,
its entry for fuse_session_new leads here.

Tried and rejected: to change the table where pyfuse3 keeps it (it has no name that can be
found, and is filled anew by each init); libfuse's options (those for readdirplus are read by
its other interface only); to let a file descriptor of our own stand between the two, which
each request would pay for.

Only what is public of libfuse is relied on: the order of struct fuse_lowlevel_ops and of
struct fuse_conn_info (fuse_lowlevel.h, fuse_common.h), which never changes within libfuse 3.
Where pyfuse3 was not built to find fuse_session_new at run time, LookupError says so.
"""

import contextlib
import ctypes
import errno
import logging
import mmap
import os
import struct
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pyfuse3
from pyfuse3 import FUSEError

from osxfs_sim.model.protocol import ProtocolSpec

log = logging.getLogger(__name__)

# Indices into struct fuse_lowlevel_ops, all of whose members are pointers.
_INIT, _READDIR, _READDIRPLUS = 0, 21, 41
# Index of `want` in struct fuse_conn_info, whose members are 32 bits each; the one
# before it is `capable`.
_CAPABLE, _WANT = 5, 6
_CAP_READDIRPLUS = 1 << 13
_CAP_READDIRPLUS_AUTO = 1 << 14
_CAP_PARALLEL_DIROPS = 1 << 18
# Offset of `fh` in struct fuse_file_info: after the flags of open(2), 32 bits of flags,
# and as many of padding, on a boundary of 8.
_HANDLE_OFFSET = 16

ReadNames = Callable[[int, int, int], Coroutine[Any, Any, bytes]]
"""Answers READDIR: of a handle, from a position on, in so many bytes."""
Start = Callable[[Coroutine[Any, Any, None]], None]
"""Begins to drive a coroutine, at once."""

_NewSession = ctypes.CFUNCTYPE(
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)
_Init = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
# pyfuse3's own is called with the interpreter's lock held, as libfuse calls it.
_OwnInit = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_ReadDirectory = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
)
# The session calls them for as long as it lives, which is as long as the process.
_kept: list[object] = []


@contextlib.contextmanager
def negotiating(spec: ProtocolSpec, read_names: ReadNames, start: Start) -> Iterator[None]:
    """Within the block, pyfuse3.init asks the kernel for protocol *spec*. Raises LookupError.

    *read_names* answers READDIR, and *start* drives it. LookupError where pyfuse3 leaves no way to.
    """
    try:
        libfuse = ctypes.CDLL("libfuse3.so.3")
    except OSError as error:
        raise LookupError("pyfuse3 uses another libfuse than libfuse3.so.3") from error
    slot = _slot("fuse_session_new")
    make = libfuse.fuse_session_new
    make.restype = ctypes.c_void_p
    make.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]

    def new_session(arguments: int, table: int, size: int, data: int) -> int | None:
        _complete(table, spec, libfuse, read_names, start)
        made: int | None = make(arguments, table, size, data)
        return made

    ours = _NewSession(new_session)
    before = slot.value
    slot.value = ctypes.cast(ours, ctypes.c_void_p).value
    try:
        yield
    finally:
        slot.value = before


def _complete(
    table: int, spec: ProtocolSpec, libfuse: ctypes.CDLL, read_names: ReadNames, start: Start
) -> None:
    """Put our functions into the *table* that pyfuse3 has filled."""
    functions = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))
    own_init = _OwnInit(functions[_INIT] or 0)
    # A table of another shape than we think would crash the server one day.
    assert functions[_READDIRPLUS], "not libfuse 3's table"
    assert not functions[_READDIR], "not pyfuse3's table"

    def init(data: int, connection: int) -> None:
        own_init(data, connection)
        members = ctypes.cast(connection, ctypes.POINTER(ctypes.c_uint32))
        members[_WANT] = wanted_capabilities(spec, members[_WANT], members[_CAPABLE])

    def read_directory(request: int, _number: int, size: int, offset: int, info: int) -> None:
        handle = ctypes.c_uint64.from_address(info + _HANDLE_OFFSET).value
        start(_answer(libfuse, request, read_names(handle, offset, size)))

    callbacks = _Init(init), _ReadDirectory(read_directory)
    _kept.extend(callbacks)
    functions[_INIT] = ctypes.cast(callbacks[0], ctypes.c_void_p)
    if spec.lists_names:
        functions[_READDIR] = ctypes.cast(callbacks[1], ctypes.c_void_p)


def wanted_capabilities(spec: ProtocolSpec, want: int, capable: int) -> int:
    """The FUSE_CAP_* bits to agree on: *want*, changed by *spec* within what is *capable*."""
    match spec.readdirplus:
        case "adaptive":
            want |= capable & (_CAP_READDIRPLUS | _CAP_READDIRPLUS_AUTO)
        case "never":
            want &= ~(_CAP_READDIRPLUS | _CAP_READDIRPLUS_AUTO)
    if spec.parallel_directories:
        want |= capable & _CAP_PARALLEL_DIROPS
    return want


async def _answer(libfuse: ctypes.CDLL, request: int, names: Coroutine[Any, Any, bytes]) -> None:
    """Reply to a READDIR. Never fails: nobody would hear of it, and its caller would wait."""
    reply, failure = b"", 0
    try:
        reply = await names
    except FUSEError as error:
        failure = error.errno
    except Exception:
        log.exception("bug: READDIR failed")
        failure = errno.EIO
    pointer = ctypes.c_void_p(request)
    if failure:
        libfuse.fuse_reply_err(pointer, failure)
    else:
        libfuse.fuse_reply_buf(pointer, reply, ctypes.c_size_t(len(reply)))


# Finding the slot: ELF's table of functions that a library has from others (elf(5)).

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_SYMBOL_BYTES, _RELOCATION_BYTES = 24, 24


def _slot(function: str) -> ctypes.c_void_p:
    """Where pyfuse3 keeps the address of *function*, to be read and written."""
    path = os.path.realpath(pyfuse3.__file__)
    address = _loaded_at(path) + slot_offset(Path(path).read_bytes(), function)
    page = address & -mmap.PAGESIZE
    # It may have been made read-only once it was filled.
    if ctypes.CDLL(None).mprotect(
        ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE
    ):
        raise LookupError("the table of pyfuse3's functions cannot be written")
    return ctypes.c_void_p.from_address(address)


def _loaded_at(path: str) -> int:
    """Where the library of that *path* begins in memory."""
    for line in Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == path and int(fields[2], 16) == 0:
            return int(fields[0].split("-")[0], 16)
    raise LookupError(f"{path} is not in memory")


def slot_offset(library: bytes, function: str) -> int:
    """Offset in bytes where an ELF *library* keeps *function*'s address. Raises LookupError.

    The function is another library's. LookupError where it is no 64-bit ELF library, or does not
    import that function.
    """
    if library[:6] != b"\x7fELF\x02\x01":
        raise LookupError("not a 64-bit little-endian ELF library")
    headers_at, entry_bytes, count = (
        struct.unpack_from("<Q", library, 32)[0],
        *struct.unpack_from("<HH", library, 54),
    )
    headers = [
        struct.unpack_from("<IIQQQQQQ", library, headers_at + number * entry_bytes)
        for number in range(count)
    ]

    def in_file(address: int) -> int:
        for kind, _, offset, start, _, size, _, _ in headers:
            if kind == _PT_LOAD and start <= address < start + size:
                return int(offset + address - start)
        raise LookupError(f"address {address:#x} is not in the library")

    dynamic: dict[int, int] = {}
    for kind, _, offset, _, _, size, _, _ in headers:
        if kind == _PT_DYNAMIC:
            dynamic = dict(struct.iter_unpack("<QQ", library[offset : offset + size]))
    for table, bytes_ in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
        if table not in dynamic:
            continue
        begin = in_file(dynamic[table])
        for offset in range(begin, begin + dynamic[bytes_], _RELOCATION_BYTES):
            address, info, _ = struct.unpack_from("<QQq", library, offset)
            symbol = info >> 32
            if not symbol:
                continue
            at = in_file(dynamic[_DT_SYMTAB]) + symbol * _SYMBOL_BYTES
            name_at = in_file(dynamic[_DT_STRTAB]) + struct.unpack_from("<I", library, at)[0]
            if library[name_at : library.index(0, name_at)] == function.encode():
                return int(address)
    raise LookupError(f"pyfuse3 does not look {function} up when it is loaded")

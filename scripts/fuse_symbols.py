"""Lists the names that the headers of FUSE define, for the test of docs/glossary.md.

A machine may have older headers than the kernel that it runs, or none at all. So the names, and
nothing else of the headers, are kept in tests/docs/fuse_symbols.txt, with the version that they
are of: ``python scripts/fuse_symbols.py linux/fuse.h fuse3/`` writes them anew. Constants and
functions stand there by their names, structures also by their fields (``fuse_entry_out.nodeid``).
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "tests" / "docs" / "fuse_symbols.txt"

KERNEL_HEADER = Path("/usr/include/linux/fuse.h")
LIBRARY_HEADERS = Path("/usr/include/fuse3")
KERNEL, LIBRARY = "linux/fuse.h", "libfuse"

# What stands in the place of nothing: it is renamed as soon as it means something.
_FILLERS = re.compile(r"\.(padding|unused|dummy|spare|reserved)\d*$", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_CONSTANT = re.compile(r"^[ \t]*#[ \t]*define[ \t]+((?:FUSE|FOPEN|FATTR|CUSE)_\w+)", re.MULTILINE)
_ENUM = re.compile(r"\benum\s*(?:\w+\s*)?\{([^}]*)\}")
_FUNCTION = re.compile(r"\b(fuse_\w+)\s*\(")
_STRUCT = re.compile(r"\bstruct\s+(\w+)\s*\{")
_FUNCTION_FIELD = re.compile(r"\(\s*\*\s*(\w+)\s*\)\s*\(")
_FIELD = re.compile(r"(\w+)\s*(?:\[[^\]]*\])?\s*(?::\s*\d+)?\s*$")


@dataclass(frozen=True)
class Header:
    """What one kind of header defines, and of which version it is."""

    version: tuple[int, int]
    """Of the protocol (7, minor), or of libfuse."""
    names: frozenset[str]
    """Constants, functions, structures, and fields of these as ``structure.field``."""


def names_in(source: str) -> Iterator[str]:
    """All that *source*, the text of a header, defines. Fields that only fill space are none."""
    yield from _CONSTANT.findall(source)
    # The directives are lines of their own and would be taken for parts of what is around them.
    source = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", "", _COMMENT.sub(" ", source), flags=re.M)
    for body in _ENUM.findall(source):
        yield from (each.split("=")[0].strip() for each in body.split(",") if each.strip())
    for struct in _STRUCT.finditer(source):
        yield struct[1]
        for field in _fields(_braced(source, struct.end())):
            if not _FILLERS.search(name := f"{struct[1]}.{field}"):
                yield name
    yield from _FUNCTION.findall(source)


def _braced(source: str, start: int) -> str:
    """What follows the brace before *start*, up to the one that closes it."""
    depth = 1
    for position in range(start, len(source)):
        depth += {"{": 1, "}": -1}.get(source[position], 0)
        if not depth:
            return source[start:position]
    return source[start:]


def _fields(body: str) -> Iterator[str]:
    """Names in the body of a structure; those of a union in it are its own."""
    for declaration in re.split(r"[;{}]", body):
        words = " ".join(declaration.split())
        found = _FUNCTION_FIELD.search(words) or _FIELD.search(words)
        if found and len(words.split()) > 1 and words not in ("struct", "union"):
            yield found[1]


def kernel_header(path: Path = KERNEL_HEADER) -> Header | None:
    """That of the kernel; None where there is none."""
    if not path.exists():
        return None
    text = path.read_text()
    return Header(
        (_number(text, "FUSE_KERNEL_VERSION"), _number(text, "FUSE_KERNEL_MINOR_VERSION")),
        frozenset(names_in(text)),
    )


def library_headers(directory: Path = LIBRARY_HEADERS) -> Header | None:
    """Those of libfuse, as one; None where there are none."""
    paths = [directory / name for name in ("fuse.h", "fuse_common.h", "fuse_lowlevel.h")]
    if not all(path.exists() for path in paths):
        return None
    text = "\n".join(path.read_text() for path in paths)
    version = directory / "libfuse_config.h"
    stated = f"{text}\n{version.read_text() if version.exists() else ''}"
    return Header(
        (_number(stated, "FUSE_MAJOR_VERSION"), _number(stated, "FUSE_MINOR_VERSION")),
        frozenset(names_in(text)),
    )


def _number(text: str, name: str) -> int:
    found = re.search(rf"#define\s+{name}\s+(\d+)", text)
    if found is None:
        raise SystemExit(f"the header does not say its {name}")
    return int(found[1])


def written(headers: Mapping[str, Header]) -> str:
    """The text of the list."""
    lines = ["# Made by scripts/fuse_symbols.py of the headers: names, and nothing else of them."]
    for kind, header in headers.items():
        lines += ["", f"[{kind} {header.version[0]}.{header.version[1]}]", *sorted(header.names)]
    return "\n".join(lines) + "\n"


def kept(path: Path = KEPT) -> dict[str, Header]:
    """What the list says, by the kind of header."""
    found = {}
    for section in path.read_text().split("\n[")[1:]:
        title, *names = section.split()[:1] + section.split("]", 1)[1].split()
        version = section.split("]", 1)[0].split()[1]
        major, minor = version.split(".")
        found[title] = Header((int(major), int(minor)), frozenset(names))
    return found


def main(kernel: str, library: str) -> None:
    """Write the list of these headers anew. Raises SystemExit where one is missing."""
    headers = {KERNEL: kernel_header(Path(kernel)), LIBRARY: library_headers(Path(library))}
    missing = [kind for kind, header in headers.items() if header is None]
    if missing:
        raise SystemExit(f"no headers of {' and '.join(missing)} there")
    KEPT.write_text(written({kind: header for kind, header in headers.items() if header}))


if __name__ == "__main__":
    main(*(sys.argv[1:] or [str(KERNEL_HEADER), str(LIBRARY_HEADERS)]))

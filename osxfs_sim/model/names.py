"""Decides which names are the same entry of a directory, and how a name is stored.

To Linux a name is bytes. To the file systems of a Mac it is text: ``README`` and
``readme`` are one file, "é" is the same whether written as one character or as
two, and what is no text is no name. Software written on one side meets the rules
of the other in a shared directory: two files of a repository that become one, a
file listed under another name than it was created by.

The rules are pure: they compare and convert, and know no directory. Which entry
a name reaches is for the caller to decide, by looking for equal keys. Keys are for
comparing only: they say nothing of order, and are never shown.

Sources:

- D145: the Unicode Standard, chapter 3, section "Default Caseless Matching".
- xnu: ``bsd/sys/unicode.h`` and ``bsd/vfs/vfs_unicode.c`` of Apple's kernel.
- TN1150: Apple's Technical Note 1150, "HFS Plus Volume Format", sections "Unicode
  Subtleties" and "Case-Insensitive String Comparison Algorithm".
- QA1173: Apple's Technical Q&A 1173, "Text Encodings in VFS".
"""

import errno
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar


class NameRules:
    """Compares bytes and stores them as they are. The base of all rules, without state.

    Use the instances in :data:`RULES`.
    """

    __slots__ = ()

    label: ClassVar[str]
    folds: ClassVar[bool]
    """Whether different names can be the same entry. If not, names are bytes, and
    all methods are the identity."""

    def stored(self, name: bytes) -> bytes:
        """The bytes that a new *name* is stored as on the host. Raises OSError (EILSEQ) if refused.

        Raises :class:`OSError` with ``EILSEQ`` for a name that cannot be stored.
        """
        return name

    def key(self, name: bytes) -> bytes:
        """What names are compared by: equal for names that are the same entry. Never raises.

        Never raises. A name that is not valid UTF-8 is its own key, whatever the
        rules: the keys of other names are valid UTF-8, so it equals none of them.
        """
        return name

    def shown(self, name: bytes) -> bytes:
        """How a directory listing shows *name*, as the host's directory holds it. Never raises."""
        return name

    def collisions(self, names: Iterable[bytes]) -> list[list[bytes]]:
        """Groups of two or more of *names* that would be the same entry, sorted; [] for none.

        Each group is sorted, by bytes: its first name is the one that any further
        spelling reaches, the others are reached by none but their own. The groups
        are sorted too.
        """
        if not self.folds:
            return []
        groups = defaultdict(list)
        for name in sorted(set(names)):
            groups[self.key(name)].append(name)
        # Names came sorted, so groups did too: a dictionary keeps the order of first names.
        return [group for group in groups.values() if len(group) > 1]


class CaseSensitive(NameRules):
    """As on Linux: names are bytes, nothing is folded and nothing refused."""

    __slots__ = ()

    label = "case-sensitive"
    folds = False


class Apfs(NameRules):
    """APFS as macOS formats it: keeps the spelling, compares without case and normalization.

    Two names are the same if they are a canonical caseless match, D145: equal
    after decomposing, full case folding, and decomposing again. That APFS folds so
    is what xnu says of ``utf8_normalizeOptCaseFoldAndHash``. That it stores the
    spelling it was given and refuses what is not UTF-8 is in Apple's "Apple File
    System Guide", frequently asked questions.

    Known differences: xnu also refuses (``EILSEQ``) characters that its version of
    Unicode does not assign, noncharacters, and more than thirty combining marks in
    a row. Versions differ in any case: ours is Python's, Apple's follows macOS (9.0
    with the first APFS says the guide, 14.0 in a later ``vfs_unicode.c``).
    """

    __slots__ = ()

    label = "apfs"
    folds = True

    def stored(self, name: bytes) -> bytes:
        """The new *name*, stored as it is. Raises OSError with EILSEQ if it is not UTF-8."""
        if not name.isascii():
            _text_or_refuse(name)
        return name

    def key(self, name: bytes) -> bytes:
        """*name* without case, normalization, to compare by; itself if not UTF-8. Never raises."""
        # Not memoized: measured, the slow path takes a microsecond or two under any
        # rules, and the request that asks takes a hundred.
        if name.isascii():
            return name.lower()
        text = _text(name)
        if text is None:
            return name
        # The first decomposition matters where folding turns a mark into a letter:
        # U+0345, a mark that sorts after accents, becomes a full iota.
        folded = unicodedata.normalize("NFD", text).casefold()
        return unicodedata.normalize("NFD", folded).encode()


class ApfsCaseSensitive(Apfs):
    """APFS formatted case-sensitive: keeps the spelling, compares without normalization.

    Two names are the same if their canonical decompositions (NFD) are; xnu as for
    :class:`Apfs`, with its ``case_sens``.
    """

    __slots__ = ()

    label = "apfs-case-sensitive"

    def key(self, name: bytes) -> bytes:
        """*name* in NFD, to compare names by; *name* itself if it is not UTF-8. Never raises."""
        if name.isascii():
            return name
        text = _text(name)
        return name if text is None else unicodedata.normalize("NFD", text).encode()


class HfsPlus(NameRules):
    """HFS+ of the usual kind: stores names decomposed, compares without case.

    The decomposition is that of Unicode 3.2, for all but some ranges of characters
    (QA1173; :func:`_hfs_decomposed`). The comparison is TN1150's: of the decomposed
    names, character by character, by a table that turns a capital into one small
    letter and skips sixteen invisible characters. The table is as old as the format:
    "ß" is not "ss", final sigma is not sigma, and pairs that Unicode gained later,
    or that the table never had ("Ә" and "ә"), differ. A stored name can be longer
    than the one it was created by.

    Known differences: the kernel's converter leaves characters beyond U+FFFF alone,
    where we also decompose the few musical symbols that Unicode 3.2 decomposes; and
    marks that Unicode gained after 3.2 are put in order here, where they would be
    left in place. Names that are not UTF-8 are refused, as on APFS: HFS+ itself may
    store their bytes escaped (``UTF_ESCAPE_ILLEGAL`` in Apple's ``hfs_catalog.c``).
    """

    __slots__ = ()

    label = "hfs+"
    folds = True

    def stored(self, name: bytes) -> bytes:
        """*name* as HFS+ stores it, decomposed. Raises OSError with EILSEQ if not UTF-8."""
        return name if name.isascii() else _hfs_decomposed(_text_or_refuse(name)).encode()

    def key(self, name: bytes) -> bytes:
        """*name* decomposed, without case, to compare by; itself if not UTF-8. Never raises."""
        if name.isascii():
            return name.lower()
        text = _text(name)
        # What is left when characters are skipped is not put in order again: the
        # comparison goes through stored names as they are. A name of nothing else
        # has an empty key.
        return name if text is None else _hfs_decomposed(text).translate(_HFS_COMPARED).encode()

    def shown(self, name: bytes) -> bytes:
        """*name* decomposed, as HFS+ lists it; *name* itself if it is not UTF-8. Never raises."""
        if name.isascii():
            return name
        text = _text(name)
        return name if text is None else _hfs_decomposed(text).encode()


RULES: Mapping[str, NameRules] = MappingProxyType(
    {rules.label: rules for rules in (CaseSensitive(), Apfs(), ApfsCaseSensitive(), HfsPlus())}
)
"""The rules there are, by label."""


def _text(name: bytes) -> str | None:
    """*name* as text, or None if it is not valid UTF-8. Encoded surrogates are not."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _text_or_refuse(name: bytes) -> str:
    """*name* as text. Raises :class:`OSError` with ``EILSEQ`` if it is not valid UTF-8."""
    text = _text(name)
    if text is None:
        raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), name)
    return text


# The combining marks for symbols, U+20D0 to U+20FF, are among the characters that
# are not decomposed. They have no decomposition, and like any mark they are put in
# order with their neighbours: a run may not end at them. At all others it may,
# because in Unicode 3.2 none of those combines.
_HFS_RUN = re.compile("[^\u2000-\u20cf\u2100-\u2fff\uf900-\ufaff\U0002f800-\U0002faff]+")


def _hfs_decomposed(text: str) -> str:
    """*text* as HFS+ stores it: NFD of Unicode 3.2, except for three ranges.

    These are U+2000 to U+2FFF, U+F900 to U+FAFF and U+2F800 to U+2FAFF, left as
    they are so that names survive a conversion to the old encodings of the Mac and
    back (QA1173; TN1150 names the first two).
    """
    return _HFS_RUN.sub(lambda run: unicodedata.ucd_3_2_0.normalize("NFD", run[0]), text)


# TN1150 prints the table in full; here are the capitals it lowers, without the
# letters it leaves alone. It has none with a decomposition: those are never compared.
_HFS_CAPITALS = (
    *range(ord("A"), ord("Z") + 1),
    *map(ord, "ÆÐØÞĐĦĲĿŁŊŒŦƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƜƝƟƢƤƧƩƬƮƱƲƳƵƷƸƼǄǅǇǈǊǋǤǱǲ"),
    # Greek; U+03A2 is unassigned. Then Coptic, where capitals and small letters alternate.
    *range(0x0391, 0x03A2),
    *range(0x03A3, 0x03AA),
    *range(0x03E2, 0x03F0, 2),
    # Cyrillic; U+0419 and U+0476 decompose.
    *map(ord, "ЂЄЅІЈЉЊЋЏ"),
    *range(0x0410, 0x0419),
    *range(0x041A, 0x0430),
    *range(0x0460, 0x0476, 2),
    *range(0x0478, 0x0482, 2),
    *range(0x0490, 0x04C0, 2),
    *map(ord, "ӃӇӋ"),
    # Armenian, Roman numerals, full-width Latin.
    *range(0x0531, 0x0557),
    *range(0x2160, 0x2170),
    *range(0xFF21, 0xFF3B),
)

_HFS_COMPARED: dict[int, int | None] = {
    **{capital: ord(chr(capital).lower()) for capital in _HFS_CAPITALS},
    # Georgian: later versions of Unicode have other small letters for these capitals.
    **{capital: capital + 0x30 for capital in range(0x10A0, 0x10C6)},
    # Skipped: zero-width joiners and marks of direction, their older kin, and the
    # byte order mark.
    **dict.fromkeys((*range(0x200C, 0x2010), *range(0x202A, 0x202F)), None),
    **dict.fromkeys((*range(0x206A, 0x2070), 0xFEFF), None),
}
"""What HFS+ compares instead of a character, as :meth:`str.translate` takes it."""

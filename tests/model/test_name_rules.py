"""How names compare and are stored: what happens to a shared directory, and the rules behind it."""

import errno
import unicodedata
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.complaints import noticed

from osxfs_sim.model import names
from osxfs_sim.model.names import RULES, Apfs, ApfsCaseSensitive, CaseSensitive, HfsPlus, NameRules

APFS = RULES["apfs"]
APFS_CASE_SENSITIVE = RULES["apfs-case-sensitive"]
CASE_SENSITIVE = RULES["case-sensitive"]
HFS_PLUS = RULES["hfs+"]

MAC = [APFS, APFS_CASE_SENSITIVE, HFS_PLUS]
CASELESS = [APFS, HFS_PLUS]

UNICODE_3_2 = unicodedata.ucd_3_2_0

COMPOSED = "é"
DECOMPOSED = "e\u0301"
ACUTE, GRAVE_BELOW, IOTA_BELOW = "\u0301", "\u0316", "\u0345"
ARROW_ABOVE = "\u20d7"  # a mark among the characters that HFS+ does not decompose
JOINER, BYTE_ORDER_MARK = "\u200d", "\ufeff"
NOT_UTF8 = [b"\xff", b"caf\xe9", b"a\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]


def labels(rules):
    return rules.label if isinstance(rules, NameRules) else None


def each(rules):
    return pytest.mark.parametrize("rules", rules, ids=labels)


def same(rules, one, other):
    return rules.key(one.encode()) == rules.key(other.encode())


def kept_whole(character):
    """Whether HFS+ does not decompose it (QA1173)."""
    return (
        0x2000 <= ord(character) <= 0x2FFF
        or 0xF900 <= ord(character) <= 0xFAFF
        or 0x2F800 <= ord(character) <= 0x2FAFF
    )


# Where rules go wrong: letters with and without case, marks that change places,
# characters that fold to several, that are kept whole, skipped, or of a later Unicode.
TRICKY = (
    "aAzZ.éÉǖßẞſıİKÅΩσςΣᾳŉﬁ가ⅧǅႠәӘ≠豈"
    "\u0301\u0308\u0316\u0338\u0344\u0345\u0f73\u20d7\u200d\ufeff\u2000\u2adc\u212a\u212b"
    "\u1b06\u1dfa\u2de0\uf900\U0002f800\U0001d15e\U00010400"
)
characters = st.sampled_from(TRICKY) | st.characters(codec="utf-8")
texts = st.text(characters, max_size=8)
ascii_texts = st.text(st.characters(codec="ascii"))
any_names = texts.map(str.encode) | st.binary(max_size=8) | st.sampled_from(NOT_UTF8)
texts_of_3_2 = st.text(
    characters.filter(lambda character: UNICODE_3_2.category(character) != "Cn"), max_size=8
)


# What there is


def test_the_rules_are_found_by_their_labels():
    assert list(RULES) == ["case-sensitive", "apfs", "apfs-case-sensitive", "hfs+"]
    assert [rules.label for rules in RULES.values()] == list(RULES)
    assert [label for label, rules in RULES.items() if not rules.folds] == ["case-sensitive"]


@each(RULES.values())
def test_rules_have_no_state(rules):
    with pytest.raises(AttributeError):
        rules.label = "another"
    with pytest.raises(AttributeError):
        rules.seen = set()
    assert isinstance(RULES, MappingProxyType)


# Comparing


@each(CASELESS)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("README", "readme"),
        ("Makefile", "makefile"),
        (COMPOSED, DECOMPOSED),
        ("É", DECOMPOSED),
        ("ΑΘΉΝΑ", "αθήνα"),
        ("ЖУРНАЛ.ТХТ", "журнал.тхт"),
        ("Ⅷ", "ⅷ"),
        ("ＦＵＬＬ", "ｆｕｌｌ"),
        ("가", "\u1100\u1161"),
        (f"a{ACUTE}{GRAVE_BELOW}", f"A{GRAVE_BELOW}{ACUTE}"),
    ],
)
def test_a_mac_takes_them_for_one_name(rules, one, other):
    assert same(rules, one, other)
    assert not same(CASE_SENSITIVE, one, other)


@each(MAC)
@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "b"), ("a", ""), ("e", COMPOSED), ("ı", "i"), ("0", "０"), ("い", "ぃ")],
)
def test_no_rules_take_them_for_one_name(rules, one, other):
    assert not same(rules, one, other)


@pytest.mark.parametrize(
    ("one", "other", "apfs", "apfs_case_sensitive", "hfs_plus"),
    [
        pytest.param("A", "a", True, False, True, id="case"),
        pytest.param("É", f"E{ACUTE}", True, True, True, id="normalization"),
        pytest.param("ß", "ss", True, False, False, id="full folding"),
        pytest.param("ﬁ", "FI", True, False, False, id="ligature"),
        pytest.param("ς", "σ", True, False, False, id="final sigma"),
        pytest.param("ſ", "s", True, False, False, id="long s"),
        # Kelvin and Ångström are K and Å to Unicode. HFS+ does not decompose them,
        # and its table has no small letters for them.
        pytest.param("\u212a", "K", True, True, False, id="kelvin"),
        pytest.param("\u212b", "Å", True, True, False, id="angstrom"),
        pytest.param("\u212b", "å", True, False, False, id="angstrom, small"),
        pytest.param("Ⓐ", "ⓐ", True, False, False, id="circled"),
        pytest.param("\u2260", "=\u0338", True, True, False, id="not equal"),
        pytest.param("豈", "\uf900", True, True, False, id="compatibility ideograph"),
        # Old enough for Unicode 3.2, and yet not in the table.
        pytest.param("Ә", "ә", True, False, False, id="schwa"),
        pytest.param("𐐀", "𐐨", True, False, False, id="deseret"),
        # Georgian capitals had other small letters when the table was made.
        pytest.param("Ⴀ", "ⴀ", True, False, False, id="georgian"),
        pytest.param("Ⴀ", "ა", False, False, True, id="georgian of old"),
        pytest.param("Ɐ", "ɐ", True, False, False, id="younger than 3.2"),
        pytest.param(f"a{JOINER}b", "ab", False, False, True, id="joiner"),
        pytest.param(BYTE_ORDER_MARK, "", False, False, True, id="byte order mark"),
        pytest.param("a\u200bb", "ab", False, False, False, id="zero-width space"),
        pytest.param("a\u00adb", "ab", False, False, False, id="soft hyphen"),
    ],
)
def test_where_the_rules_of_a_mac_differ(one, other, apfs, apfs_case_sensitive, hfs_plus):
    assert same(APFS, one, other) == apfs
    assert same(APFS_CASE_SENSITIVE, one, other) == apfs_case_sensitive
    assert same(HFS_PLUS, one, other) == hfs_plus


def test_a_name_of_characters_that_are_skipped_is_compared_too():
    skipped = [0x200C, 0x200D, 0x200E, 0x200F, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E]
    skipped += [0x206A, 0x206B, 0x206C, 0x206D, 0x206E, 0x206F, 0xFEFF]
    name = "".join(map(chr, skipped)).encode()
    assert HFS_PLUS.key(name) == HFS_PLUS.key(JOINER.encode())
    assert HFS_PLUS.stored(name) == HFS_PLUS.shown(name) == name
    both = sorted([name, JOINER.encode()])
    assert HFS_PLUS.collisions([*both, b"a"]) == [both]


@pytest.mark.parametrize(
    ("capital", "small"),
    [
        *[(0x00C6, 0x00E6), (0x0181, 0x0253), (0x018E, 0x01DD), (0x01C5, 0x01C6), (0x01F2, 0x01F3)],
        *[(0x03E2, 0x03E3), (0x040F, 0x045F), (0x0480, 0x0481), (0x04CB, 0x04CC), (0x0531, 0x0561)],
        *[(0x10C5, 0x10F5), (0x216F, 0x217F), (0xFF3A, 0xFF5A)],
    ],
)
def test_hfs_plus_lowers_what_the_technical_note_lists(capital, small):
    assert same(HFS_PLUS, chr(capital), chr(small))


def test_the_table_of_hfs_plus_has_nothing_that_would_never_be_compared():
    table = names._HFS_COMPARED
    for character, compared in table.items():
        assert UNICODE_3_2.normalize("NFD", chr(character)) == chr(character)
        assert UNICODE_3_2.category(chr(character)) != "Cn"
        assert compared not in table, "a small letter is not lowered again"
    assert sum(compared is None for compared in table.values()) == 16


# What must hold of all rules, whatever the name


def keys_hold_what_they_promise(rules):
    @given(name=any_names)
    @example(b"\xff")
    @example(b"A\xff")
    @example(DECOMPOSED.encode())
    @example("\u2260".encode())
    def check(name):
        key = rules.key(name)
        try:
            name.decode()
        except UnicodeDecodeError:
            assert key == name, "what is no text is its own key"
            assert rules.shown(name) == name
        else:
            key.decode()  # and so it equals no key of what is no text
            assert rules.key(rules.stored(name)) == key, "a name is stored as the same entry"
            assert rules.key(rules.shown(name)) == key, "a name is shown as the same entry"

    check()


@each(RULES.values())
def test_keys_are_those_of_what_is_stored_and_shown(rules):
    keys_hold_what_they_promise(rules)


class ReplacesWhatIsNoText(Apfs):
    def key(self, name):
        return super().key(name.decode(errors="replace").encode())


class LowersWhatIsNoText(Apfs):
    def key(self, name):
        return super().key(name).lower()


class RefusesToCompare(Apfs):
    def key(self, name):
        return super().key(self.stored(name))


class StoresDecomposedButComparesBytes(CaseSensitive):
    def stored(self, name):
        return HFS_PLUS.stored(name) if names._text(name) is not None else name


class ShowsAllDecomposed(HfsPlus):
    def shown(self, name):
        text = names._text(name)
        return name if text is None else UNICODE_3_2.normalize("NFD", text).encode()


@pytest.mark.parametrize(
    ("bug", "error"),
    [
        (ReplacesWhatIsNoText, AssertionError),
        (LowersWhatIsNoText, AssertionError),
        (RefusesToCompare, OSError),
        (StoresDecomposedButComparesBytes, AssertionError),
        (ShowsAllDecomposed, AssertionError),
    ],
)
def test_the_check_of_keys_notices(bug, error):
    with noticed(error):
        keys_hold_what_they_promise(bug())


def ascii_keys_agree_with_all_others(rules, expected):
    @given(name=ascii_texts.map(str.encode))
    @example(b"README.txt")
    def check(name):
        assert rules.key(name) == expected(name)
        # One letter that neither folds nor combines, and the name takes the slow path.
        other = "い".encode()
        assert rules.key(name + other) == rules.key(name) + other
        assert rules.stored(name) == rules.shown(name) == name

    check()


def itself(name):
    return name


ASCII_KEYS = {
    "case-sensitive": itself,
    "apfs": bytes.lower,
    "apfs-case-sensitive": itself,
    "hfs+": bytes.lower,
}


@pytest.mark.parametrize("label", RULES)
def test_plain_names_are_compared_as_bytes_or_in_lower_case(label):
    ascii_keys_agree_with_all_others(RULES[label], ASCII_KEYS[label])


class FoldsPlainNamesOnly(ApfsCaseSensitive):
    def key(self, name):
        return name.lower() if name.isascii() else super().key(name)


class FoldsOtherNamesOnly(Apfs):
    def key(self, name):
        return name if name.isascii() else super().key(name)


class ComparesInUpperCase(Apfs):
    def key(self, name):
        return super().key(name).upper()


@pytest.mark.parametrize(
    ("bug", "expected"),
    [
        (FoldsPlainNamesOnly, bytes.lower),
        (FoldsOtherNamesOnly, itself),
        (ComparesInUpperCase, bytes.lower),
    ],
)
def test_the_check_of_plain_names_notices(bug, expected):
    with noticed():
        ascii_keys_agree_with_all_others(bug(), expected)


def canonical_equivalents_are_one_name(rules):
    @given(text=texts)
    @example("α" + IOTA_BELOW + ACUTE)
    def check(text):
        decomposed = unicodedata.normalize("NFD", text)
        assert same(rules, text, decomposed)
        assert same(rules, text, unicodedata.normalize("NFC", text))
        assert same(rules, text, "".join(unicodedata.normalize("NFD", one) for one in text))
        if rules.label == "apfs":
            assert same(rules, text, decomposed.casefold())
            assert same(rules, text, decomposed.lower().casefold())

    check()


@each([APFS, APFS_CASE_SENSITIVE])
def test_apfs_does_not_tell_canonical_equivalents_apart(rules):
    canonical_equivalents_are_one_name(rules)


class FoldsWithoutDecomposing(Apfs):
    def key(self, name):
        return unicodedata.normalize("NFD", name.decode().casefold()).encode()


class FoldsBytes(Apfs):
    def key(self, name):
        return name.lower()


class LowersOnly(Apfs):
    def key(self, name):
        return unicodedata.normalize(
            "NFD", unicodedata.normalize("NFD", name.decode()).lower()
        ).encode()


@pytest.mark.parametrize("bug", [FoldsWithoutDecomposing, FoldsBytes, LowersOnly])
def test_the_check_of_canonical_equivalents_notices(bug):
    with noticed():
        canonical_equivalents_are_one_name(bug())


# Storing


@each([CASE_SENSITIVE, APFS, APFS_CASE_SENSITIVE])
@given(name=any_names)
def test_all_but_hfs_plus_keep_and_show_the_spelling(rules, name):
    assert rules.shown(name) == name
    if rules is CASE_SENSITIVE or names._text(name) is not None:
        assert rules.stored(name) == name


@given(name=any_names)
def test_case_sensitive_rules_are_the_identity(name):
    assert CASE_SENSITIVE.stored(name) == CASE_SENSITIVE.key(name) == name


@each(MAC)
@pytest.mark.parametrize("name", NOT_UTF8)
def test_a_mac_refuses_a_name_that_is_no_text(rules, name):
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        rules.stored(name)
    assert refused.value.errno == errno.EILSEQ
    assert refused.value.filename == name
    # One that is there already, because Linux put it there, is listed and found.
    assert rules.shown(name) == rules.key(name) == name


@pytest.mark.parametrize(
    ("created", "listed"),
    [
        ("readme", "readme"),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, DECOMPOSED),
        ("ǖ", "u\u0308\u0304"),
        ("가.txt", "\u1100\u1161.txt"),
        ("\u0f73", "\u0f71\u0f72"),
        (f"a{ACUTE}{GRAVE_BELOW}", f"a{GRAVE_BELOW}{ACUTE}"),
        ("a≠b", "a≠b"),
        ("\u212b", "\u212b"),
        ("豈", "豈"),
        ("\U0002f800", "\U0002f800"),
        # The marks around a character that is kept whole are put in order.
        (f"é{GRAVE_BELOW}≠{ACUTE}{GRAVE_BELOW}", f"e{GRAVE_BELOW}{ACUTE}≠{GRAVE_BELOW}{ACUTE}"),
        # And so is a mark that is kept whole itself.
        (f"é{ARROW_ABOVE}{GRAVE_BELOW}", f"e{GRAVE_BELOW}{ACUTE}{ARROW_ABOVE}"),
        # Unicode 3.2 did not know that these decompose.
        ("\U0001109a", "\U0001109a"),
        ("\u1b06", "\u1b06"),
    ],
)
def test_hfs_plus_lists_a_file_decomposed(created, listed):
    assert HFS_PLUS.stored(created.encode()).decode() == listed
    assert HFS_PLUS.shown(created.encode()).decode() == listed


def decomposed_by_the_book(text):
    """Each character decomposed or kept whole, and then the canonical ordering (D109)."""
    parts = [one if kept_whole(one) else UNICODE_3_2.normalize("NFD", one) for one in text]
    ordered = list("".join(parts))
    for end in range(len(ordered), 0, -1):
        for place in range(1, end):
            before, here = map(UNICODE_3_2.combining, ordered[place - 1 : place + 1])
            if before > here > 0:
                ordered[place - 1 : place + 1] = ordered[place], ordered[place - 1]
    return "".join(ordered)


def names_are_stored_decomposed(rules):
    @given(text=texts, old_text=texts_of_3_2)
    @example("a≠" + ACUTE, "a≠" + ACUTE)
    @example("\u212b", "\u212b")
    @example("\u1b06", "")
    @example(f"é{ARROW_ABOVE}{GRAVE_BELOW}", f"é{ARROW_ABOVE}{GRAVE_BELOW}")
    @example("é" + GRAVE_BELOW, "é" + GRAVE_BELOW)
    def check(text, old_text):
        def stored(text):
            return rules.stored(text.encode()).decode()

        assert stored(stored(text)) == stored(text)
        if not any(map(kept_whole, text)):
            assert stored(text) == UNICODE_3_2.normalize("NFD", text)
        assert stored(old_text) == decomposed_by_the_book(old_text)

    check()


@pytest.mark.takes_seconds
def test_hfs_plus_stores_what_unicode_3_2_decomposes_but_for_some_ranges():
    names_are_stored_decomposed(HFS_PLUS)


class DecomposesEverything(HfsPlus):
    def stored(self, name):
        return UNICODE_3_2.normalize("NFD", name.decode()).encode()


class DecomposesNothing(HfsPlus):
    def stored(self, name):
        return name


class ForgetsTheOrder(HfsPlus):
    def stored(self, name):
        return "".join(map(names._hfs_decomposed, name.decode())).encode()


class EndsRunsAtMarks(HfsPlus):
    def stored(self, name):
        parts = [""]
        for character in name.decode():
            parts += [character, ""] if kept_whole(character) else []
            parts[-1] += "" if kept_whole(character) else character
        return "".join(
            part if kept_whole(part[:1] or "a") else UNICODE_3_2.normalize("NFD", part)
            for part in parts
        ).encode()


class DecomposesAsOfToday(HfsPlus):
    def stored(self, name):
        text = name.decode()
        kept = any(map(kept_whole, text))
        return super().stored(name) if kept else unicodedata.normalize("NFD", text).encode()


@pytest.mark.parametrize(
    "bug",
    [
        DecomposesEverything,
        DecomposesNothing,
        DecomposesAsOfToday,
        ForgetsTheOrder,
        EndsRunsAtMarks,
    ],
)
def test_the_check_of_stored_names_notices(bug):
    with noticed():
        names_are_stored_decomposed(bug())


# Collisions


def test_a_checkout_with_two_spellings_collides():
    checkout = [b"README", b"Makefile", b"readme", b"makefile", b"Readme", b"src"]
    expected = [[b"Makefile", b"makefile"], [b"README", b"Readme", b"readme"]]
    assert APFS.collisions(checkout) == HFS_PLUS.collisions(checkout) == expected
    assert APFS_CASE_SENSITIVE.collisions(checkout) == []
    assert CASE_SENSITIVE.collisions(checkout) == []


@each(MAC)
def test_two_normalizations_collide(rules):
    found = rules.collisions(iter([COMPOSED.encode(), DECOMPOSED.encode(), b"e"]))
    assert found == [[DECOMPOSED.encode(), COMPOSED.encode()]]


@each(RULES.values())
def test_one_name_told_twice_does_not_collide_with_itself(rules):
    assert rules.collisions([b"a", b"a", b"\xff", b"\xff"]) == []


def collisions_are_all_and_only_those(rules):
    few = st.text(st.sampled_from("aAéÉe" + ACUTE), max_size=3).map(str.encode)

    @given(listing=st.lists(few | st.sampled_from(NOT_UTF8) | any_names))
    @example([b"readme", b"README", b"Readme", b"a", b"src", b"A"])
    def check(listing):
        found = rules.collisions(listing)
        collided = [name for group in found for name in group]
        assert len(set(collided)) == len(collided)
        assert set(collided) <= set(listing)
        assert found == sorted(found)
        for group in found:
            assert len(group) > 1
            assert group == sorted(group)
            assert len({rules.key(name) for name in group}) == 1
        # Of each group one name, and all the others: no two of them are the same entry.
        left = set(listing) - {name for group in found for name in group[1:]}
        assert len({rules.key(name) for name in left}) == len(left)

    check()


@each(RULES.values())
def test_collisions_are_the_names_with_equal_keys(rules):
    collisions_are_all_and_only_those(rules)


class ReportsAll(Apfs):
    def collisions(self, listing):
        return super().collisions(listing) + [[name] for name in listing]


class ReportsPairs(Apfs):
    def collisions(self, listing):
        return [group[:2] for group in super().collisions(listing)]


class ReportsNone(Apfs):
    folds = False


class ReportsInAnyOrder(Apfs):
    def collisions(self, listing):
        return [group[::-1] for group in super().collisions(listing)]


class ReportsBySpelling(Apfs):
    def collisions(self, listing):
        return sorted(super().collisions(listing), reverse=True)


@pytest.mark.parametrize(
    "bug", [ReportsAll, ReportsPairs, ReportsNone, ReportsInAnyOrder, ReportsBySpelling]
)
def test_the_check_of_collisions_notices(bug):
    with noticed():
        collisions_are_all_and_only_those(bug())

"""The inode table against a simple model of what the kernel was told."""

import os
import stat as modes

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.complaints import noticed

from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode, InodeTable
from osxfs_sim.mount.tree.pending import drop_overlay, overlay_of

FILE, DIRECTORY, SYMLINK = modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK
HERE, BELOW = 5, 6  # the export's own device, and one mounted below it
INVENTED = 1 << 62
ROOT_ON_HOST = 256


def status_of(number: int, kind: int = FILE, device: int = HERE, links: int = 1):
    return os.stat_result((kind | 0o644, number, device, links, 0, 0, 0, 0, 0, 0))


def new_table() -> InodeTable:
    return InodeTable(status_of(ROOT_ON_HOST, DIRECTORY))


def told(table: InodeTable, status, parent: Inode | None = None, name: bytes = b"name") -> Inode:
    """As the handlers answer a lookup: found, and a lookup counted."""
    inode = table.find_or_add(parent or table.root, name, status)
    inode.nlookup += 1
    return inode


# Numbers


def test_the_root_is_always_number_one():
    table = new_table()
    assert table.root.number == ROOT_NUMBER == 1
    assert table[1] is table.root
    assert table.find(status_of(ROOT_ON_HOST, DIRECTORY)) is table.root


def test_an_object_keeps_its_number_of_the_host():
    assert told(new_table(), status_of(42)).number == 42


def test_an_object_is_the_same_inode_each_time():
    table = new_table()
    assert told(table, status_of(42)) is told(table, status_of(42), name=b"link")
    assert len(table) == 2


def test_numbers_survive_a_remount():
    statuses = [status_of(number) for number in (42, 77, 9)]
    first, second = new_table(), new_table()
    numbers = [told(first, status).number for status in statuses]
    assert numbers == [told(second, status).number for status in reversed(statuses)][::-1]


@pytest.mark.parametrize("host_number", [0, 1, INVENTED, INVENTED + 1, 2**64 - 1])
def test_a_host_number_that_means_something_else_here_is_not_used(host_number):
    table = new_table()
    inode = told(table, status_of(host_number))
    assert inode.number > INVENTED
    assert table.find(status_of(host_number)) is inode


def test_an_object_of_a_file_system_below_gets_a_number_of_its_own():
    table = new_table()
    here, below = told(table, status_of(42)), told(table, status_of(42, device=BELOW))
    assert here.number == 42
    assert below.number > INVENTED
    assert table.find(status_of(42)) is here
    assert table.find(status_of(42, device=BELOW)) is below


def test_a_number_held_by_a_deleted_object_is_not_given_to_a_new_one():
    table = new_table()
    deleted = told(table, status_of(42))
    table.detach_host_number(deleted)
    assert table.find(status_of(42)) is None
    new = told(table, status_of(42))
    assert new is not deleted
    assert new.number > INVENTED
    assert table[42] is deleted
    assert table.find(status_of(42)) is new


def test_once_the_deleted_object_is_forgotten_its_number_is_free_and_the_new_one_keeps_its_own():
    table = new_table()
    deleted = told(table, status_of(42))
    table.detach_host_number(deleted)
    new = told(table, status_of(42))
    assert table.forget(42, 1) is deleted
    assert table.find(status_of(42)) is new
    table.forget(new.number, 1)
    assert told(table, status_of(42)).number == 42


def test_a_number_used_again_for_another_kind_is_another_object():
    table = new_table()
    file = told(table, status_of(42, FILE))
    directory = told(table, status_of(42, DIRECTORY))
    assert file is not directory
    assert directory.is_directory
    assert not file.is_directory
    assert table.find(status_of(42, DIRECTORY)) is directory


# Lookups and forgets


def test_finding_counts_no_lookup():
    table = new_table()
    assert table.find_or_add(table.root, b"name", status_of(42)).nlookup == 0


def test_the_last_forget_returns_the_inode_and_takes_it_out():
    table = new_table()
    inode = told(table, status_of(42))
    told(table, status_of(42))
    assert table.forget(42, 1) is None
    assert table.find(status_of(42)) is inode
    assert table.forget(42, 1) is inode
    assert table.find(status_of(42)) is None
    assert len(table) == 1


def test_many_lookups_are_forgotten_at_once():
    table = new_table()
    inode = told(table, status_of(42))
    inode.nlookup += 4
    assert table.forget(42, 5) is inode


def test_forgetting_more_than_was_looked_up_is_a_bug():
    table = new_table()
    told(table, status_of(42))
    with pytest.raises(AssertionError):
        table.forget(42, 2)


def test_forgetting_what_was_never_looked_up_is_a_bug():
    with pytest.raises(KeyError):
        new_table().forget(42, 1)


def test_the_root_is_never_taken_out():
    table = new_table()
    assert table.forget(ROOT_NUMBER, 1) is None
    assert table[ROOT_NUMBER] is table.root


def test_what_did_not_fit_into_a_listing_is_taken_out_again():
    table = new_table()
    table.remove(table.find_or_add(table.root, b"name", status_of(42, device=BELOW)))
    assert table.find(status_of(42, device=BELOW)) is None
    assert len(table) == 1


def test_compacting_changes_nothing():
    table = new_table()
    here, below = told(table, status_of(42)), told(table, status_of(42, device=BELOW))
    table.compact()
    assert table.find(status_of(42)) is here
    assert table.find(status_of(42, device=BELOW)) is below
    assert len(table) == 3


# Names


def names_of(inode: Inode) -> list[tuple[Inode | None, bytes]]:
    """Current first, then the others, latest first."""
    return [(inode.parent, inode.name), *reversed(inode.other_names or [])]


@pytest.fixture
def table():
    return new_table()


def test_a_file_is_reached_by_the_name_it_was_last_found_by(table):
    inode = told(table, status_of(42), name=b"old")
    told(table, status_of(42), name=b"new")
    assert names_of(inode) == [(table.root, b"new")]


def test_a_file_with_several_links_keeps_its_other_names(table):
    for name in (b"a", b"b", b"c", b"a"):
        inode = told(table, status_of(42, links=3), name=name)
    assert names_of(inode) == [(table.root, b"a"), (table.root, b"c"), (table.root, b"b")]


def test_a_directory_has_one_name_whatever_its_link_count_says(table):
    for name in (b"a", b"b"):
        inode = told(table, status_of(42, DIRECTORY, links=7), name=name)
    assert names_of(inode) == [(table.root, b"b")]


def test_of_very_many_names_the_latest_are_kept(table):
    for number in range(100):
        inode = told(table, status_of(42, links=100), name=b"%d" % number)
    assert names_of(inode)[:3] == [(table.root, name) for name in (b"99", b"98", b"97")]
    assert len(names_of(inode)) < 20


def test_the_root_keeps_being_the_root_when_it_is_found_by_a_name(table):
    assert table.find_or_add(table.root, b"..", status_of(ROOT_ON_HOST, DIRECTORY)) is table.root
    assert (table.root.parent, table.root.name) == (None, b"")


def test_a_file_whose_only_name_is_dropped_has_none_left(table):
    inode = told(table, status_of(42), name=b"only")
    assert inode.drop_name(table.root, b"only") is False


def test_a_dropped_name_gives_way_to_another(table):
    for name in (b"a", b"b"):
        inode = told(table, status_of(42, links=2), name=name)
    assert inode.drop_name(table.root, b"b") is True
    assert names_of(inode) == [(table.root, b"a")]
    assert inode.drop_name(table.root, b"a") is False


def test_dropping_another_name_leaves_the_current_one(table):
    for name in (b"a", b"b"):
        inode = told(table, status_of(42, links=2), name=name)
    assert inode.drop_name(table.root, b"a") is True
    assert names_of(inode) == [(table.root, b"b")]


def test_the_same_name_elsewhere_is_another_name(table):
    directory = told(table, status_of(77, DIRECTORY), name=b"directory")
    inode = told(table, status_of(42, links=2), name=b"a")
    told(table, status_of(42, links=2), directory, b"a")
    assert inode.drop_name(table.root, b"a") is True
    assert names_of(inode) == [(directory, b"a")]


def test_a_renamed_file_is_known_by_its_new_name_only(table):
    inode = told(table, status_of(42), name=b"old")
    inode.moved(table.root, b"new", table.root, b"old")
    assert names_of(inode) == [(table.root, b"new")]


def test_renaming_one_of_two_names_keeps_the_other(table):
    for name in (b"other", b"old"):
        inode = told(table, status_of(42, links=2), name=name)
    inode.moved(table.root, b"new", table.root, b"old")
    assert names_of(inode) == [(table.root, b"new"), (table.root, b"other")]


def test_renaming_the_name_it_was_not_last_found_by_keeps_that_one(table):
    # The guest need not look a name up before it renames it: its kernel may have it cached still.
    for name in (b"old", b"other"):
        inode = told(table, status_of(42, links=2), name=name)
    inode.moved(table.root, b"new", table.root, b"old")
    assert names_of(inode) == [(table.root, b"new"), (table.root, b"other")]
    assert inode.drop_name(table.root, b"new") is True


def test_a_file_is_told_from_others_by_number_device_and_kind(table):
    inode = told(table, status_of(42))
    assert inode.is_same(status_of(42, links=9))
    assert not inode.is_same(status_of(43))
    assert not inode.is_same(status_of(42, device=BELOW))
    assert not inode.is_same(status_of(42, SYMLINK))


# Any history, against a model that is too simple to be wrong


# Few, so that they meet often; the second is the root's own number.
KEYS = ((HERE, 2), (HERE, ROOT_NUMBER), (BELOW, 2))


class Host(RuleBasedStateMachine):
    """Objects come and go on the host; the kernel is told of some, and forgets them."""

    table_class = InodeTable

    @initialize()
    def mount(self):
        self.table = self.table_class(status_of(ROOT_ON_HOST, DIRECTORY))
        self.objects = {}  # what exists on the host, by (device, number): its kind
        self.kinds = {}  # every kind ever seen by (device, number)
        self.inodes = {}  # the inode that the kernel was told of it
        self.nlookup = {}  # by our number: how many times
        self.numbers_seen = {}  # by our number: the inode that has it

    def answer(self, key):
        status = status_of(key[1], self.objects[key], key[0])
        known_before = self.table.find(status)
        assert known_before is self.inodes.get(key)
        inode = self.table.find_or_add(self.table.root, b"name", status)
        assert known_before in (None, inode)
        return inode

    def not_yet_seen(self):
        """What the host may create so that the table can tell it from what was there before.

        No status tells an object from one of the same number, device and kind.
        """
        return [
            (key, kind)
            for key in KEYS
            if key not in self.objects
            for kind in (FILE, DIRECTORY)
            if kind not in self.kinds.get(key, ())
        ]

    @precondition(lambda self: self.not_yet_seen())
    @rule(data=st.data(), times=st.integers(0, 2))
    def create(self, data, times):
        key, kind = data.draw(st.sampled_from(self.not_yet_seen()))
        self.objects[key] = kind
        self.kinds.setdefault(key, set()).add(kind)
        for _ in range(times):
            self.tell_of(key)

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def look_up(self, data):
        self.tell_of(data.draw(st.sampled_from(sorted(self.objects))))

    def tell_of(self, key):
        inode = self.answer(key)
        inode.nlookup += 1
        if key not in self.inodes:
            assert inode.number not in self.nlookup, "a number that is in use"
            free = key[0] == HERE and 1 < key[1] < INVENTED and key[1] not in self.nlookup
            assert inode.number == key[1] if free else inode.number > INVENTED
        self.inodes[key] = inode
        self.nlookup[inode.number] = self.nlookup.get(inode.number, 0) + 1
        self.numbers_seen[inode.number] = inode

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def list_without_answering(self, data):
        key = data.draw(st.sampled_from(sorted(self.objects)))
        inode = self.answer(key)
        if not inode.nlookup:
            self.table.remove(inode)

    @precondition(lambda self: self.nlookup)
    @rule(data=st.data())
    def forget(self, data):
        number = data.draw(st.sampled_from(sorted(self.nlookup)))
        lookups = data.draw(st.integers(1, self.nlookup[number]))
        inode = self.numbers_seen[number]
        self.nlookup[number] -= lookups
        gone = self.table.forget(number, lookups)
        if self.nlookup[number]:
            assert gone is None
        else:
            assert gone is inode
            del self.nlookup[number]
            self.inodes = {key: each for key, each in self.inodes.items() if each is not inode}

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def unlink_through_the_share(self, data):
        key = data.draw(st.sampled_from(sorted(self.objects)))
        inode = self.inodes.pop(key, None)
        if inode is not None:
            self.table.detach_host_number(inode)
        # A renounced object is told apart from whatever comes after it.
        self.kinds[key].discard(self.objects.pop(key))

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def unlink_on_the_host(self, data):
        key = data.draw(st.sampled_from(sorted(self.objects)))
        del self.objects[key]
        self.inodes.pop(key, None)  # by its number the kernel knows it still

    @rule()
    def compact(self):
        self.table.compact()

    @invariant()
    def the_table_holds_what_the_kernel_knows(self):
        assert len(self.table) == 1 + len(self.nlookup)
        for number, lookups in self.nlookup.items():
            assert self.table[number] is self.numbers_seen[number]
            assert self.table[number].number == number
            assert self.table[number].nlookup == lookups
        for key, inode in self.inodes.items():
            if key in self.objects:
                assert self.table.find(status_of(key[1], self.objects[key], key[0])) is inode
        assert not self.table.check()


def history_agrees_with_the_model(table, histories=150):
    class HostOfThis(Host):
        table_class = table

    run_state_machine_as_test(
        HostOfThis, settings=settings(max_examples=histories, stateful_step_count=30)
    )


@pytest.mark.takes_seconds
def test_any_history_of_lookups_and_forgets_leaves_what_the_kernel_knows():
    history_agrees_with_the_model(InodeTable)


class AlwaysTheHostsNumber(InodeTable):
    def _free_number(self, status):
        return status.st_ino


class NeverForgets(InodeTable):
    def remove(self, inode):
        pass


class ForgetsTooEarly(InodeTable):
    def forget(self, number, lookups):
        return super().forget(number, self[number].nlookup)


class KeepsTheIdentityOfTheDeleted(InodeTable):
    def detach_host_number(self, inode):
        pass


class TakesKindsForTheSame(InodeTable):
    def find(self, status):
        inode = self._by_number.get(status.st_ino)
        if inode is not None and inode.device == status.st_dev and inode is not self.root:
            return inode
        return super().find(status)


class InventsOneNumber(InodeTable):
    def _free_number(self, status):
        self._next_invented = INVENTED
        return super()._free_number(status)


class LeavesTheIdentityBehind(InodeTable):
    def remove(self, inode):
        del self._by_number[inode.number]


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    "bug",
    [
        AlwaysTheHostsNumber,
        NeverForgets,
        ForgetsTooEarly,
        KeepsTheIdentityOfTheDeleted,
        TakesKindsForTheSame,
        InventsOneNumber,
        LeavesTheIdentityBehind,
    ],
)
def test_the_check_of_histories_notices(bug):
    with noticed(AssertionError, KeyError):
        history_agrees_with_the_model(bug, histories=2_000)


# What is held, and where it is to be found, against what may be forgotten


def test_a_directory_is_kept_for_what_is_pending_below_it(table):
    above = told(table, status_of(7, DIRECTORY), name=b"above")
    file = told(table, status_of(42), above, b"file")
    overlay_of(file).changes = 1
    assert table.forget(file.number, 1) is None
    assert table.forget(above.number, 1) is None
    file.parent = None  # the host has removed it
    assert table.pop_unneeded() is None
    assert table.check() == []
    file.overlay.changes = 0
    drop_overlay(file)
    assert table.evict(file)
    assert table.pop_unneeded() is above
    assert len(table) == 1


def test_what_is_not_in_the_table_is_not_found_by_a_new_identity(table):
    gone = told(table, status_of(7, DIRECTORY))
    table.forget(gone.number, 1)
    table.created_on_host(gone, table.root, b"gone", status_of(8, DIRECTORY))
    assert table.find(status_of(8, DIRECTORY)) is None
    assert table.check() == []


def test_a_listing_that_overflows_does_not_forget_what_is_pending(table):
    file = told(table, status_of(42))
    overlay_of(file).changes = 1
    table.forget(file.number, 1)
    assert table.find_or_add(table.root, b"name", status_of(42)) is file
    assert not table.evict(file)
    assert table.find(status_of(42)) is file


def test_a_kernel_that_forgets_too_much_leaves_no_count_below_zero(table):
    inode = told(table, status_of(42))
    with pytest.raises(AssertionError):
        table.forget(inode.number, 2)
    assert inode.nlookup == 1
    assert table.check() == []


class HeldHost(RuleBasedStateMachine):
    """A kernel that looks up and forgets, a guest that changes things, a host that moves them."""

    table_class = InodeTable

    @initialize()
    def mount(self):
        self.table = self.table_class(status_of(ROOT_ON_HOST, DIRECTORY))
        self.next_number = 1_000
        self.inodes = []

    def some(self, data, condition=lambda _: True):
        found = [inode for inode in self.inodes if condition(inode)]
        return data.draw(st.sampled_from(found)) if found else None

    def directory(self, data):
        directories = [each for each in self.inodes if each.is_directory and self.is_in(each)]
        return data.draw(st.sampled_from([self.table.root, *directories]))

    def is_in(self, inode):
        return self.table._by_number.get(inode.number) is inode

    def drain(self):
        for _ in iter(self.table.pop_unneeded, None):
            pass
        self.inodes = [each for each in self.inodes if self.is_in(each)]

    @rule(data=st.data(), kind=st.sampled_from((FILE, DIRECTORY)), fits=st.booleans())
    def look_up_something_new(self, data, kind, fits):
        self.next_number += 1
        name = b"%d" % self.next_number
        parent = self.directory(data)
        inode = self.table.find_or_add(parent, name, status_of(self.next_number, kind))
        self.inodes.append(inode)
        if fits:
            inode.nlookup += 1
        elif self.table.evict(inode):
            self.drain()

    @rule(data=st.data(), fits=st.booleans())
    def look_up_again(self, data, fits):
        inode = self.some(data, lambda each: each.device == HERE and each.parent is not None)
        if inode is None:
            return
        status = status_of(inode.host_number, inode.kind, links=data.draw(st.integers(1, 3)))
        parent = inode.parent if inode.is_directory else self.directory(data)
        assert self.table.find_or_add(parent, inode.name, status) is inode
        if fits:
            inode.nlookup += 1
        elif self.table.evict(inode):
            self.drain()

    @rule(data=st.data())
    def forget(self, data):
        inode = self.some(data, lambda each: each.nlookup)
        if inode is not None:
            self.table.forget(inode.number, data.draw(st.integers(1, inode.nlookup)))
            self.drain()

    @rule(data=st.data())
    def hold_a_change(self, data):
        inode = self.some(data, lambda each: each.nlookup)
        if inode is not None:
            overlay_of(inode).changes += 1

    @rule(data=st.data())
    def hold_a_rename(self, data):
        inode = self.some(data, lambda each: each.nlookup and not each.is_directory)
        if inode is not None:
            held = overlay_of(inode)
            held.changes += 1
            held.guest_place = self.directory(data), b"moved"

    @rule(data=st.data())
    def make(self, data):
        inode = self.table.new_local_only(data.draw(st.sampled_from((FILE, DIRECTORY))))
        held = overlay_of(inode)
        held.changes, held.local_only = 1, True
        held.guest_place = self.directory(data), b"made"
        inode.nlookup += 1
        self.inodes.append(inode)

    @rule(data=st.data(), is_removed=st.booleans())
    def carry_out(self, data, is_removed):
        inode = self.some(data, lambda each: each.overlay is not None)
        if inode is None:
            return
        held = inode.overlay
        place = held.guest_place or held.place
        if place is not None and (held.local_only or is_removed):
            # The host gets it, or has removed it and gets it again, and what it lies in.
            self.next_number += 1
            self.table.created_on_host(inode, *place, status_of(self.next_number, inode.kind))
            held.place, held.local_only = place, False
        held.changes -= 1
        if not held.changes:
            drop_overlay(inode)
            self.table.evict(inode)
        self.drain()

    @rule(data=st.data())
    def the_host_moves_it(self, data):
        inode = self.some(data, lambda each: each.parent is not None and not each.is_directory)
        if inode is not None:
            inode.moved_by_host(self.directory(data), b"by-host")
            self.drain()

    @rule(data=st.data())
    def the_host_removes_it(self, data):
        inode = self.some(data, lambda each: each.parent is not None)
        if inode is not None:
            if not inode.drop_name(inode.parent, inode.name):
                inode.parent = None
            self.drain()

    @invariant()
    def nothing_is_missing_and_nothing_is_left(self):
        assert not self.table.check()
        for inode in self.inodes:
            assert self.is_in(inode)
        wanted = [each for each in self.inodes if each.nlookup or each.overlay is not None]
        assert all(self.is_in(each) for each in wanted)
        if not wanted:
            assert len(self.table) == 1


def held_history_is_consistent(table, histories=150):
    class HostOfThis(HeldHost):
        table_class = table

    run_state_machine_as_test(
        HostOfThis, settings=settings(max_examples=histories, stateful_step_count=30)
    )


@pytest.mark.takes_seconds
def test_any_history_of_pending_changes_leaves_a_consistent_table():
    held_history_is_consistent(InodeTable)


class ForgetsWhatIsHeld(InodeTable):
    def is_needed(self, inode):
        return inode.nlookup > 0 or inode.pins > 0 or inode is self.root


class ForgetsTheWay(InodeTable):
    def is_needed(self, inode):
        held = inode.overlay is not None and inode.overlay.changes > 0
        return inode.nlookup > 0 or inode is self.root or held


class NeverLetsGo(InodeTable):
    def pop_unneeded(self):
        return None


class IdentifiesAnything(InodeTable):
    def identify(self, inode, device, host_number):
        inode.device, inode.host_number = device, host_number
        self._by_identity[device, host_number] = inode


@pytest.mark.takes_seconds
@pytest.mark.parametrize("bug", [ForgetsWhatIsHeld, ForgetsTheWay, NeverLetsGo, IdentifiesAnything])
def test_the_check_of_pending_histories_notices(bug):
    with noticed(AssertionError, KeyError):
        held_history_is_consistent(bug, histories=2_000)

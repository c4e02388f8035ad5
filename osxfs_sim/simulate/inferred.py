"""What a recording's columns tell beyond themselves, as recording.py infers it, compiled.

What each thread asked next, what each LOOKUP is for, and which names a directory had when.
"""

import os
from typing import NamedTuple

import numpy as np

from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.columns import (
    ENOENT,
    KINDS,
    LINK,
    MAKE_A_NAME,
    MAKES,
    NAMED,
    NO_ERROR,
    OTHER_ERROR,
    RENAME,
    TAKES,
    UNAWAITED_BIT,
    Columns,
    Integers,
    Recorded,
)
from osxfs_sim.simulate.compiled import compiled
from osxfs_sim.simulate.recording import Lookup

NO_ROLE = 0
WALKED, LAST, RENAMED, EXCLUSIVE = (
    each.value for each in (Lookup.WALKED, Lookup.LAST, Lookup.RENAMED, Lookup.EXCLUSIVE)
)
_LOOKUP, _CREATE, _RENAME = int(Operation.LOOKUP), int(Operation.CREATE), int(Operation.RENAME)
_O_EXCL = os.O_EXCL


class Inferred(NamedTuple):
    """By the number of a question or a place; -1 where there is none."""

    following: Integers
    """What the question's thread asked next, and waited for."""
    role: Integers
    """What a LOOKUP is for: the value of a recording.Lookup; NO_ROLE: it is none."""
    mentions: Integers
    """Where the mentions of a place begin; one more is the end of the last."""
    mention_at: Integers
    """By mention: the number of the question that tells of the place."""
    mention_before: Integers
    """By mention: the inode that the name had until then; NO_INODE: none."""
    mention_after: Integers
    """By mention: the inode that it had then."""
    mention_status: Integers
    """By mention: the number of the question whose answer told its status; -1: UNKNOWN."""
    names: Integers
    """Where the names of a directory begin; one more is the end of the last."""
    name_place: Integers
    """By name: its place, in the order in which they were mentioned first."""


def infer(recorded: Recorded) -> Inferred:
    """All of it, of one recording."""
    columns = recorded.columns
    following = _following(columns, len(recorded.threads))
    walked = _walked(columns, len(recorded.threads))
    return Inferred(
        following,
        _roles(columns, following, walked, len(recorded.threads)),
        *_mentions(columns, recorded.inodes),
    )


@compiled
def _following(columns: Columns, threads: int) -> Integers:
    following = np.full(len(columns.thread), -1, np.int64)
    then = np.full(threads, -1, np.int64)
    for index in range(len(following) - 1, -1, -1):
        if not KINDS[columns.operation[index]] & UNAWAITED_BIT:
            thread = columns.thread[index]
            following[index] = then[thread]
            then[thread] = index
    return following


@compiled
def _walked(columns: Columns, threads: int) -> Integers:
    """1 for LOOKUPs of what is gone through; by thread a list of what is gone into later."""
    walked = np.zeros(len(columns.thread), np.int64)
    head = np.full(threads, -1, np.int64)
    inode = np.empty(2 * len(walked) + 1, np.int64)
    rest = np.empty(2 * len(walked) + 1, np.int64)
    count = 0
    call = np.zeros(threads, np.int64)
    word = np.full(threads, -1, np.int64)
    for index in range(len(walked) - 1, -1, -1):
        operation = columns.operation[index]
        if KINDS[operation] & UNAWAITED_BIT:
            continue
        thread = columns.thread[index]
        if operation == _LOOKUP:
            each = head[thread]
            while each >= 0 and inode[each] != columns.found[index]:
                each = rest[each]
            walked[index] = each >= 0
        is_of_it = operation == _LOOKUP and word[thread] == columns.call_word[index]
        inode[count] = columns.inode[index]
        rest[count] = head[thread] if is_of_it and call[thread] & RENAME else -1
        if operation == _RENAME:
            count += 1
            inode[count], rest[count] = columns.found[index], count - 1
        head[thread] = count
        count += 1
        call[thread], word[thread] = columns.call[index], columns.call_word[index]
    return walked


@compiled
def _roles(columns: Columns, following: Integers, walked: Integers, threads: int) -> Integers:
    role = np.zeros(len(following), np.int64)
    is_second = np.zeros(threads, np.int64)
    for index in range(len(following)):
        operation, thread = columns.operation[index], columns.thread[index]
        if KINDS[operation] & UNAWAITED_BIT:
            continue
        if operation != _LOOKUP or columns.error[index] == OTHER_ERROR:
            is_second[thread] = 0
            continue
        call = columns.call[index]
        if walked[index]:
            role[index] = WALKED
        elif call & (LINK | RENAME) and not is_second[thread]:
            is_second[thread] = columns.found[index] != 0
            role[index] = RENAMED if call & RENAME else LAST
        else:
            role[index] = EXCLUSIVE if _makes(columns, index, following[index]) else LAST
            is_second[thread] = 0
    return role


@compiled
def _makes(columns: Columns, index: int, then: int) -> bool:
    """As recording._makes(), by the numbers of the questions."""
    place, call = columns.place[index], columns.call[index]
    if then >= 0 and columns.operation[then] == _RENAME:
        return columns.new_place[then] == place  # type: ignore[no-any-return]
    follows = (
        then >= 0 and KINDS[columns.operation[then]] & MAKES != 0 and columns.place[then] == place
    )
    if call & (LINK | RENAME):
        return True
    if call & NAMED and (follows or columns.error[index] == NO_ERROR):
        return call & MAKE_A_NAME != 0  # type: ignore[no-any-return]
    if not follows:
        return False
    return bool(columns.operation[then] != _CREATE or columns.flags[then] & _O_EXCL != 0)


@compiled
def _mentions(
    columns: Columns, inodes: int
) -> tuple[Integers, Integers, Integers, Integers, Integers, Integers, Integers]:
    """What is told of each place, in the order of the questions, and of each directory's names."""
    places = len(columns.place_directory)
    starts = np.zeros(places + 1, np.int64)
    ordered = np.empty(places, np.int64)  # places as they are mentioned first
    count = 0
    for index in range(len(columns.operation)):
        if not _mentions_a_name(columns, index):
            continue
        place = columns.place[index]
        if not starts[place + 1]:
            ordered[count] = place
            count += 1
        starts[place + 1] += 1
        if columns.operation[index] == _RENAME:
            place = columns.new_place[index]
            if not starts[place + 1]:
                ordered[count] = place
                count += 1
            starts[place + 1] += 1
    starts = np.cumsum(starts)
    total = starts[places]
    at, before = np.empty(total, np.int64), np.empty(total, np.int64)
    after, status = np.empty(total, np.int64), np.empty(total, np.int64)
    ends = starts[:places].copy()
    for index in range(len(columns.operation)):
        if not _mentions_a_name(columns, index):
            continue
        place, found = columns.place[index], columns.found[index]
        number, operation = ends[place], columns.operation[index]
        last = after[number - 1] if number > starts[place] else -1
        at[number], status[number] = index, index if columns.is_known[index] else -1
        ends[place] += 1
        if operation == _LOOKUP:
            before[number] = after[number] = found
        elif KINDS[operation] & MAKES:
            before[number], after[number] = 0, found
        elif KINDS[operation] & TAKES:
            before[number], after[number] = last if last >= 0 else found, 0
        else:
            moved = max(last, 0)
            before[number], after[number], status[number] = moved, 0, -1
            place = columns.new_place[index]
            number = ends[place]
            last = after[number - 1] if number > starts[place] else 0
            at[number], before[number], after[number] = index, last, moved
            status[number] = -1
            ends[place] += 1
    names = np.zeros(inodes + 1, np.int64)
    for number in range(count):
        names[columns.place_directory[ordered[number]] + 1] += 1
    names = np.cumsum(names)
    filled = names[:inodes].copy()
    name_place = np.empty(count, np.int64)
    for number in range(count):
        directory = columns.place_directory[ordered[number]]
        name_place[filled[directory]] = ordered[number]
        filled[directory] += 1
    return starts, at, before, after, status, names, name_place


@compiled
def _mentions_a_name(columns: Columns, index: int) -> bool:
    operation, error = columns.operation[index], columns.error[index]
    if operation == _LOOKUP:
        return error == NO_ERROR or error == ENOENT  # type: ignore[no-any-return]
    is_of_one = KINDS[operation] & (MAKES | TAKES) != 0 or operation == _RENAME
    return bool(error == NO_ERROR and is_of_one)

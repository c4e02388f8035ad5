"""Whether a history can be explained, by trying every order of every step: slow, and plain.

It shares nothing with osxfs_sim/coherence/histories but the form in which a history is written:
no model, no memory of what was tried, no division into objects. It carries operations out,
forwards, on a dictionary of names and one of files, and compares what each would have been told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

LATER = ("EINTR", "EIO", "ETIMEDOUT", "ENOTCONN", "ECONNABORTED")
ENDED = ("ENOSPC", "EDQUOT")
LOOKS = ("stat", "read", "entry", "opendir", "fsync", "sync")
NEVER = 10**30

Disk = tuple[dict[str, int], dict[int, tuple[str | None, int]]]
"""Names to numbers, numbers to content (of a directory: None) and mode."""


@dataclass
class Call:
    """An operation, its window, and how it is carried out.

    Looks are answered from *looks_from*, all else from *acts_from*. *requests*: a guest's, through
    a share. *after*: calls of its process that must be over; *behind*: looks that it may not be
    behind. *is_open*: nobody knows what it has done.
    """

    op: Any
    actor: str
    looks_from: int
    acts_from: int
    until: int
    value: Any
    error: str | None
    requests: bool
    after: list[int]
    behind: list[int]
    is_open: bool = False


def find(disk: Disk, path: str) -> int | str:
    names, files = disk
    if not path:
        return 0
    parts = path.split("/")
    for depth in range(1, len(parts)):
        above = names.get("/".join(parts[:depth]))
        if above is None:
            return "ENOENT"
        if files[above][0] is not None:
            return "ENOTDIR"
    return names.get(path, "ENOENT")


def is_directory(disk: Disk, number: int) -> bool:
    return number == 0 or disk[1][number][0] is None


def way(disk: Disk, path: str) -> str | None:
    parent = find(disk, path.rpartition("/")[0])
    if isinstance(parent, str):
        return parent
    return None if is_directory(disk, parent) else "ENOTDIR"


def inside(disk: Disk, path: str) -> list[str]:
    return [name for name in disk[0] if name.startswith(path + "/")]


def with_name(disk: Disk, path: str, number: int | None) -> Disk:
    names = dict(disk[0])
    if number is None:
        del names[path]
    else:
        names[path] = number
    return names, disk[1]


def with_file(disk: Disk, number: int, content: str | None, mode: int) -> Disk:
    return disk[0], {**disk[1], number: (content, mode)}


def put(disk: Disk, number: int, at: int, data: str) -> Disk:
    content, mode = disk[1][number]
    assert content is not None
    if data:
        padded = content + "\0" * max(0, at - len(content))
        content = padded[:at] + data + padded[at + len(data) :]
    return with_file(disk, number, content, mode)


OK = ("ok", None)
Next = tuple[str, Disk, Any]
"""When it may be ("look" or "act"), the disk then, and where the call is: a place, or its end."""


def end(value: Any = None, error: str | None = None) -> tuple[str, Any, Any]:
    return "end", value, error


def go(call: Call, mine: int, disk: Disk, place: Any, umask: int) -> Iterator[Next]:
    """What *call*, having come to *place* (None: not begun), may do next."""
    op, act = call.op, call.op.act
    links = lambda number: sum(each == number for each in disk[0].values())  # noqa: E731
    if place is not None and call.requests and place[0] not in ("kind", "same"):
        number = place[1]
        if number != 0 and not links(number):
            for error in ("ENOENT", "ESTALE"):
                yield "act", disk, end(error=error)
    if act in ("create", "mkdir", "write") and place is None:
        error = way(disk, op.path)
        there = find(disk, op.path)
        if error is None and not isinstance(there, str):
            if act != "write":
                error = "EEXIST"
            elif is_directory(disk, there):
                error = "EISDIR"
            else:
                yield "look", disk, ("cut", there)
                return
        if error is not None:
            yield "look", disk, end(error=error)
            return
        mode = (0o777 if act == "mkdir" else op.mode) & ~umask
        made = with_name(disk, op.path, mine)
        made = with_file(made, mine, None if act == "mkdir" else "", mode)
        done = act == "mkdir" or not op.data
        yield "act", made, end() if done else ("write", mine)
        return
    if place is not None and place[0] == "cut":
        cut = with_file(disk, place[1], "", disk[1][place[1]][1])
        yield "act", cut, ("write", place[1]) if op.data else end()
        return
    if place is not None and place[0] == "write":
        yield "act", put(disk, place[1], 0, op.data), end()
        return
    if act in ("overwrite", "append", "truncate", "chmod", "link", "stat", "read", "fsync"):
        if place is None:
            there = find(disk, op.path)
            if isinstance(there, str):
                yield "look", disk, end(error=there)
            elif is_directory(disk, there) and act in ("overwrite", "append", "truncate", "read"):
                yield "look", disk, end(error="EISDIR")
            else:
                yield "look", disk, ("there", there)
            return
        number = place[1]
        content, mode = disk[1].get(number, (None, 0o755))
        match act:
            case "overwrite":
                yield "act", put(disk, number, op.offset, op.data), end()
            case "append":
                yield "act", put(disk, number, len(content or ""), op.data), end()
            case "truncate":
                cut = (content or "")[: op.size].ljust(op.size, "\0")
                yield "act", with_file(disk, number, cut, mode), end()
            case "chmod":
                yield "act", with_file(disk, number, content, op.mode), end()
            case "fsync":
                yield "act", disk, end()
            case "link":
                error = way(disk, op.to)
                if error is None and not isinstance(find(disk, op.to), str):
                    error = "EEXIST"
                if error is None and is_directory(disk, number):
                    error = "EPERM"
                if error is None and not links(number):
                    error = "ENOENT"
                if error is not None:
                    yield "look" if error != "ENOENT" else "act", disk, end(error=error)
                else:
                    yield "act", with_name(disk, op.to, number), end()
            case "stat":
                seen = {"type": "directory", "mode": mode}
                if content is not None:
                    seen = {"type": "file", "mode": mode, "links": links(number)}
                    seen["size"] = len(content)
                yield "look", disk, end(seen)
            case "read" if call.requests and place[0] == "there":
                yield "look", disk, ("long", number, len(content or ""))
            case "read":
                most = place[2] if place[0] == "long" else None
                yield "look", disk, end((content or "")[:most])
                if most is not None and content and len(content) < most:  # a page is cleared
                    yield "look", disk, end(content + "\0" * (most - len(content)))
        return
    there = find(disk, op.path)
    match act:
        case "entry":
            yield "look", disk, end(not isinstance(there, str))
        case "opendir":
            if isinstance(there, str):
                yield "look", disk, end(error=there)
            else:
                yield "look", disk, end(error=None if is_directory(disk, there) else "ENOTDIR")
        case "sync":
            yield "act", disk, end()
        case "unlink" | "rmdir":
            error = there if isinstance(there, str) else None
            if not isinstance(there, str) and is_directory(disk, there) is (act == "unlink"):
                error = "EISDIR" if act == "unlink" else "ENOTDIR"
            if error is None and inside(disk, op.path):
                error = "ENOTEMPTY"
            if error is not None:
                yield "act" if error == "ENOTEMPTY" else "look", disk, end(error=error)
            else:
                yield "act", with_name(disk, op.path, None), end()
        case "rename":
            yield from move(call, disk, place, there)


def move(call: Call, disk: Disk, place: Any, there: int | str) -> Iterator[Next]:
    op = call.op
    new = find(disk, op.to)
    if place is not None and place[0] == "same":
        if new == place[1]:
            yield "look", disk, end()
        return
    # It was a directory, or was not, when the kernel looked.
    if place is not None and not isinstance(new, str) and is_directory(disk, new) != place[2]:
        yield "look", disk, end(error="EISDIR" if is_directory(disk, new) else "ENOTDIR")
    if place is not None and not any(each == place[1] for each in disk[0].values()):
        for error in ("ENOENT", "ESTALE"):
            yield "act", disk, end(error=error)
    if place is None and call.requests and not isinstance(there, str):
        yield "look", disk, ("kind", there, is_directory(disk, there))
        yield "look", disk, ("same", there)
    error = way(disk, op.path) or way(disk, op.to)
    if error is None and isinstance(there, str):
        error = there
    if error is None:
        assert not isinstance(there, str)
        if op.to.startswith(op.path + "/"):
            error = "EINVAL"
        elif op.path.startswith(op.to + "/"):
            error = "ENOTEMPTY"
        elif not isinstance(new, str) and new != there:
            if is_directory(disk, new) != is_directory(disk, there):
                error = "ENOTDIR" if is_directory(disk, there) else "EISDIR"
            elif inside(disk, op.to):
                error = "ENOTEMPTY"
    if error is not None:
        yield "look" if error != "ENOTEMPTY" and place is None else "act", disk, end(error=error)
        return
    moved = dict(disk[0])
    if new != there:
        for name in [op.path, *inside(disk, op.path)]:
            moved[op.to + name.removeprefix(op.path)] = moved.pop(name)
    yield "act", (moved, disk[1]), end()


def begins(initial: dict[str, str], umask: int) -> Disk:
    names = {path: -number for number, path in enumerate(sorted(initial), 1)}
    return names, {number: (initial[path], 0o644 & ~umask) for path, number in names.items()}


def agrees(call: Call, value: Any, error: str | None) -> bool:
    if call.is_open:
        return error is None
    if error is not None or call.error is not None:
        return error == call.error
    if isinstance(value, dict):
        if call.op.path == "":
            return True
        return all(call.value.get(key) == each for key, each in value.items())
    return bool(value == call.value)


def can_be_explained(
    calls: Sequence[Call], initial: dict[str, str], umask: int, most: int = 30_000
) -> bool | None:
    """Whether some order of all steps explains all that was told; None after *most* steps."""
    tried = 0
    places: list[Any] = [None] * len(calls)
    over = [False] * len(calls)

    def onwards(disk: Disk) -> bool:
        nonlocal tried
        tried += 1
        if tried > most:
            raise TimeoutError
        if all(over):
            return True
        first = min(call.until for call, is_over in zip(calls, over, strict=True) if not is_over)
        for number, call in enumerate(calls):
            if over[number] or not all(over[each] for each in call.after):
                continue
            for when, then, place in choices(number, call, disk):
                begins_at = call.looks_from if when == "look" else call.acts_from
                if begins_at > first or not in_session(
                    call, is_first=places[number] is None, is_look=when == "look"
                ):
                    continue
                before = places[number]
                if place[0] == "end":
                    over[number] = True
                else:
                    places[number] = place
                if onwards(then):
                    return True
                over[number], places[number] = False, before
        return False

    def choices(number: int, call: Call, disk: Disk) -> Iterator[Next]:
        for when, then, place in go(call, number + 1, disk, places[number], umask):
            if place[0] != "end" or agrees(call, place[1], place[2]):
                yield when, then, place
        if call.is_open:
            yield "act", disk, end()

    def in_session(call: Call, *, is_first: bool, is_look: bool) -> bool:
        """Who looks a name up may be as early as who has; the rest comes after them."""
        return all(
            over[each] or (is_first and is_look and places[each] is not None)
            for each in call.behind
        )

    try:
        return onwards(begins(initial, umask))
    except TimeoutError:
        return None


def calls_of(history: Any, *, mode: str, stale: int = 0, lag: int = 0) -> list[Call]:
    """The calls of *history*, a listing taken apart, as *mode* has them."""
    known = set(history.initial)
    for each in history.operations:
        known |= {each.operation.path, each.operation.to}
        if each.operation.act == "list":
            base = each.operation.path
            known |= {f"{base}/{name}" if base else name for name in each.outcome.value or ()}
    known.discard("")
    flat: list[tuple[Any, Any, Any, str | None]] = []
    for each in history.operations:
        op, value, error = each.operation, each.outcome.value, each.outcome.error
        if op.act != "list":
            flat.append((each, op, value, error))
            continue
        kind = type(op)
        if op.path:
            flat.append((each, kind("opendir", op.path), None, error))
        if error is None:
            for name in sorted(known):
                base, _, last = name.rpartition("/")
                if base == op.path:
                    flat.append((each, kind("entry", name), last in value, None))
    calls: list[Call] = []
    sources: list[Any] = []
    for each, op, value, error in flat:
        is_open = error in LATER or error in ENDED
        if is_open and op.act in LOOKS:
            continue
        is_guest = each.actor not in ("host", "share")
        until = NEVER if error in LATER else each.return_ns
        call = Call(
            op,
            each.actor,
            each.call_ns,
            each.call_ns,
            until,
            value,
            error,
            is_guest and history.grain == "share",
            [],
            [],
            is_open,
        )
        is_late = (mode == "cached" and is_guest) or (mode == "delegated" and each.actor == "host")
        for other, (before, theirs) in enumerate(zip(sources, calls, strict=True)):
            if before.actor != each.actor or before is each or theirs.until == NEVER:
                continue
            if not is_late:
                call.after.append(other)
        if is_late:
            if mode == "cached":
                call.looks_from = each.call_ns - stale
            else:
                flushed = [
                    one.call_ns
                    for one in history.operations
                    if one.operation.act in ("sync", "fsync")
                    and one.actor != "host"
                    and one.outcome.error is None
                    and one.return_ns < each.call_ns
                ]
                call.looks_from = call.acts_from = max([each.call_ns - lag, *flushed])
            call.behind = [
                other
                for other, (before, theirs) in enumerate(zip(sources, calls, strict=True))
                if before.actor == each.actor and not theirs.is_open and theirs.op.path == op.path
            ]
        sources.append(each)
        calls.append(call)
    return calls


def told_by(
    calls: Sequence[Call], initial: dict[str, str], umask: int, random: Random, *, in_time: bool
) -> list[tuple[Any, str | None]]:
    """What each of *calls* would be told in an order that is drawn: by their windows, or any."""
    disk = begins(initial, umask)
    places: list[Any] = [None] * len(calls)
    told: list[tuple[Any, str | None] | None] = [None] * len(calls)
    while any(each is None for each in told):
        left = [number for number, each in enumerate(told) if each is None]
        first = min(calls[number].until for number in left)
        ready = [
            number
            for number in left
            if not in_time
            or (
                calls[number].acts_from <= first
                and all(told[each] is not None for each in calls[number].after)
            )
        ]
        number = random.choice(ready or left)
        _, disk, place = random.choice(
            list(go(calls[number], number + 1, disk, places[number], umask))
            or [("act", disk, end(error="ENOENT"))]
        )
        if place[0] == "end":
            told[number] = place[1], place[2]
        else:
            places[number] = place
    return [each for each in told if each is not None]

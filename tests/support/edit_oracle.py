"""What a host had when, by carrying its edits out one by one, and what an answer is then worth.

It shares nothing with osxfs_sim/coherence/answers but the form of answers and of a log: each edit
makes a whole new host, and all hosts are kept.
"""

import errno
import zlib
from dataclasses import dataclass, field
from random import Random

FRESH, STALE, OPEN = "fresh", "stale", "open"
"""*open*: true of no host that there was; what a judge makes of that is no question of ages."""


@dataclass
class World:
    """All hosts that there were, each from *began* to the *done* of the next; and the log of it."""

    began: list[int] = field(default_factory=lambda: [0])
    done: list[int] = field(default_factory=lambda: [0])
    names: list[dict[str, int]] = field(default_factory=list)
    files: list[dict[int, tuple[int, int, bytes]]] = field(default_factory=list)
    log_names: dict[str, list[tuple[int, int, int | None]]] = field(default_factory=dict)
    log_files: dict[int, list[tuple[int, int, int, int, str]]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def key(self, content: bytes) -> str:
        for key, known in self.contents.items():
            if known == content:
                return key
        self.contents[f"{len(self.contents)}"] = content
        return f"{len(self.contents) - 1}"

    def possible(self, call: int, back: int) -> list[int]:
        last = len(self.names) - 1
        return [
            at
            for at in range(last + 1)
            if self.began[at] <= back and (at == last or self.done[at + 1] >= call)
        ]


NAMES = ("f", "g")


def drawn_world(random: Random, edits: int) -> World:
    world = World()
    texts = [b"", b"aa", b"aab", b"bbbb", b"ab"]
    names: dict[str, int] = {}
    files: dict[int, tuple[int, int, bytes]] = {}
    for name in NAMES:
        if random.random() < 0.7:
            number, text = len(files) + 1, random.choice(texts)
            names[name], files[number] = number, (len(text), number, text)
    world.names.append(dict(names))
    world.files.append(dict(files))
    for name in NAMES:
        world.log_names[name] = [(0, 0, names.get(name))]
    for number, (size, mtime, text) in files.items():
        world.log_files[number] = [(0, 0, size, mtime, world.key(text))]
    now = 10
    for edit in range(edits):
        began = now + random.randrange(0, 4)
        done = began + random.randrange(0, 4)
        now = done + random.randrange(1, 4)
        name = random.choice(NAMES)
        other = NAMES[1 - NAMES.index(name)]
        number, mtime = names.get(name), 100 + edit
        act = random.choice(("write", "write", "cut", "touch", "remove", "create", "rename"))
        if number is None and act != "create":
            continue
        match act:
            case "write" | "cut" | "touch":
                assert number is not None
                text = b"" if act == "cut" else files[number][2]
                if act == "write":
                    text = random.choice(texts)
                files[number] = len(text), mtime, text
                world.log_files[number].append((began, done, len(text), mtime, world.key(text)))
            case "create":
                if number is not None:
                    continue
                number = len(files) + 1
                names[name], files[number] = number, (0, mtime, b"")
                world.log_files[number] = [(0, 0, 0, mtime, world.key(b""))]
                world.log_names[name].append((began, done, number))
            case "remove":
                del names[name]
                world.log_names[name].append((began, done, None))
            case "rename":
                assert number is not None
                names[other] = names.pop(name)
                world.log_names[other].append((began, done, number))
                world.log_names[name].append((began, done, None))
        world.began.append(began)
        world.done.append(done)
        world.names.append(dict(names))
        world.files.append(dict(files))
    return world


@dataclass
class Question:
    """A question about *name*, its window, and what was told: of a *kind*."""

    kind: str
    name: str
    call: int
    back: int
    opened: tuple[int, int] = (0, 0)
    error: int = 0
    size: int = 0
    mtime: int = 0
    at: int = 0
    data: bytes = b""
    short: bool = False

    @property
    def crc(self) -> int:
        return zlib.crc32(self.data)


def drawn_question(random: Random, world: World) -> Question:
    """One that some host would have answered so, at some time; now and then one of two hosts."""
    ends = world.done[-1] + 12
    call = random.randrange(0, ends)
    back = call + random.randrange(0, 6)
    opened_at = random.randrange(0, call + 1)
    opened = opened_at, random.randrange(opened_at, call + 1)
    asked = Question(
        random.choice(("look", "stat", "stat", "fstat", "read", "read")),
        random.choice(NAMES),
        call,
        back,
        opened,
    )
    true = [at for at in range(len(world.names)) if asked.name in world.names[at]]
    if asked.kind in ("look", "stat") and (not true or random.random() < 0.3):
        asked.error = errno.ENOENT
        return asked
    if not true:
        asked.kind, asked.error = "look", errno.ENOENT
        return asked
    one, other = random.choice(true), random.choice(true)
    if random.random() < 0.8:
        other = one
    first = world.files[one][world.names[one][asked.name]]
    second = world.files[other][world.names[other][asked.name]]
    asked.size, asked.mtime = first[0], second[1]
    if asked.kind == "read":
        asked.at = random.randrange(0, 3)
        asked.data = first[2][asked.at :]
        asked.short = True
        if random.random() < 0.4:
            asked.data, asked.short = asked.data[: random.randrange(0, 3)], False
    return asked


def is_true(asked: Question, file: tuple[int, int, bytes]) -> bool:
    if asked.kind != "read":
        return file[:2] == (asked.size, asked.mtime)
    ends = asked.at + len(asked.data)
    if file[2][asked.at : ends] != asked.data:
        return False
    return not asked.short or ends >= len(file[2])


def presence(world: World, asked: Question) -> tuple[str, int | None]:
    told = asked.error == 0
    now = world.possible(asked.call, asked.back)
    if any((asked.name in world.names[at]) is told for at in now):
        return FRESH, None
    if len({world.names[at].get(asked.name) for at in now}) > 1:
        return OPEN, None  # it becomes another meanwhile
    for at in range(now[0] - 1, -1, -1):
        if (asked.name in world.names[at]) is told:
            return STALE, asked.back - world.done[at + 1]
    return OPEN, None


def object_told(world: World, asked: Question) -> tuple[str, int | None]:
    """What the attributes or the content that were told are worth, each host by itself."""
    now = world.possible(asked.call, asked.back)
    if asked.kind == "stat":
        for early in now:  # looked up, and asked then
            number = world.names[early].get(asked.name)
            if number is not None and any(
                is_true(asked, world.files[late][number]) for late in now if late >= early
            ):
                return FRESH, None
        for at in range(now[0] - 1, -1, -1):
            number = world.names[at].get(asked.name)
            if number is not None and is_true(asked, world.files[at][number]):
                return STALE, max(0, asked.back - world.done[at + 1])
        return OPEN, None
    opened = {world.names[at].get(asked.name) for at in world.possible(*asked.opened)} - {None}
    for number in opened:
        if any(number in world.files[at] and is_true(asked, world.files[at][number]) for at in now):
            return FRESH, None
    ends = []
    for at in range(now[-1] + 1):
        number = world.names[at].get(asked.name)
        before_open = world.possible(*asked.opened)[-1]
        if number is None or at > before_open:
            continue
        if number in opened:  # whatever its names are since
            last = max(
                (
                    late
                    for late in range(now[0])
                    if number in world.files[late] and is_true(asked, world.files[late][number])
                ),
                default=None,
            )
            if last is not None:
                ends.append(changed_after(world, last, number))
        elif is_true(asked, world.files[at][number]):
            late = at
            while (
                late + 1 < len(world.names)
                and world.names[late + 1].get(asked.name) == number
                and is_true(asked, world.files[late + 1][number])
            ):
                late += 1
            ends.append(world.done[late + 1])
    if ends:
        return STALE, max(0, asked.back - max(ends))
    return OPEN, None


def changed_after(world: World, at: int, number: int) -> int:
    """When the state that *number* had in host *at* was ended."""
    state = world.files[at][number]
    return next(
        world.done[late]
        for late in range(at + 1, len(world.files))
        if world.files[late][number] != state
    )


def judged(world: World, asked: Question) -> dict[str, tuple[str, int | None]]:
    """By kind what is said of each thing that was told."""
    if asked.kind == "look" or asked.error:
        return {"absence" if asked.error else "existence": presence(world, asked)}
    if asked.kind == "stat":
        return {"existence": presence(world, asked), "attributes": object_told(world, asked)}
    return {"content" if asked.kind == "read" else "attributes": object_told(world, asked)}


def may_be_torn(world: World, asked: Question) -> bool:
    """Whether anything of it was changing while it was asked."""
    return len(world.possible(asked.call, asked.back)) > 1 or (
        asked.kind in ("fstat", "read") and len(world.possible(*asked.opened)) > 1
    )

"""What a real VirtioFS guest sends for a script, beside what the virtiofsd profiles send.

    python -m bench.virtiofs_guest SCRIPT [--cache none,auto,always] [--each | --answers]

SCRIPT is run by busybox's shell in the root of a fresh share with the tree of
docs/systems.md: in a virtual machine (QEMU, emulated, so no KVM is needed) on QEMU's own
virtiofsd, and on a share of profile virtiofsd-CACHE. The real requests are counted in
virtiofsd's log. With --each the lines of SCRIPT are told apart, by looking up a name that is
not there after each of them.

With --answers it is what the guest sees that is compared, line by line, while the host
changes the tree: a line that begins with "host:" is run on the host, in the source, when the
lines before it are done. Of all others the output is compared.

Needs root, and of Debian 12: apt-get install qemu-system-x86 busybox-static
linux-image-amd64. They may also be unpacked somewhere (dpkg -x) and be named by --root.
"""

import argparse
import collections
import contextlib
import gzip
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import osxfs_sim

MODULES = (
    *("virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev"),
    *("virtio/virtio_pci_legacy_dev", "virtio/virtio_pci", "fuse/fuse", "fuse/virtiofs"),
)
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
for module in {modules}; do insmod /modules/$module.ko; done
mount -t virtiofs share /mnt
cd /mnt
sh /script
sleep 0.5
poweroff -f
"""
# Of the beginning, the end, and sync(2), which only VirtioFS sends on.
NOT_OF_THE_SCRIPT = ("INIT", "DESTROY", "SYNCFS")
MARK = "@after-"
HOST = "host:"
TURN, DONE, BEGIN = "@turn-", "@done-", "@begin"
_PATIENCE_S = 300
_WHERE = re.compile(r"/\S*script: line \d+: ")
"""What the shell says before a complaint of its own."""
_REQUEST = re.compile(r"opcode: (\w+)|lo_lookup\(parent=\d+, name=([^)]*)\)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("script", type=Path)
    parser.add_argument("--cache", default="none,auto,always")
    parser.add_argument("--each", action="store_true")
    parser.add_argument("--answers", action="store_true")
    parser.add_argument("--root", type=Path, default=Path("/"))
    asked = parser.parse_args()
    lines = [line for line in asked.script.read_text().splitlines() if line.strip()]
    if asked.answers:
        for cache in asked.cache.split(","):
            print(f"cache={cache}")
            compare_answers(
                lines, real_answers(asked.root, cache, lines), our_answers(cache, lines)
            )
        return 0
    script = "\n".join(lines) + "\n"
    if asked.each:
        script = "".join(f"{line}\nstat {MARK}{n}\n" for n, line in enumerate(lines))
    for cache in asked.cache.split(","):
        real, ours = real_requests(asked.root, cache, script), our_requests(cache, script)
        print(f"cache={cache}")
        for number in sorted(real.keys() | ours.keys()):
            report(lines[number] if asked.each and number < len(lines) else "", real, ours, number)
    return 0


def report(
    line: str,
    real: dict[int, collections.Counter[str]],
    ours: dict[int, collections.Counter[str]],
    number: int,
) -> None:
    ours_now = ours.get(number, collections.Counter())
    real_now = real.get(number, collections.Counter())
    differing = {
        kind: (real_now[kind], ours_now[kind])
        for kind in sorted(real_now.keys() | ours_now.keys())
        if real_now[kind] != ours_now[kind]
    }
    same = sum((real_now & ours_now).values())
    words = ", ".join(f"{kind} {pair[0]} / {pair[1]}" for kind, pair in differing.items())
    print(f"  {line[:40]:40} {same:5} the same; real / ours: {words or 'no difference'}")


def fill(source: Path) -> None:
    source.mkdir(mode=0o755)
    (source / "f").write_text("content\n")
    (source / "d").mkdir()
    for name in "123":
        (source / "d" / name).touch()
    (source / "a" / "b" / "c").mkdir(parents=True)
    (source / "a" / "b" / "c" / "g").touch()


def by_line(requests: Iterator[tuple[str, str | None]]) -> dict[int, collections.Counter[str]]:
    """Counts per line: those before the name that is looked up after it."""
    counts: dict[int, collections.Counter[str]] = {0: collections.Counter()}
    line = 0
    for kind, name in requests:
        if name is not None and name.startswith(MARK):
            line = int(name.removeprefix(MARK)) + 1
        elif kind and kind not in NOT_OF_THE_SCRIPT:
            counts.setdefault(line, collections.Counter())[kind] += 1
    return counts


def compare_answers(lines: list[str], real: list[str], ours: list[str]) -> None:
    for line, *answers in zip(lines, real, ours, strict=True):
        if line.startswith(HOST):
            print(f"  {line}")
        else:
            same = "the same" if answers[0] == answers[1] else "DIFFERENT"
            told = answers[:1] if answers[0] == answers[1] else answers
            print(f"  {line[:50]:50} {same}: {' / '.join(map(repr, told))}")


def as_script(lines: list[str]) -> str:
    """*lines* for a shell in the share, which waits where the host has its turn."""
    parts = []
    for number, line in enumerate(lines):
        if line.startswith(HOST):
            asks, done = f"{TURN}{number}", f"{DONE}{number}"
            parts.append(f"> {asks}; until test -e {done}; do usleep 20000; done")
        else:
            parts.append(f"{{ {line}\n}} 2>&1")
        parts.append(f"echo {MARK}{number}")
    return "\n".join(parts) + "\n"


def taking_turns(source: Path, lines: list[str], is_over: threading.Event) -> None:
    """Do on the host what it has to do, each when the guest asks for it."""
    for number, line in enumerate(lines):
        if not line.startswith(HOST):
            continue
        while not (source / f"{TURN}{number}").exists():
            if is_over.wait(0.005):
                return
        subprocess.run(["sh", "-c", line.removeprefix(HOST)], cwd=source, check=True)
        (source / f"{DONE}{number}").touch()


@contextlib.contextmanager
def host_taking_turns(source: Path, lines: list[str]) -> Iterator[None]:
    is_over = threading.Event()
    host = threading.Thread(target=taking_turns, args=(source, lines, is_over))
    host.start()
    try:
        yield
    finally:
        is_over.set()
        host.join()


def answers_in(output: str, lines: list[str]) -> list[str]:
    """What was said of each line, between the marks that end them."""
    output = output.replace("\r", "")
    answers = []
    for number in range(len(lines)):
        answer, _, output = output.partition(f"{MARK}{number}\n")
        answers.append(_WHERE.sub("", answer))
    return answers


def real_answers(root: Path, cache: str, lines: list[str]) -> list[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        work = Path(name)
        work.chmod(0o755)
        fill(work / "source")
        with host_taking_turns(work / "source", lines):
            output = run_guest(root, cache, f"echo {BEGIN}\n{as_script(lines)}", work)
    return answers_in(output.replace("\r", "").partition(f"{BEGIN}\n")[2], lines)


def our_answers(cache: str, lines: list[str]) -> list[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        work = Path(name)
        fill(work / "source")
        (work / "guest").mkdir()
        (work / "script").write_text(as_script(lines))
        (work / "bin").mkdir()
        subprocess.run(["busybox", "--install", "-s", work / "bin"], check=True)
        with (
            osxfs_sim.share(work / "source", work / "guest", profile=f"virtiofsd-{cache}"),
            host_taking_turns(work / "source", lines),
        ):
            done = subprocess.run(
                [work / "bin" / "sh", work / "script"],
                cwd=work / "guest",
                env={"PATH": str(work / "bin"), "PWD": str(work / "guest")},
                stdout=subprocess.PIPE,
                text=True,
            )
    return answers_in(done.stdout, lines)


def real_requests(root: Path, cache: str, script: str) -> dict[int, collections.Counter[str]]:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        work = Path(name)
        work.chmod(0o755)
        fill(work / "source")
        run_guest(root, cache, script, work)
        found = _REQUEST.findall((work / "log").read_text(errors="replace"))
    # A lookup's name is logged after its opcode.
    return by_line((kind, name or None) for kind, name in found)


def run_guest(root: Path, cache: str, script: str, work: Path) -> str:
    """Run *script* in a virtual machine; what it said, and in *work* the server's log."""
    (work / "initrd").write_bytes(gzip.compress(archive(files_of(root, script)), 1))
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    environment = {"PATH": "/usr/bin:/bin"}
    if root != Path("/"):
        environment["LD_LIBRARY_PATH"] = libraries
    socket = work / "socket"
    kernel = max((root / "boot").glob("vmlinuz-6.1*"))
    with (work / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(root / "usr/lib/qemu/virtiofsd", f"--socket-path={socket}", "-d"),
                *("-o", f"source={work / 'source'}", "-o", f"cache={cache}"),
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            while not socket.exists():
                assert server.poll() is None, "virtiofsd has ended"
                time.sleep(0.05)
            guest = subprocess.run(
                [
                    *(root / "usr/bin/qemu-system-x86_64", "-accel", "tcg", "-m", "512"),
                    *("-L", f"{root}/usr/share/qemu", "-L", f"{root}/usr/share/seabios"),
                    *("-object", "memory-backend-memfd,id=memory,size=512M,share=on"),
                    *("-numa", "node,memdev=memory"),
                    *("-chardev", f"socket,id=share,path={socket}"),
                    *("-device", "vhost-user-fs-pci,chardev=share,tag=share"),
                    *("-kernel", kernel, "-initrd", work / "initrd"),
                    *("-append", "console=ttyS0 quiet panic=-1"),
                    *("-nographic", "-no-reboot", "-nic", "none"),
                ],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=_PATIENCE_S,
                check=True,
            )
        finally:
            server.terminate()
            server.wait()
    return guest.stdout.decode(errors="replace")


def our_requests(cache: str, script: str) -> dict[int, collections.Counter[str]]:
    import pyarrow.parquet as parquet

    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        work = Path(name)
        fill(work / "source")
        (work / "guest").mkdir()
        (work / "script").write_text(script)
        (work / "bin").mkdir()
        subprocess.run(["busybox", "--install", "-s", work / "bin"], check=True)
        with osxfs_sim.share(
            work / "source", work / "guest", profile=f"virtiofsd-{cache}", dilate=60.0
        ) as share:
            share.start_trace(str(work / "trace.parquet"))
            subprocess.run(
                [work / "bin" / "sh", work / "script"],
                cwd=work / "guest",
                env={"PATH": str(work / "bin"), "PWD": str(work / "guest")},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            share.stop_trace()
        rows = parquet.read_table(work / "trace.parquet").to_pylist()
    rows.sort(key=lambda row: row["arrival_ns"])

    def requests() -> Iterator[tuple[str, str | None]]:
        for row in rows:
            yield row["operation"], None
            if row["operation"] == "LOOKUP" and row["name"] is not None:
                yield "", os.fsdecode(row["name"])

    return by_line(requests())


def files_of(root: Path, script: str) -> Iterator[tuple[str, int, bytes]]:
    """The guest's own files: name, mode and content."""
    modules = next((root / "lib/modules").glob("6.1*")) / "kernel"
    names = [Path(module).name for module in MODULES]
    for directory in ("bin", "dev", "mnt", "modules", "proc"):
        yield directory, 0o40755, b""
    for module, name in zip(MODULES, names, strict=True):
        place = modules / ("fs" if module.startswith("fuse") else "drivers")
        yield f"modules/{name}.ko", 0o100644, (place / f"{module}.ko").read_bytes()
    yield "bin/busybox", 0o100755, (root / "bin/busybox").read_bytes()
    yield "init", 0o100755, INIT.format(modules=" ".join(names)).encode()
    yield "script", 0o100644, script.encode()


def archive(files: Iterator[tuple[str, int, bytes]]) -> bytes:
    """As cpio -H newc writes it, which is what the kernel unpacks."""
    parts = []
    for number, (name, mode, content) in enumerate([*files, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        parts += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main())

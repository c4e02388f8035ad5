"""The process that serves a mount in the background; launch starts it.

Its arguments are the share's settings as JSON, the descriptor that takes its
first words, and perhaps one that tells when it shall end. Its words are a line of JSON
each: what it waits for, if that may take long; then the first status when the share can
be used, or the error.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from typing import Any

from osxfs_sim.fs import at
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.mount.mounts.mountpoints import log_path, runtime_directory
from osxfs_sim.mount.server.log import log_to
from osxfs_sim.settings import ShareSettings

log = logging.getLogger(__name__)


def _end_with(lifeline_fd: int) -> None:
    """End as by SIGTERM when whoever holds the other end is gone, however it went.

    A byte says that the share shall outlive it.
    """
    os.set_inheritable(lifeline_fd, False)

    def wait() -> None:
        if not os.read(lifeline_fd, 1):
            log.info("whoever mounted this share has gone")
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def main() -> None:
    """Run the server's process: mount and serve as its arguments say; exit code 1 on a mistake."""
    settings = ShareSettings.from_json(sys.argv[1])
    words_fd = int(sys.argv[2])
    if len(sys.argv) > 3:
        _end_with(int(sys.argv[3]))
    log_to()

    mountpoint = ""

    def say(message: dict[str, Any]) -> None:
        nonlocal mountpoint
        mountpoint = message.get("mountpoint", "")
        with open(words_fd, "w", encoding="utf-8") as words:
            json.dump(message, words)

    def wait(what: str) -> None:
        log.info("%s", what)
        with contextlib.suppress(OSError):  # whoever started us has gone
            os.write(words_fd, json.dumps({"waiting": what}).encode() + b"\n")

    try:
        if settings.system().profile.is_local:
            from osxfs_sim.mount.server.local import serve_local as serve
        else:
            from osxfs_sim.mount.server.session import serve
        serve(settings, lambda status: say(status.as_dict()), wait)
    except UserError as error:
        if not mountpoint:  # afterwards nobody listens; the log has it
            kind = "profile" if isinstance(error, ProfileError) else "mount"
            say({"error": str(error), "kind": kind})
        sys.exit(1)
    log_file = log_path(runtime_directory(os.geteuid()), mountpoint)
    if log_file.exists() and not log_file.stat().st_size:
        at.remove(log_file)


if __name__ == "__main__":
    main()

"""Watches the directory it is started in with watchdog.

Each line it prints is what it was told, and what it read when it was told:
["modified", "lib/part.rb", "content"]; of a move, where to, too.
"""

import json
import os
import time

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver


def content(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read()
    except IsADirectoryError:
        return None
    except OSError as error:
        return type(error).__name__


class Listener(FileSystemEventHandler):
    def on_any_event(self, event: FileSystemEvent) -> None:
        # To read opens, which is told too: it would go on for ever.
        if event.event_type in ("opened", "closed_no_write"):
            return
        path = os.path.relpath(event.src_path)
        kind = event.event_type + ("-directory" if event.is_directory else "")
        to = [os.path.relpath(event.dest_path)] if event.dest_path else []
        print(json.dumps([kind, path, content(event.dest_path or event.src_path), *to]), flush=True)


observer = InotifyObserver()
observer.schedule(Listener(), ".", recursive=True)
observer.start()
print(json.dumps(["ready", ".", None]), flush=True)
while True:
    time.sleep(3600)

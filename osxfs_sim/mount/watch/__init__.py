"""Changes of the host as they are read, our own left out.

open_watcher  chooses one of the two
watcher   what a watcher says
fanotify  by the process that made them
inotify   by the state they left, where there is no fanotify
"""

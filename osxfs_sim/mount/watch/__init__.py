"""Changes of the host as they are read, ours told apart.

watcher   what a watcher says, and which there is
fanotify  by the process that made them
inotify   by the state they left, where there is no fanotify
"""

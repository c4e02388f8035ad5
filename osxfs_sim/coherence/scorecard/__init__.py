"""Which events of inotify arrive, and what is then seen.

signals       the words: what was heard, what was then seen, what each change shows
expectations  which events a change must and may raise, per system and natively
judging       a log against an expectation: pure
changes       the changes, each performed on the host
listener      a process in the guest that watches, and looks as soon as it hears
hearing       starts the listener and takes down what it says
measure       every kind of change, many times
"""

"""Which events of inotify arrive, and what a read at once then returns.

signals           the values: events received, states observed, what each change makes visible
expectations      which events a change must and may raise, per system and natively
judging           a log against an expectation: pure
changes           the changes, each performed on the host
listener          a process in the guest that watches, and reads as soon as an event comes
listener_process  starts the listener and records its reports
measure           every kind of change, many times
"""

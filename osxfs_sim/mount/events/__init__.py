"""From a change of the host to what the guest sees and hears of it (docs/events.md).

host_events        the way of a change, from the watcher's hints to raised events
rescan             after a loss: ends all below a directory, and looks for what has changed
invalidate         ends answers that the guest's kernel has cached, in a thread
inject             raises inotify events by real system calls in the mount, in a thread
injected_requests  answers the requests of that thread, and applies none
"""

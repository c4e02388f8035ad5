"""From a change of the host to what the guest sees and hears of it (docs/events.md).

host_events         the way of a change, from the watcher's hints to raised events
delivery            what is on its way to the guest: queues, and the threads that empty them
rescan              after a loss: invalidates all below a directory, and looks for what has changed
invalidate          sends FUSE invalidations to the guest's kernel, in a thread
inject              raises inotify events by real system calls in the mount, in a thread
injected_requests   the layer that knows the requests of that thread
suppressed_answers  answers them, and applies none
"""

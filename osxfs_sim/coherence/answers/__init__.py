"""What a workload was told by its file system, and whether the host would have said so.

library   a small C library that takes down the answers; compiled once
names     of which names they are taken down
log       what the library has written, read again
timeline  what the host had when, from the log of the edits
judge     an answer against the timeline: pure
risk      all of a run's answers, counted
"""

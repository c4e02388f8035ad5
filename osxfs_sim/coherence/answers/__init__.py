"""What a workload's system calls returned, and whether the host would have answered so then.

library   a small C library that records the answers (LD_PRELOAD); compiled once
names     the table of names whose answers are recorded
log       what the library has written, read again
timeline  what the host had when, from the log of the edits
judge     an answer against the timeline: pure
risk      all of a run's answers, counted
"""

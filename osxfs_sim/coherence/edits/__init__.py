"""Edits of the host while a workload runs: recorded from tools, replayed on any tree.

pattern    what a tool does to a file that it saves, in terms of any file
recording  takes a pattern from a tool's run, by inotify
stream     a pattern, how many files and how often: the edits of a run, drawn by a seed
contents   what is written, so that the file stays what it is for the workload
editor     the process that makes them, and logs what the host had when
applying   has that process at work for the time of a ``with`` block
patterns   those recorded from tools
"""

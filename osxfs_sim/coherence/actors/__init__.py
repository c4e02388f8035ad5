"""Processes of the host and of the guest that do what they are told, and tell when.

operations  what an actor does, and what it was told
processes   those that perform operations
helper      the life of such a process, and of a listener's
staging     plays steps: by processes, by a listener, by whoever mounted the share
scripts     a schedule as a script that can be run again
"""

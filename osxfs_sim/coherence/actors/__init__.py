"""Processes of the host and of the guest that perform operations on command, and time each.

operations  what an actor does, and what its system calls returned
processes   those that perform operations
helper      the life of such a process, and of a listener's
staging     plays steps: by processes, by a listener, by the process that mounted the share
scripts     a schedule as a script that can be run again
"""

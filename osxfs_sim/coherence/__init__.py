"""Whether, and when, the guest sees what the host changed.

Everything here is handed two directories, the host's side and the guest's side
of one share, and mounts nothing itself. With one directory as both sides, it is
measured against what a plain file system does. A folder for each instrument:

    actors     processes of host and guest that perform operations on command, and time them
    scorecard  which inotify events arrive, and what a read at once then returns
    staleness  how long each side goes on reading an old state: P(stale) over time
    contract   the consistency contract as checks
    histories  concurrent histories, and whether a mode's model can explain them
    museum     bugs of real systems as schedules: shown, and seen cured
    edits      edits of the host's files while a workload runs
    answers    what a workload's system calls returned of them, and how stale that was
"""

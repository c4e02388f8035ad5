"""Whether, and when, the guest sees what the host changed.

Everything here is handed two directories, the host's side and the guest's side
of one share, and mounts nothing itself. With one directory as both sides, it is
measured against what a plain file system does. A folder for each instrument:

    actors     processes of host and guest that do what they are told, and tell when
    scorecard  which inotify events arrive, and what is then seen
    staleness  how long each side goes on seeing an old state
    contract   the consistency contract as checks
    histories  what several did at once, and whether a mode explains it
    museum     bugs of real systems as schedules: shown, and seen cured
    edits      what somebody does to the host's files meanwhile
    answers    what a workload was told of them, and whether the host would have said so
"""

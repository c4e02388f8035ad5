"""Whether, and when, the guest sees what the host changed.

Everything here is handed two directories, the host's side and the guest's side
of one share, and mounts nothing itself. With one directory as both sides, it is
measured against what a plain file system does.

the scorecard of events:

    signals       the words: what was heard, what was then seen, what each change shows
    expectations  which events a change must and may raise, per system and natively
    judging       a log against an expectation: pure
    changes       the changes, each performed on the host
    listener      a process in the guest that watches, and looks as soon as it hears
    hearing       starts the listener and takes down what it says
    scorecard     every kind of change, many times

staleness, in both directions:

    views         the ways to see a file: its existence, its content, a mapping of it ...
    predictions   how stale each may be, and whether what was measured agrees: pure
    staleness     change, then look until the change is seen
    curves        how likely a look is stale, over time, with a band: pure
    predicted     the curve that a prediction draws, and whether the band meets it: pure
    saved         all of it as a document, and back: pure
    loading       keeps the share busy meanwhile, by processes that run load

schedules, and what they show:

    operations    what an actor does, and what it was told
    actors        processes of host and guest that perform operations
    helper        the life of such a process, and of the listener's
    staging       plays steps: by processes, by a listener, by whoever mounted the share
    scripts       a schedule as a script that can be run again
    contract      the consistency contract as checks
    histories     what several did at once, recorded, and whether a mode explains it

the bug museum:

    museum        each bug of model/bugs.py as a schedule: what is told with it, and cured

what a workload risked:

    edits         what somebody does to the host's files meanwhile: patterns, streams, an editor
    answers       what the workload was told of them, and whether the host would have said so
"""

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

staleness:

    views         the ways to see a file: its existence, its content, a mapping of it ...
    predictions   how stale each may be, and whether what was measured agrees: pure
    staleness     change, then look until the change is seen

what a workload risked:

    edits         what somebody does to the host's files meanwhile: patterns, streams, an editor
    answers       what the workload was told of them, and whether the host would have said so
"""

"""What several processes did at once, judged by what the share's mode promises.

The words are those of Herlihy and Wing, and of the checkers porcupine and Knossos: a history of
operations with call and return, a sequential model, partitions, linearizations.

    history      the value: operations with their call, return and result; JSON
    generate     a random programme for the host and some guests: pure
    record       has it performed, and records the history
    objects      partitions a history into objects that can be judged one by one
    model        the sequential model: a file system as a state machine
    linearize    searches for a linearization
    sessions     the session guarantees: what one process must not go back behind
    modes        what consistent and cached make of an operation
    delegated    what is left where both sides change, and changes may be late or lost
    well_formed  refuses a history that cannot be judged
    verdicts     ok, violation, or unknown
    shrink       a smaller history, or a shorter schedule, that is still a violation
    schedules    a schedule from a history, and a script from that
    stage        empty places on a share, in which schedules are played
    timeline     a history in words

docs/coherence.md says what all of this can and cannot show.
"""

"""What several processes did at once, judged by what the share's mode promises.

    history    the value: operations with their moments and answers; JSON
    generate   a random programme for the host and some guests: pure
    record     has it performed
    objects    which names have to be judged together
    model      a file system as a state machine: each operation's steps
    linearize  searches for an order that explains everything
    sessions   what one process must not go back behind
    modes      what consistent and cached make of an operation
    delegated  what is left where both sides change, and changes may be late or lost
    wording    what the words of a history must be, such that it can be judged
    verdicts   ok, violation, or unknown
    shrink     a smaller history, or a shorter schedule, that is still a violation
    schedules  a schedule from a history, and a script from that
    stage      empty places on a share, in which schedules are played
    timeline   a history in words

docs/coherence.md says what all of this can and cannot show.
"""

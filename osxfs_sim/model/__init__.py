"""What is emulated, decided without I/O, clock or event loop.

Everything here is pure: time and randomness come in as arguments, decisions
come out as values, and the caller acts on them. That is why the live mount
and a simulation in virtual time cannot disagree about what a policy does, and
why a new policy can be tested without FUSE.

    user_error       how a user's mistake is reported: one class for all
    units            durations, sizes and rates as people write them, read into integers
    formatting       numbers as people read them: durations, sizes, rates, counts, percentages
    operations       the requests of the FUSE protocol and the classes they are priced by
    latency          what a crossing costs, and when its answer is due
    caching          how long an answer may be cached: a policy's cache timeouts
    complete_directories  all names of a directory: every other is known to be missing
    consistency      which mode of the contract holds where exports overlap
    ownership        whose an object is: the owner attribute
    names            which spellings are one name on a host's file system
    events           when a host change is delivered, what is lost, what the guest sees of it
    bugs             those of real systems that a share can be given on purpose
    profile          one emulated system: the above put together, with its sources
    profiles         the systems themselves, one TOML file each
    status           what a share reports of itself: a line of documentation for each field
    documents        frozen dataclasses as JSON documents, and back
    escaping         names, paths and texts of other people, as they may be shown on a terminal
    extents          which bytes of a file are dirty in the guest, and where they are
    request_order    which requests about one object have to wait for which
    own_policy       a cache policy of a user's own: tried before it is relied upon, and watched
                     ever after
    protocol         what a server asks the guest's kernel for when the two agree on a protocol
    refusals         decides what becomes of a change that the host has refused when it was
                     applied
    synchronization  how a synchronized share keeps its two sides the same: modes and numbers, as
                     a profile has them
    write_back       decides which of the guest's changes are still to be written back, in which
                     order, and when
"""

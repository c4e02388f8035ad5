"""What tests are made with, and the programs that they start.

People and machines

    live               a share under test: its two sides, its server, what it must leave behind
    unmounted          a share with write-back, all but the mount
    both_sides         what such a guest and the host do at random with a small tree
    writer_process     a host writer in a process of its own, and who has it make changes
    writer_messages    what that is asked and answers
    controlled         a share's requests without a kernel, threads or a clock
    guests             what tests do from other processes, how they wait and expect failures
    acting             somebody else, in this very process: other users of the guest
    users              somebody else, in processes of their own
    nobody             an ordinary user, and what it can do
    swapping           a user of the host who changes names between any two system calls
    objects            files of every kind to look at, and the calls that Python lacks
    mounted            mounts of tests' own, taken away again
    remains            what is left of a share whose server has ended
    listening          programs that people watch files with
    syncing            keeps sync(2) away from shares that hold changes

Programs

    clinging_server    a server whose kernel refuses what keeps its threads apart from /dev/fuse
    disorderly_server  a server that breaks the rule of order
    checked_server     a server that ends when the state of what is pending contradicts itself
    curious_writer     the process of a host writer that tries to import what it should not
    dying_writer       the process of a host writer, killed before its n-th step
    dying_server       a server that is killed before its n-th step
    faulty_server      a server with a bug in a request, in an idle task and in a call of its own
    frugal_server      a server that may have few descriptors
    hasty_server       a server that says too early that the guest was told of everything
    numbering_server   a server that tells the host's objects by their inode numbers alone
    slow_server        a server that answers in an hour
    waiting_server     a server whose slow writes wait until the test lets them go on
    storm              a guest that works in its directory until that is no more

Random work, and who judges it

    machines           how state machines of random operations are run
    scribbler          a guest that makes random changes, and knows what comes of them
    damaging           files that are damaged at random
    prefixes           whether the host's tree is one of the states that the guest's has been in
    crash_rules        what is to become of what two users did around a crash
    history_oracle     whether a history can be explained, by trying every order
    edit_oracle        what a host had when, by carrying its edits out one by one
    sequences          every short sequence of file operations, live and predicted
    broken_kernels     simulated kernels that break one rule of the caches each
    staleness_oracle   staleness, by going through all that the host had
    pretended_share    two directories that keep the rules of the contract, or break one
    deaf_share         a share that caches, and does not hear all

Things made by hand

    small_cases        a case of a test's own: its folder, and scripts
    benches            a comparison of samples, taken by the executor, with mounts of a test's own
    asking             a small case that asks for the same files all the time
    pairs              two directories to synchronize, and the engine between them
    sync_trees         small trees on the disk, as plain values
    traces             small traces, a line per request
    random_recordings   recordings at random, for two implementations to say the same of
    recordings         small recordings for predictions, and one run of them on a system
    statuses           statuses as a server tells them
    reporting          comparisons as a report gets them
    frontiers          comparisons under host edits
    reproducing        a tiny study, and samples for it
    project_scripts    a script of the project's as a module

How tests are run

    tiers              a plugin: each test's tier, from what it uses
    unit_guard         what a unit test may not do: mount, start a process, wait for the clock
    command            the command osxfs-sim, run as a user runs it
    complaints         how complaints are read and properties are run
    shuffled           a plugin: modules, and the tests of each, in an order of its own
"""

"""Predicts in virtual time what a workload would take on a share, without mounting one.

One recording of a share that caches nothing holds every question that a guest can ask
(recording.py). Each system answers a part of them: the guest's kernel out of its caches, the
share's guest side by what it knows, and the rest crosses. What decides is what decides in a
mounted share: the objects of model/. This package imports nothing of mount/, nor mount/ of it.

    recording        a trace as the questions that a guest asked, and what they tell of its tree
    dependencies     what each question had to wait for: a closed loop, as a graph
    schedule         when each question comes: an event at a time
    processors       shared by all who compute: the workload and the server of a live run
    machine          what a live run adds to a system: the emulator's own time
    guest_kernel     the caches of the guest's kernel: dentries, attributes and pages
    inode_locks      who has to wait in the guest's kernel before a request is sent
    permissions      of which objects the kernel has to know mode and owner, where it checks them
    pending_changes  what of the guest's changes is pending, and what is answered out of that
    background       writes them back, beside the requests
    share            what a share would answer, for how long that may be kept, and what it takes
    reference        a share in virtual time, slow and obvious: one question at a time
    columns          a recording as columns of integers, for what is compiled
    inferred         what those columns tell beyond themselves
    graph            what each question had to wait for, as arrays
    fast             a share in virtual time, compiled: what the reference says, sooner
    compiled         how functions are compiled, and where that is kept
    running          runs by the one or the other of the two
    prediction       what a recording comes to on several systems, beside the one-line model
    verification     what was predicted beside what was measured, with the error of each model
"""

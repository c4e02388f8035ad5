"""An adversary of shares: guests, hosts, a killer and a full disk on the same few names.

    actor       a process that does what it is told below a directory, and says what came of it
    moves       what the actors are told: drawn from a seed
    sides       what is seen of a tree, on the host or in the guest
    plans       what is done to which shares, by name
    expected    what must be there afterwards, for all names that only the guest has touched
    arena       a share between actors: rounds, kills, full disks, and what is judged after them
    seeded      servers with a bug each, which the judge must find

A round gives moves to some of the actors at once and waits for all answers. After some rounds the
host is flushed and both sides are compared. docs/write-back.md tells what is promised.
"""

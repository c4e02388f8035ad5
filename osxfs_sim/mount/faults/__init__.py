"""Bugs of real systems, made on purpose: each is laid over the seams of a share that has it.

What each stands for, and who had it, is in model/bugs.py; docs/museum.md shows them. A share
without bugs has none of these layers, and pays nothing.

chosen         chooses them by the names of a share's bugs
fault          what a fault may lie over
stale_size     V1  the size that the guest was shown stays what it is
lost_by_link   V2  who links a file gives it another number
one_spelling   V3  who has listed a directory knows it by that spelling only
two_locks      V4  who looks up a file that is open gets another inode of it
phantom        V5  what the host has removed cannot be opened, and is there
stale_content  V6  no open invalidates the pages that the guest has of a file
still_missing  V7  a name that was missing stays missing
false_create   V8  each removal is raised as a creation and a removal
descriptors    V9  a descriptor is held of each object that the guest's kernel knows
"""

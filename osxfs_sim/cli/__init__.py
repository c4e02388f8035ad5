"""The command ``osxfs-sim``; the only place that wires the parts together.

options     what several commands take: durations, rates, the options of a share
errors      a user's mistake becomes one line and a non-zero exit
share       mount, umount, status, flush, unwritten, drop-events
top         a share at this moment
profiles    the systems it can be
run         a case study, arm by arm
new_case    a case of one's own, made from a command
compare     a case under several arms, interleaved
frontier    policies under host edits: wall time against stale answers
arms        the words of an arm
progress    how far something long is
report      results as a page, as Markdown or as CSV
analyze     analyze, import-strace
events      what the guest hears of
staleness   how long each side sees what was
probing     a share for the time of these two
contract    the consistency contract, judged
museum      the bugs of real systems, shown and cured
edits       what the host changes while a case runs: edits list, record
histories   histories, check-history
completion  for the user's shell
clean       ``clean``: what osxfs-sim keeps and leaves on this machine, and what of it can go
measuring   takes the samples of a comparison and says how far it is: for compare and for
            reproduce
outputs     whether a file can be written, asked before anything is measured that it is to hold
reproduce   ``reproduce``: a published table, measured again and set beside what was published
saying      what a command says: the only place from which it writes to a terminal, besides
            tables
sync        ``sync``: how the two sides of a synchronized share stand, and going on after a halt
trust       what would be executed because a file says so is said first
"""

from osxfs_sim.cli.errors import main

__all__ = ["main"]

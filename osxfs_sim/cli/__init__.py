"""The command ``osxfs-sim``; the only place that wires the parts together.

options     what several commands take: durations, rates, the options of a share
errors      a user's mistake becomes one line and a non-zero exit
share       mount, umount, status, flush, unwritten, drop-events
top         a share at this moment
profiles    the systems it can be
run         a case study, arm by arm
new_case    a case of one's own, made from a command
compare     a case under several arms, interleaved
arms        the words of an arm
progress    how far something long is
report      results as a page, as Markdown or as CSV
analyze     analyze, import-strace
events      events, staleness
histories   histories, check-history
completion  for the user's shell
"""

from osxfs_sim.cli.errors import main

__all__ = ["main"]

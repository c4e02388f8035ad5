"""The command ``osxfs-sim``; the only place that wires the parts together.

options     what several commands take: durations, rates, the options of a share
errors      a user's mistake becomes one line and a non-zero exit
share       mount, umount, status, flush, unwritten, drop-events
completion  for the user's shell
top         a share at this moment
profiles    the systems it can be
run         a case study, arm by arm
analyze     analyze, import-strace
events      events, staleness
"""

from osxfs_sim.cli.errors import main

__all__ = ["main"]

"""The command ``osxfs-sim``; the only place that wires the parts together.

options     what several commands take: durations, rates, the options of a share
errors      a user's mistake becomes one line and a non-zero exit
share       mount, umount, status, flush, unwritten, drop-events
profiles    the systems it can be
run         a case study, arm by arm
analyze     analyze, import-strace
report      results as a page, as Markdown or as CSV
events      events, staleness
"""

from osxfs_sim.cli.errors import main

__all__ = ["main"]

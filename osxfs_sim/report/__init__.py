"""Results for reading: tables on a terminal, and reports as files.

console           where they are printed, and how they look
status            a running share
synchronization   its two sides, where it is synchronized
profiles          the systems it can be
runs              a case study's arms
frontier          the frontier in tables
comparison        several arms, with how sure one can be
predictions       what a recorded workload would take on other systems
verifications     predictions beside live runs: the error of each
trade_off         what each arm gained, and what that put at risk
risk              which answers were stale while the host was edited
coherence         the scorecard of events, and staleness
contract          the verdicts of the consistency contract
contents          what a report says of a comparison, in words and tables
latencies         target and observed, from the receipts' histograms
traces            which of a comparison's traces are analyzed
plots             a report's figures
page              the report as one HTML page
analysis          where the time of a trace went, on a terminal
csv               a report as CSV
frontier_picture  draws the frontier
labels            keeps a picture's labels apart
markdown          a report as Markdown
museum            the bug museum on a terminal: what there is, and one bug as it was shown
pictures          which figures a report has, and their alternative texts
reproduction      a published table beside ours: on a terminal, in Markdown, and as a picture
tables            the one table: on a terminal, in Markdown, as CSV; never cut
stale_curves      the picture of staleness: how likely a look shows the old state, against the
                  time since
timeline          the picture of a violation: who did what, what overlapped what, and what
                  nothing explains
top               a share at this moment, on a terminal: what ``top`` shows of each interval
"""

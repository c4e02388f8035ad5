"""Results for reading: tables on a terminal, and reports as files.

console    where they are printed, and how they look
status     a running share
synchronization  its two sides, where it is synchronized
profiles   the systems it can be
runs       a case study's arms
frontier   the frontier in tables; frontier_picture draws it, labels keeps its labels apart
comparison several arms, with how sure one can be
trade_off  what each arm gained, and what that put at risk
risk       which answers were stale while the host was edited
coherence  the scorecard of events, and staleness
contract   the verdicts of the consistency contract
contents   what a report says of a comparison, in words and tables
latencies  asked for and achieved, from the receipts' histograms
traces     which of a comparison's traces are analyzed
plots      its figures; pictures: which it has, and their alternative texts
page       the report as one HTML page; markdown, csv: as these
quantities numbers with their unit
"""

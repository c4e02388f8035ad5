"""Results for reading: tables on a terminal.

console    where they are printed, and how they look
status     a running share
profiles   the systems it can be
runs       a case study's arms
comparison several arms, with how sure one can be
trade_off  what each arm gained, and what that put at risk
coherence  the scorecard of events, and staleness
"""

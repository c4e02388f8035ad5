"""Reproducible workloads under different configurations.

arms       what a comparison compares
caches     what the host's caches hold when a run begins
cases      a workload as a folder: what it needs, how it is set up and run
compare    several arms in random order, sample by sample
frontier   time against stale answers: who is beaten, who is best
sweep      the arms of a frontier, as a file
false_alarms  how often an arm would differ from itself
machine    what a result was obtained on
resume     whether a comparison may go on
results    the format of a comparison's document
risk       runs under edits of the host, and what their answers were worth
runs       a case, arm by arm, and what came out
statistics how sure one can be of a time, and of a difference
summary    what a comparison says, arm by arm
"""

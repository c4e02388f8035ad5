"""Reproducible workloads under different configurations.

arms       what a comparison compares
cases      a workload as a folder: what it needs, how it is set up and run
compare    several arms in random order, sample by sample
machine    what a result was obtained on
results    the format of a comparison's document
runs       a case, arm by arm, and what came out
statistics how sure one can be of a time, and of a difference
summary    what a comparison says, arm by arm
"""

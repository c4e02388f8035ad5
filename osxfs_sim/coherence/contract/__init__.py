"""The consistency contract as checks: each rule is judged on a share with real processes.

rules      the rules in our own words, which modes obey them, and what they refer to
schedules  a schedule of steps and what its outcomes must be: pure
kinds      the kinds of change that schedules are made of, and how each is read
checks     the schedules of each rule, and where it does not apply
verdicts   kept, broken, inconclusive, undecided, not applicable: values
playing    has schedules played from the shortest on, and comes to a verdict
breaches   a verdict's schedule as a script that can be run again
"""

"""Reproducible workloads under different configurations.

arms              what a comparison compares
caches            what the host's caches hold when a run begins
cases             a workload as a folder: what it needs, how it is set up and run
compare           several arms in random order, sample by sample
frontier          time against stale answers: who is beaten, who is best
sweep             the arms of a frontier, as a file
false_alarms      how often an arm would differ from itself
machine           what a result was obtained on
resume            whether a comparison may go on
results           the format of a comparison's document
risk              runs under edits of the host, and what their answers were worth
runs              a case, arm by arm, and what came out
statistics        how sure one can be of a time, and of a difference
summary           what a comparison says, arm by arm
dilation          time dilation as a measuring instrument: wall time = processor time + K x
                  waiting time
judgement         whether a run's time is that of its share: what a receipt can, and cannot,
                  say of it
new_case          the text of a new case, made from a command: files as strings, nothing written
originals         whether a folder is as it was when a case's tree was copied from it
reproduction      a published table, measured again: which arms that takes, and what they say
                  about it
result_shapes     the shape of results: every field that anybody reads, checked when a file is
                  loaded
shapes            what a saved document must look like, told before anybody works with it
studies           the studies that come along
study             a study: a published table to be measured again, as a file
sweeps            the sweeps that come along
tree_digest       what a tree holds, line by line, to be compared with another's
work_directories  the directories that a lab works in: its own as long as it lives, and
                  cleaned up after it
"""

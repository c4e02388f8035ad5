"""Benchmarks of the emulator itself: what it costs, and whether it keeps its word.

    python -m bench [NAME...] [--quick] [--output DIR]

README.md says what each measures and how to read it. A map:

    floor latency sequential small_writes listing control idle inodes
                 the benchmarks: each a function measure(quick) that returns plain values
    targets      what the results are held against: pure
    clients      the small C client that time is measured from
    passthroughs file systems in C, to compare the floor with
    scratch      directories, mounts and processes, cleaned up whatever happens
    figures      percentiles and histograms
    machine      what it was measured on
    results      saving
    tables       printing
"""

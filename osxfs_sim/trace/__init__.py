"""What was asked of a share, request by request, and where the time went.

errors       what can be wrong with a trace
answers      who answered a request
format       the columns of a trace, and reading and writing one
recorder     writes one while requests are served
requests     the rows that count for an analysis, as numpy columns
attribution  the wall time divided among requests that overlap
causes       what ideal caches and write-back would have spared
analysis     a trace's time attributed to operations, places, programs and causes
strace       a trace made of a strace log; strace_lines reads its lines,
             strace_state keeps what it does not say again
"""

"""The requests to a share, one by one, and where the time went.

answers       what answered a request
errors        what is wrong with a trace
format        the columns of a trace, and reading and writing one
recorder      writes one while requests are served
strace        makes one of a log of strace's
strace_lines  reads such a log's lines
strace_state  what a log's processes have open, and where they are
requests      the rows that count for an analysis, as numpy columns
attribution   the wall time divided among requests that overlap
causes        what ideal caches and write-back would have spared
analysis      a trace's time attributed to operations, places, programs and causes
files         the files that a trace is written to: whose they are, and what they take the
              place of
said          what one answer said of its object, and what was opened by it
outcome       what became of a trace whose share has ended, in one line if anything is wrong
              with it
schema        the columns of a trace, and the header that is true of the whole of it
stream        the format of a recording: whatever ends it, all of it until then can be read
"""

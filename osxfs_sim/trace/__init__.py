"""What was asked of a share, request by request, and where the time went.

format     the columns of a trace, and reading and writing one
analysis   a trace's time attributed to operations, places, programs and causes
"""

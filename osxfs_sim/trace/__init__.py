"""What was asked of a share, request by request, and where the time went.

answers    who answered a request
format     the columns of a trace, and reading and writing one
recorder   writes one while requests are served
analysis   a trace's time attributed to operations, places, programs and causes
"""

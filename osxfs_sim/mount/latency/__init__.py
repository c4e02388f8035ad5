"""What a round trip costs, and what it did cost.

crossings    prices a request, holds its reply until it is due, writes the receipt
receipt      target against observed latency, of every class
calibration  what lies outside the server's own clock, measured at mount
prober       the client that calibration measures with: a process of its own
"""

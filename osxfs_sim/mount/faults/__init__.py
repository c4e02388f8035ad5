"""Bugs of real systems, made on purpose (docs/museum.md).

bugs  those of model/bugs, laid over the handlers and the host's events
"""

"""The bug museum: bugs of real systems as something that can be seen, and seen cured.

exhibits  each bug of model/bugs as a schedule: what is told with it, and cured
"""

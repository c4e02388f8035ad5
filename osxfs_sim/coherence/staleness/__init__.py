"""How long one side goes on reading an old state, in both directions.

views        the ways to see a file: its existence, its content, a mapping of it ...
predictions  how stale each may be, and whether what was measured agrees: pure
measure      changes, then reads until the change is visible
curves       how likely a read is stale, over time, with a band: pure
predicted    the curve that a prediction draws, and whether the band meets it: pure
saved        all of it as a document, and back: pure
loading      keeps the share busy meanwhile, by processes
load         one of these
"""

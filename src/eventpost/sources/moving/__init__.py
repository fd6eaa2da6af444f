"""Moving a queue: every message of one queue into another, each deleted only after it arrived.

Layer: sources. `parcels` decides what is sent for a message, `account` and `journal` keep the
books, `ending` decides when the queue is empty; all of them are pure but for the journal's file.
`mover` makes the calls.
"""

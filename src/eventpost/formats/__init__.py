"""Every wire format, as pure functions between bytes and values (layer: formats, above core).

Nothing here opens a socket or a file, reads a clock or draws a random number.
"""

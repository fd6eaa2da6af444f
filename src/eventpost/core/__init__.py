"""The pure middle of eventpost: values, decisions and the interfaces around them.

Nothing here opens a socket or a file, reads a clock or draws a random number.
"""

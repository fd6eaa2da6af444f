"""The engine: publish, route, lanes, ladder, dead letters. Holds no socket, file or thread.

Everything runs on one thread in callbacks of the clock and the store, so nothing here locks.
"""

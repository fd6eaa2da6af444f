"""The pytest plug-in: a real event grid inside the test's process, as fixtures.

Layer `testing`. Installed with eventpost and found by pytest through its entry point.
"""

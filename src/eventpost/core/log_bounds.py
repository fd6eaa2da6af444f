"""The bounds of the logs, in one place for the settings and for what writes them."""

LINE_CHARS_MAX = 4_000
"""Bound of one line; fields that do not fit are left out, and `truncated` says so."""
WAITING_MAX = 10_000
"""Lines that wait for a slow output; above it they are dropped and counted."""
SAID_MAX = 20
"""Records of one event name and subscription in one window."""
WINDOW_S = 60.0
KEYS_MAX = 10_000
"""Windows kept at once; further subscriptions share one window per event name. Event names are
stable, so there are few."""

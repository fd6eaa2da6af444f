"""Bounds of sources beside those of the lease engine, by name. Each is a setting."""

import msgspec


class SourceLimits(msgspec.Struct, frozen=True, kw_only=True):
    page_max: int = 100
    """Messages that one source makes events of before other work gets its turn."""
    page_bytes_max: int = 1024 * 1024
    """The same in bytes, by the size of the messages before."""
    hold_s_min: float = 0.5
    """The first pause of a source whose messages the store did not take; it doubles."""
    hold_s_max: float = 10.0
    open_s_min: float = 1.0
    """The first pause of a source whose queue could not be opened; it doubles."""
    open_s_max: float = 60.0
    forget_s: float = 1.0
    """How often it is looked which messages are confirmed to be gone from their queues."""
    drain_s: float = 10.0
    """How long a source that is stopped waits until what it took is settled."""

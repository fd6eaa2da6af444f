"""The bounds of the management API, by name."""

import msgspec


class ApiLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one management request may ask for."""

    body_bytes_max: int = 1_048_576
    """Body of a management request; beyond it 413."""
    publish_bytes_max: int = 1_536_000
    """Body that carries events, as on the data plane."""
    stream_idle_s: float = 15.0
    """After this long without news an endless stream sends an empty line, so that a caller that
    went away is noticed and proxies keep the connection."""

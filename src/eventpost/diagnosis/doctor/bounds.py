"""How long the doctor waits for each thing, so that a ladder ends in time even when all hangs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Seconds. What a firewall drops takes as long as these say, and no longer."""

    name_s: float = 4.0
    connect_s: float = 3.0
    answer_s: float = 3.0


BOUNDS = Bounds()
CLOCK_SKEW_S_MAX = 120.0
"""AWS bears 5 minutes, tokens of Entra as many; a clock that is off by 2 will get there."""
EXPIRY_WARNING_S = 14 * 86_400.0
"""A certificate that ends sooner is told of."""
CREDENTIALS_WARNING_S = 900.0
"""Credentials that nobody renews and that end sooner are told of."""

"""The client's bounds, each with its name and its reason.

Layer: http.
"""

from dataclasses import dataclass

from eventpost.http import descriptors

CONNECTIONS_MAX_DEFAULT = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Bounds of the HTTP client. Times in seconds.

    `idle_s_max` lies below the 60 s of usual load balancers, so that they seldom close first.
    """

    name_s_max: float = 5.0
    """Time for looking up one name."""
    connect_s_max: float = 10.0
    """Time for connecting, all addresses of a name together; again for a proxy's tunnel."""
    tls_s_max: float = 10.0
    """Time for the TLS handshake."""
    idle_s_max: float = 50.0
    """How long a connection is kept unused; a peer's `Keep-Alive: timeout` shortens it."""
    connections_max: int | None = None
    """Connections of the whole client; by default a share of the process's file descriptors, at
    most 4,096."""
    connections_per_origin_max: int = 1_024
    """Connections to one scheme, host and port."""
    openings_per_origin_max: int = 8
    """Connections being opened at once to one origin, so that a burst opens what it needs."""
    addresses_max: int = 4
    """Addresses of one name that are tried in turn."""
    answer_head_bytes_max: int = 32_768
    """Status line and headers of an answer, interim answers included."""
    answer_body_bytes_kept_max: int = 8_192
    """How much of an answer's body is looked at."""
    answer_body_bytes_read_max: int = 65_536
    """A longer body is not waited for: the answer counts, its connection is closed."""
    interim_answers_max: int = 16
    """1xx answers before the final one."""
    token_fetches_max: int = 8
    """Tokens of Microsoft Entra that are asked for at the same time, each for another audience."""
    token_renew_s: float = 300.0
    """So long before its end a token is renewed, but not before half of its life is over."""
    token_renew_retry_s: float = 30.0
    """After a renewal in vain, while the token is good: the next try waits so long."""
    token_retry_s: float = 1.0
    """The same when there is no good token; it doubles with each failure in a row."""
    token_retry_s_max: float = 60.0
    """What that pause grows to."""
    token_retry_after_s_max: float = 3_600.0
    """The longest `Retry-After` that is kept, when whoever issues tokens asks for one."""
    sweep_s: float = 0.25
    """How often deadlines are looked at."""

    @property
    def waiting_s_max(self) -> float:
        """How long a request waits for a connection."""
        return self.name_s_max + 2 * self.connect_s_max + self.tls_s_max


def connections_max(limits: ClientLimits) -> int:
    """How many connections this process may hold, from RLIMIT_NOFILE unless set."""
    return descriptors.share(limits.connections_max, CONNECTIONS_MAX_DEFAULT)

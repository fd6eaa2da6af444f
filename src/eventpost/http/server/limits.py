"""Every bound of the HTTP server in one frozen object.

Layer: http.
"""

from dataclasses import dataclass

from eventpost.http import descriptors

CONNECTIONS_MAX_DEFAULT = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds of one `HttpServer`.

    Times are looked at by a coarse sweep (`sweep_s`): none ends early, and each may end up to two
    sweeps late.
    """

    head_bytes_max: int = 32 * 1024
    """Request line and header lines, without needless spaces; beyond it 431."""
    url_bytes_max: int = 8 * 1024
    """Request target with its query; beyond it 414."""
    header_count_max: int = 100
    """Header lines of one request; beyond it 431."""
    head_s: float = 10.0
    """From the first byte of a request to the end of its head, then 408; also how long a new
    connection may say nothing, and a TLS handshake take (closed without an answer)."""

    body_bytes_max: int = 1_536_000
    """Body of one request, as Event Grid has it; beyond it 413."""
    body_stall_s: float = 30.0
    """Without a byte of a body that was announced; then 408."""
    chunk_overhead_bytes_max: int = 16 * 1024
    """Chunk extensions and trailers of one request; beyond it 400."""
    bodies_bytes_max: int = 256 * 1024 * 1024
    """Unfinished bodies in memory, all connections together; a request beyond it gets 503."""
    stream_bytes_max: int = 64 * 1024
    """Body bytes kept for an ASGI application that does not read; then reading pauses."""

    pipelined_max: int = 64
    """Requests of one connection that wait for their answers; then reading pauses. One read may
    bring some more, at most what 64 KiB hold."""
    held_bytes_max: int = 64 * 1024
    """Bytes read but not looked at while an ASGI request is under way; then reading pauses."""
    write_bytes_max: int = 64 * 1024
    """Answer bytes kept for a client that does not read; then reading from it pauses."""
    write_stall_s: float = 30.0
    """A client that takes none of its waiting answer bytes for so long is dropped."""

    idle_s: float = 75.0
    """Between two requests of a connection; then it is closed."""
    idle_when_full_s: float = 5.0
    """Takes the place of `idle_s` while `connections_max` is reached, also for a connection that
    has not said anything yet."""
    linger_s: float = 10.0
    """How long the rest of a refused request is read over, so that the client sees the answer."""
    linger_bytes_max: int = 16 * 1024 * 1024
    """How much of it is read over."""

    connections_max: int | None = None
    """Open connections, TLS handshakes included; further ones wait unaccepted in the backlog. By
    default a share of the process's file descriptors, at most 4,096."""
    backlog: int = 1024
    accept_pause_s: float = 0.25
    """How long accepting rests when the system has no descriptors or memory left."""
    drain_timeout_s: float = 30.0
    """How long `drain` waits for requests under way."""

    @property
    def sweep_s(self) -> float:
        """Time between two looks at all connections: a quarter of the shortest, at most 1 s."""
        times = (self.head_s, self.body_stall_s, self.write_stall_s, self.linger_s)
        return min(1.0, min(*times, self.idle_s, self.idle_when_full_s) / 4)


def connections_max(limits: HttpLimits) -> int:
    """How many connections this process may hold, from RLIMIT_NOFILE unless set."""
    return descriptors.share(limits.connections_max, CONNECTIONS_MAX_DEFAULT)

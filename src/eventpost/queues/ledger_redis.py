"""A ledger in Redis, which hosts share. How durable it is, the server's settings say: `risks`.

Layer: queues. The client library is redis-py, imported here and nowhere else, on first use.

Two sorted sets hold members `QUEUE:ID` by the second at which they were finished, or settled: what
waits to be settled, and what need not be known for long. Both are in one slot of a cluster.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import TYPE_CHECKING, TypeVar

from eventpost.core.errors import InvalidRequest
from eventpost.diagnosis import codes
from eventpost.queues import ledger_url
from eventpost.queues.kinds import need_library
from eventpost.queues.ledger_link import Link
from eventpost.queues.ledger_refusals import FAILED, FORBIDS, of_network, of_redis, refusal
from eventpost.queues.ledger_rows import Entry, LedgerError, LedgerLimits, Risk

if TYPE_CHECKING:
    from redis import Redis

PORT = 6379
REPLICAS_MAX = 100
TLS = "rediss"

T = TypeVar("T")


def redis_place(url: str) -> "RedisPlace":
    """Opens nothing. Raises InvalidRequest."""
    need_library("A ledger in Redis", "redis", "redis")
    server = ledger_url.server(url, PORT, ("wait_replicas", "ssl_ca_certs"))
    if server.user and not server.password:
        raise ledger_url.half(
            "The ledger's URL names a user for Redis, and no password.",
            "Give redis://USER:PASSWORD@HOST/0, or redis://HOST/0 where nobody needs one.",
        )
    if server.database and not (server.database.isascii() and server.database.isdigit()):
        raise InvalidRequest(
            "LedgerUrlInvalid",
            f"Redis has no database {server.database[:64]!r}.",
            fix="Its databases are numbers: redis://HOST/0.",
        )
    return RedisPlace(server, ledger_url.number(server.options, "wait_replicas", REPLICAS_MAX))


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Two keys in a database."""

    server: ledger_url.Server
    wait_replicas: int = 0
    """So many replicas must have what is finished, before it is."""

    @property
    def name(self) -> str:
        return self.server.shown

    def open(self, limits: LedgerLimits) -> "RedisRows":
        return RedisRows(self, limits)

    def connect(self, answer_s: float) -> "Redis":
        """Raises what the library raises."""
        from redis import Redis

        server = self.server
        client = Redis(
            host=server.host,
            port=server.port,
            db=int(server.database or "0"),
            username=server.user or None,
            password=server.password or None,
            socket_timeout=answer_s,
            socket_connect_timeout=answer_s,
            socket_keepalive=True,
            retry=None,  # type: ignore[arg-type]  # which its connections take for none
            decode_responses=True,
            protocol=2,
            ssl=server.scheme == TLS,
            ssl_ca_certs=server.options.get("ssl_ca_certs"),
        )
        try:
            client.ping()
        except BaseException:
            _end(client)
            raise
        return client


@dataclass(slots=True)
class RedisRows:
    """Two connections: one writes, one reads."""

    place: RedisPlace
    limits: LedgerLimits
    _risks: list[Risk] = field(default_factory=list)
    _pending: str = field(init=False)
    _settled: str = field(init=False)
    _writer: "Link[Redis]" = field(init=False)
    _reader: "Link[Redis]" = field(init=False)

    def __post_init__(self) -> None:
        name = self.place.server.name
        self._pending, self._settled = f"{{{name}}}:pending", f"{{{name}}}:settled"
        self._writer, self._reader = self._link(), self._link()
        try:
            self._call(self._writer, self._prepare)
        except LedgerError:
            self.close()
            raise

    def write(self, finished: Sequence[Entry], settled: Sequence[Entry], now_s: float) -> None:
        """One transaction. It is as durable as the server's settings make it, and in as many
        replicas as the URL says, or this raises."""
        done, gone = _members(finished), _members(settled)

        def write(server: "Redis") -> None:
            with server.pipeline(transaction=True) as commands:
                if done:
                    commands.zadd(self._pending, dict.fromkeys(done, now_s))
                    commands.zrem(self._settled, *done)
                if gone:
                    commands.zrem(self._pending, *gone)
                    commands.zadd(self._settled, dict.fromkeys(gone, now_s))
                commands.execute()
            self._wait_for_replicas(server)

        self._call(self._writer, write)

    def known(self, queue: str, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        members = _members((queue, one) for one in ids)

        def known(server: "Redis") -> list[list[float | None]]:
            with server.pipeline(transaction=False) as commands:
                commands.zmscore(self._pending, members)
                commands.zmscore(self._settled, members)
                return commands.execute()

        pending, settled = self._call(self._reader, known)
        return {
            one
            for one, waits, went in zip(ids, pending, settled, strict=True)
            if waits is not None or went is not None
        }

    def trim(
        self, *, settled_before_s: float, before_s: float, rows_max: int, count_max: int
    ) -> tuple[int, int]:
        def trim(server: "Redis") -> tuple[int, int]:
            _forget_older(server, self._settled, settled_before_s, count_max)
            _forget_older(server, self._pending, before_s, count_max)
            count, forgotten = self._count(server), 0
            for key in (self._settled, self._pending):
                over = min(count_max, count - rows_max)
                forgotten = int(server.zremrangebyrank(key, 0, over - 1)) if over > 0 else 0
                count -= forgotten
            return count, forgotten

        return self._call(self._writer, trim)

    def count(self) -> int:
        return self._call(self._writer, self._count)

    def risks(self) -> Sequence[Risk]:
        return self._risks

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    # --- inside -----------------------------------------------------------------------------------

    def _link(self) -> "Link[Redis]":
        return Link(lambda: self.place.connect(self.limits.answer_s), _end, _is_broken, _is_stale)

    def _call(self, link: "Link[Redis]", work: "Callable[[Redis], T]") -> T:
        from redis.exceptions import RedisError

        try:
            return link.call(work)
        except (RedisError, OSError) as error:
            word = _word(error)
            if word:
                raise of_redis(self.place.name, word, _said(error)) from error
            raise of_network(self.place.name, error) from error

    def _prepare(self, server: "Redis") -> None:
        """See that both keys are ours or free, and that they can be written: nothing is, here."""
        from redis.exceptions import OutOfMemoryError

        for key in (self._pending, self._settled):
            server.zmscore(key, ["-"])
            # Even without room it can say what is finished.
            with suppress(OutOfMemoryError):
                server.zadd(key, {"-": 0.0}, xx=True)
        if str(server.info("replication").get("role")) != "master":
            raise refusal(FORBIDS, self.place.name, "it is a replica")
        self._risks = self._found_risks(server)

    def _wait_for_replicas(self, server: "Redis") -> None:
        wanted = self.place.wait_replicas
        if not wanted:
            return
        # A little less than the connection waits for the answer.
        count = int(server.wait(wanted, max(1, int(self.limits.answer_s * 800))))
        if count < wanted:
            why = f"{count} of {wanted} replicas have what was written"
            raise refusal(FAILED, self.place.name, why)

    def _count(self, server: "Redis") -> int:
        return int(server.zcard(self._pending)) + int(server.zcard(self._settled))

    def _found_risks(self, server: "Redis") -> list[Risk]:
        name, found = self.place.name, []
        if not self.place.wait_replicas:
            lost = _what_is_lost(server)
            if lost:
                fix = "Set appendonly yes and appendfsync always, or give ?wait_replicas=1."
                found.append(Risk(codes.LEDGER_FORGETS, f"The ledger {name} {lost}.", fix))
        memory = server.info("memory")
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if int(memory.get("maxmemory", 0)) and policy.startswith("allkeys"):
            what = f"The ledger {name} may be thrown away for want of memory ({policy})."
            fix = "Set maxmemory-policy noeviction, or keep the ledger on another server."
            found.append(Risk(codes.LEDGER_FORGETS, what, fix))
        return found


def _what_is_lost(server: "Redis") -> str:
    """When the server or its machine dies; empty where nothing is."""
    from redis.exceptions import ResponseError

    if not int(server.info("persistence").get("aof_enabled", 0)):
        return "forgets all since its last snapshot when the server ends (appendonly no)"
    try:
        sync = str(server.config_get("appendfsync").get("appendfsync", ""))
    except ResponseError as error:
        return f"does not say when it syncs to disk ({_said(error)})"
    if sync != "always":
        return f"may forget the last seconds when its machine fails (appendfsync {sync})"
    return ""


def _forget_older(server: "Redis", key: str, before_s: float, count_max: int) -> None:
    """The oldest, about so many: up to the age of the last one of them."""
    limit = f"({before_s!r}"
    last = server.zrangebyscore(key, "-inf", limit, start=count_max - 1, num=1, withscores=True)
    server.zremrangebyscore(key, "-inf", repr(last[0][1]) if last else limit)


def _members(entries: Iterable[Entry]) -> list[str]:
    return [f"{_short(queue)}:{one}" for queue, one in entries]


def _short(queue: str) -> str:
    """An identity may be a long address."""
    return blake2s(queue.encode(), digest_size=8).hexdigest()


def _end(server: "Redis") -> None:
    server.close()
    server.connection_pool.disconnect()


def _word(error: Exception) -> str:
    """The one with which the server's answer began: the library takes it off most of them. Empty
    when no answer came."""
    from redis import exceptions

    words: list[tuple[type[Exception], str]] = [
        (exceptions.AuthenticationError, "WRONGPASS"),
        (exceptions.BusyLoadingError, "LOADING"),
        (exceptions.MasterDownError, "MASTERDOWN"),
        (exceptions.NoPermissionError, "NOPERM"),
        (exceptions.ReadOnlyError, "READONLY"),
        (exceptions.ResponseError, _said(error).partition(" ")[0] or "ERR"),
    ]
    if "max number of clients" in str(error):
        return "MAXCLIENTS"
    return next((word for kind, word in words if isinstance(error, kind)), "")


def _said(error: Exception) -> str:
    return str(error)[:500]


def _is_broken(error: Exception) -> bool:
    """What a server says about a command, it says over a connection that works."""
    from redis.exceptions import ResponseError

    return not isinstance(error, ResponseError)


def _is_stale(error: Exception) -> bool:
    """A silence is waited for once."""
    from redis.exceptions import ConnectionError as Broken

    return isinstance(error, Broken)

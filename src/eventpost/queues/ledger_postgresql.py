"""A ledger in PostgreSQL, which hosts share. Committed means synced by the server.

Layer: queues. The client library is pg8000, imported here and nowhere else, on first use.
"""

import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from eventpost.diagnosis import codes
from eventpost.queues import ledger_url
from eventpost.queues.kinds import need_library
from eventpost.queues.ledger_link import Link
from eventpost.queues.ledger_refusals import FORBIDS, OTHER, of_postgresql, refusal
from eventpost.queues.ledger_rows import Entry, LedgerError, LedgerLimits, Risk

PORT = 5432
SSL_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
MARK = "A ledger of eventpost, version 1."
"""The comment on its table: what tells it from a table of somebody else."""
GOODBYE_S = 0.1
LOCK = 0x45504C47  # "EPLG": who makes tables, one at a time
TLS_WANTED = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

_MAKE = """
CREATE TABLE {name}_queue (
    queue_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity text NOT NULL UNIQUE
);
CREATE TABLE {name} (
    queue_id integer NOT NULL,
    message_id text NOT NULL,
    finished_s bigint NOT NULL,
    is_settled boolean NOT NULL DEFAULT false,
    PRIMARY KEY (queue_id, message_id)
);
CREATE INDEX {name}_by_age ON {name} (is_settled, finished_s);
COMMENT ON TABLE {name} IS '{mark}';
"""
_FOUND = """
SELECT obj_description(to_regclass('{name}'), 'pg_class'),
    (SELECT CAST(relpersistence AS text) FROM pg_class WHERE oid = to_regclass('{name}')),
    to_regclass('{name}') IS NOT NULL
"""
_STATE = """
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
    current_setting('fsync'), current_setting('full_page_writes')
"""
_QUEUE = """
WITH made AS (
    INSERT INTO {name}_queue (identity) VALUES (:identity)
    ON CONFLICT DO NOTHING RETURNING queue_id
)
SELECT queue_id FROM made UNION ALL
SELECT queue_id FROM {name}_queue WHERE identity = :identity LIMIT 1
"""
# Rows in their order, so that two hosts that write the same ones wait for each other, and never
# both.
_FINISH = """
INSERT INTO {name} (queue_id, message_id, finished_s)
SELECT queue_id, message_id, CAST(:now_s AS bigint)
FROM unnest(CAST(:queues AS integer[]), CAST(:ids AS text[])) AS given (queue_id, message_id)
ORDER BY 1, 2
ON CONFLICT (queue_id, message_id)
DO UPDATE SET finished_s = excluded.finished_s, is_settled = false
"""
_SETTLE = """
WITH held AS (
    SELECT queue_id, message_id FROM {name}
    WHERE (queue_id, message_id) IN (
        SELECT * FROM unnest(CAST(:queues AS integer[]), CAST(:ids AS text[]))
    ) ORDER BY 1, 2 FOR UPDATE
)
UPDATE {name} SET is_settled = true FROM held
WHERE {name}.queue_id = held.queue_id AND {name}.message_id = held.message_id
"""
_KNOWN = """
SELECT message_id FROM {name}
WHERE queue_id = (SELECT queue_id FROM {name}_queue WHERE identity = :identity)
AND message_id = ANY(CAST(:ids AS text[]))
"""
# By the index by age, oldest first; what another host is trimming is left to it.
_TRIM = """
DELETE FROM {name} WHERE (queue_id, message_id) IN (
    SELECT queue_id, message_id FROM {name}
    WHERE is_settled = :is_settled AND finished_s < :before_s
    ORDER BY finished_s LIMIT :count_max FOR UPDATE SKIP LOCKED
)
"""
FOR_EVER = 2**62

T = TypeVar("T")


def postgresql_place(url: str) -> "PostgresqlPlace":
    """Opens nothing. Raises InvalidRequest."""
    need_library("A ledger in PostgreSQL", "pg8000", "postgresql")
    server = ledger_url.server(url, PORT, ("sslmode", "sslrootcert"))
    if not server.user:
        raise ledger_url.half(
            "The ledger's URL names no user for PostgreSQL.",
            "Give postgresql://USER:PASSWORD@HOST/DATABASE.",
        )
    ledger_url.one_of(server.options, "sslmode", SSL_MODES, "prefer")
    return PostgresqlPlace(server)


@dataclass(frozen=True, slots=True)
class PostgresqlPlace:
    """Tables in a database, by default in the one that is called as the user."""

    server: ledger_url.Server

    @property
    def name(self) -> str:
        return self.server.shown

    def open(self, limits: LedgerLimits) -> "PostgresqlRows":
        return PostgresqlRows(self, limits)

    def connect(self, answer_s: float) -> "Session":
        """Raises what the library raises, and OSError."""
        server = self.server
        plain = socket.create_connection((server.host, server.port), answer_s)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            plain = self._wrapped(plain)
            return Session(server, plain)
        except BaseException:
            _let_go(plain)
            raise

    def _wrapped(self, plain: socket.socket) -> socket.socket:
        """Under TLS as `sslmode` says, with the words of PostgreSQL's own clients."""
        options = self.server.options
        mode = options.get("sslmode", "prefer")
        if mode == "disable":
            return plain
        plain.sendall(TLS_WANTED)
        if plain.recv(1) == b"S":
            context = ssl.create_default_context(cafile=options.get("sslrootcert"))
            context.check_hostname = mode == "verify-full"
            if not mode.startswith("verify"):
                context.verify_mode = ssl.CERT_NONE
            return context.wrap_socket(plain, server_hostname=self.server.host)
        if mode == "prefer":
            return plain
        raise ssl.SSLError(f"The server speaks no TLS, and sslmode is {mode}.")


class Session:
    """One connection, on which each statement is prepared once."""

    def __init__(self, server: ledger_url.Server, plain: socket.socket) -> None:
        from pg8000.native import Connection

        self._plain = plain
        self._name = server.name
        self._prepared: dict[str, Any] = {}
        self.row_count = 0
        self._connection = Connection(
            server.user,
            host=server.host,
            database=server.database or server.user,
            # None, where one is asked for, is more than the library can bear.
            password=server.password,
            application_name="eventpost ledger",
            ssl_context=False,
            sock=plain,
        )
        # A server, a database or a user may have it off. Whatever waits for more than the server's
        # own disk is left as it is.
        if self.say("SHOW synchronous_commit")[0][0] == "off":
            self.say("SET synchronous_commit = on")

    def say(self, statement: str) -> list[Any]:
        """One or several that take no words."""
        rows: list[Any] | None = self._connection.run(statement)
        return rows or []

    def run(self, statement: str, **words: object) -> list[Any]:
        """With the ledger's name in the place of `{name}`."""
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._connection.prepare(statement.format(name=self._name))
            self._prepared[statement] = prepared
        rows: list[Any] | None = prepared.run(**words)
        self.row_count = prepared._context.row_count
        return rows or []

    def end(self) -> None:
        """Say goodbye where that goes without waiting, and let go of the socket in any case: the
        library leaves it open when the goodbye fails."""
        from pg8000.exceptions import Error

        try:
            self._plain.settimeout(GOODBYE_S)
            self._connection.close()
        except (Error, OSError):
            pass
        finally:
            _let_go(self._plain)


@dataclass(slots=True)
class PostgresqlRows:
    """Two connections: one writes, one reads."""

    place: PostgresqlPlace
    limits: LedgerLimits
    _risks: list[Risk] = field(default_factory=list)
    _queue_ids: dict[str, int] = field(default_factory=dict)
    _writer: Link[Session] = field(init=False)
    _reader: Link[Session] = field(init=False)

    def __post_init__(self) -> None:
        self._writer, self._reader = self._link(), self._link()
        try:
            self._call(self._writer, self._prepare)
        except LedgerError:
            self.close()
            raise

    def write(self, finished: Sequence[Entry], settled: Sequence[Entry], now_s: float) -> None:
        """Each statement is a transaction: durable when it is answered. That something is settled
        need not be known in the same moment in which it is finished."""

        def write(server: Session) -> None:
            if finished:
                server.run(_FINISH, now_s=int(now_s), **self._given(server, finished))
            if settled:
                server.run(_SETTLE, **self._given(server, settled))

        self._call(self._writer, write)

    def known(self, queue: str, ids: Sequence[str]) -> set[str]:
        if not ids:
            return set()
        rows = self._call(
            self._reader, lambda server: server.run(_KNOWN, identity=queue, ids=list(ids))
        )
        return {row[0] for row in rows}

    def trim(
        self, *, settled_before_s: float, before_s: float, rows_max: int, count_max: int
    ) -> tuple[int, int]:
        def trim(server: Session) -> tuple[int, int]:
            self._forget(server, True, int(settled_before_s), count_max)
            self._forget(server, False, int(before_s), count_max)
            count, forgotten = self._count(server), 0
            for is_settled in (True, False):
                over = min(count_max, count - rows_max)
                if over > 0:
                    forgotten = self._forget(server, is_settled, FOR_EVER, over)
                    count -= forgotten
                else:
                    forgotten = 0
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

    def _link(self) -> Link[Session]:
        return Link(
            lambda: self.place.connect(self.limits.answer_s), Session.end, _is_broken, _is_stale
        )

    def _call(self, link: Link[Session], work: Callable[[Session], T]) -> T:
        from pg8000.exceptions import Error

        try:
            return link.call(work)
        except (Error, OSError, EOFError) as error:
            raise of_postgresql(self.place.name, error) from error

    def _prepare(self, server: Session) -> None:
        """Make the tables, or see that they are ours; nothing but reading is needed for that."""
        is_read_only, fsync, pages = server.say(_STATE)[0]
        if is_read_only:
            raise refusal(FORBIDS, self.place.name, "it is a standby, or read-only")
        mark, kind, is_there = self._found(server)
        if not is_there:
            self._make(server)
            mark, kind, is_there = self._found(server)
        if mark != MARK:
            table = self.place.server.name
            why = f"the table {table} is something else, or of a newer version of eventpost"
            raise refusal(OTHER, self.place.name, why)
        self._risks = _risks(self.place.name, fsync, pages, kind)

    def _found(self, server: Session) -> tuple[str | None, str | None, bool]:
        mark, kind, is_there = server.run(_FOUND)[0]
        return mark, kind, is_there

    def _make(self, server: Session) -> None:
        server.say("BEGIN")
        try:
            server.say(f"SELECT pg_advisory_xact_lock({LOCK})")
            if not self._found(server)[2]:
                server.say(_MAKE.format(name=self.place.server.name, mark=MARK))
        except BaseException:
            server.say("ROLLBACK")
            raise
        server.say("COMMIT")

    def _given(self, server: Session, entries: Sequence[Entry]) -> dict[str, object]:
        """Each once: a statement may not touch a row twice."""
        rows = [(self._queue_id(server, queue), one) for queue, one in dict.fromkeys(entries)]
        return {"queues": [queue for queue, _ in rows], "ids": [one for _, one in rows]}

    def _queue_id(self, server: Session, identity: str) -> int:
        found = self._queue_ids.get(identity)
        while found is None:
            # Another host that makes the same one at this moment is seen by the next look.
            rows = server.run(_QUEUE, identity=identity)
            if rows:
                found = self._queue_ids[identity] = rows[0][0]
        return found

    def _forget(self, server: Session, is_settled: bool, before_s: int, count_max: int) -> int:
        words = {"is_settled": is_settled, "before_s": before_s, "count_max": count_max}
        server.run(_TRIM, **words)
        return server.row_count

    def _count(self, server: Session) -> int:
        return int(server.run("SELECT count(*) FROM {name}")[0][0])


def _risks(name: str, fsync: str, pages: str, kind: str | None) -> list[Risk]:
    fix = "Turn it on in the server's settings, or keep the ledger on another server."
    found = []
    for setting, value in (("fsync", fsync), ("full_page_writes", pages)):
        if value != "on":
            what = (
                f"{name} runs with {setting} = {value}: it may forget or damage what it committed"
            )
            found.append(Risk(codes.LEDGER_FORGETS, f"{what} when its machine fails.", fix))
    if kind == "u":
        what = f"The ledger's table in {name} is unlogged: it is empty after the server crashed."
        found.append(Risk(codes.LEDGER_FORGETS, what, "ALTER TABLE ... SET LOGGED"))
    return found


def _let_go(plain: socket.socket) -> None:
    number = plain.detach()
    if number >= 0:
        os.close(number)


def _is_broken(error: Exception) -> bool:
    """Whether nothing more comes over that connection; what a server says about a statement, it
    says over one that works."""
    from pg8000.exceptions import DatabaseError

    return not isinstance(error, DatabaseError) or _is_ended(error)


def _is_stale(error: Exception) -> bool:
    """A silence is waited for once."""
    return _is_broken(error) and not isinstance(error.__cause__ or error, TimeoutError)


def _is_ended(error: Exception) -> bool:
    said = error.args[0] if error.args else None
    return isinstance(said, dict) and str(said.get("C", "")).startswith(("57P", "08"))

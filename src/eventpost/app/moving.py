"""Moving a queue: from the words of a command to two queues, and the move between them.

It needs no server: connections are those of a configuration file.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from eventpost.app.queues import settings_of
from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.outcomes import Evidence, Failed, Stage
from eventpost.core.source_bounds import check_queue_name
from eventpost.core.sources import Connection, MessageFormat
from eventpost.diagnosis import codes
from eventpost.diagnosis.classify import classify, explain
from eventpost.formats import dramatiq
from eventpost.queues import kinds
from eventpost.queues.interfaces import Address, Measurable, Permitting, Queue, Rung
from eventpost.sources.moving import journal as journals
from eventpost.sources.moving.account import Account
from eventpost.sources.moving.limits import MoveLimits
from eventpost.sources.moving.mover import Mover
from eventpost.sources.moving.parcels import Lane, Manner
from eventpost.sources.moving.result import Result

RABBITMQ = "rabbitmq"
STATE_VARIABLE = "XDG_STATE_HOME"
NAME_CHARS_MAX = 80
LOOK_AGAIN_S = (0.5, 1.5)
_SOURCE_NEEDS = ("receive", "settle", "extend")
_TARGET_NEEDS = ("send",)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


class MoveRefused(EventpostError):
    """One of the queues cannot be used as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One queue, as the command names it."""

    connection: Connection
    system: str
    queue: str
    options: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.connection.name}/{self.queue}"

    def opened(
        self, services: kinds.Services, options: Mapping[str, object] | None = None
    ) -> Queue:
        """Connects to nothing yet. Raises InvalidRequest."""
        given = self.options if options is None else options
        address = Address(name=self.queue, options=given)
        return kinds.open_queue(self.system, settings_of(self.connection), address, services)

    @property
    def may_create(self) -> bool:
        return self.options.get("create") in (True, "auto")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be moved, and how."""

    source: End
    target: End
    format: MessageFormat = MessageFormat.RAW
    count_max: int | None = None
    rate_per_s: float | None = None
    drops_attributes: bool = False
    queue_name: str = ""
    is_base64: bool = False
    journal: Path | None = None
    limits: MoveLimits = field(default_factory=MoveLimits)
    services: kinds.Services = field(default_factory=kinds.Services)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One queue of a move: the one that was named, and for Dramatiq on RabbitMQ also the one that
    holds its delayed messages."""

    source: End
    count: int | None
    """About how many messages there are; None where that is not known."""


def end_of(
    text: str,
    connections: Mapping[str, Connection],
    options: Mapping[str, object],
    *,
    option: str,
) -> End:
    """The queue that `CONNECTION/QUEUE` means. Raises InvalidRequest."""
    name, slash, queue = text.partition("/")
    if not slash or not name or not queue:
        raise InvalidRequest(
            "InvalidAddress",
            f"{option} is {text[:80]!r}, and names no queue.",
            fix=f"Write {option} CONNECTION/QUEUE.",
        )
    connection = connections.get(name)
    if connection is None:
        known = ", ".join(sorted(connections)) or "none"
        raise InvalidRequest(
            "ConnectionNotFound",
            f"{option} names the connection {name[:80]!r}, which the file does not declare.",
            why=f"Declared there: {known}.",
            fix="Declare it under `connections:`, and name the file with --config.",
        )
    check_queue_name(queue)
    return End(
        connection=connection, system=_system_of(connection.kind), queue=queue, options=options
    )


def _system_of(connection_kind: str) -> str:
    """The queue system whose connections are of that kind. Raises InvalidRequest."""
    kinds.connection_class(connection_kind)
    lacking: InvalidRequest | None = None
    for system in kinds.systems():
        try:
            if connection_kind == kinds.queue_system(system).CONNECTION_KIND:
                return system
        except InvalidRequest as error:  # its library is missing; it may be the one
            lacking = lacking or error
    raise lacking or InvalidRequest(
        "NoQueues",
        f"A connection of the kind {connection_kind} has no queues.",
        fix=f"Use one of the kinds of {', '.join(kinds.systems())}.",
    )


class Moving:
    """One order, carried out. `begin` looks at both sides; `run` moves."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._mover: Mover | None = None
        self._is_stopping = False

    def begin(self) -> list[Leg]:
        """What there is to move. Takes and sends nothing.

        Raises InvalidRequest for what can never be, and MoveRefused, with the finding, for a queue
        that cannot be used.
        """
        order = self.order
        _check_format(order)
        source, target = (end.opened(order.services) for end in (order.source, order.target))
        try:
            _check_apart(order, source, target)
            _demand(order.source, source, "source")
            _demand(order.target, target, "target")
            _demand_rights(order.source, source, "source", _SOURCE_NEEDS)
            _demand_rights(order.target, target, "target", _TARGET_NEEDS)
            _check_apart(order, source, target)  # some know only now which account they are in
            legs = [Leg(source=order.source, count=_count(source))]
        finally:
            source.close()
            target.close()
        return legs + self._delayed()

    def run(
        self,
        legs: Iterable[Leg],
        show: Callable[[Account], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> list[Result]:
        """Move leg by leg; one result each, up to the first that did not come to its end.

        Raises JournalError when a journal cannot be used, before anything is taken.
        """
        results: list[Result] = []
        for leg in legs:
            result = self._run(leg, total(results), show, tell)
            results.append(result)
            if result.ended.is_early or self._is_stopping:
                break
        return results

    def stop(self) -> None:
        """Finish what is being sent, and end. From any thread, and from a signal's handler."""
        self._is_stopping = True
        if self._mover is not None:
            self._mover.stop()

    # --- within -----------------------------------------------------------------------------------

    def _delayed(self) -> list[Leg]:
        """The queue of delayed messages beside a queue of Dramatiq's on RabbitMQ, if there is
        one."""
        order = self.order
        name = order.source.queue
        is_beside = order.source.system == RABBITMQ and dramatiq.canonical(name) == name
        if order.format is not MessageFormat.DRAMATIQ or not is_beside:
            return []
        beside = replace(order.source, queue=dramatiq.delayed(name))
        queue = beside.opened(order.services)
        try:
            if any(rung.failed is not None for rung in queue.probe()):
                return []  # nothing was ever delayed there
            return [Leg(source=beside, count=_count(queue))]
        finally:
            queue.close()

    def _run(
        self, leg: Leg, done: Account, show: Callable[[Account], None], tell: Callable[[str], None]
    ) -> Result:
        """`done` are the books of the legs before."""
        order = self.order
        source, target = leg.source.opened(order.services), order.target.opened(order.services)
        try:
            for queue in (source, target):
                queue.probe()  # only then every system knows its identity to the end
            identity, traits = source.identity, target.traits
            path = order.journal or _journal_path(leg.source, order.target, identity)
            if order.journal is not None and leg.source is not order.source:
                path = path.with_name(f"{path.name}{dramatiq.DELAYED_SUFFIX}")
            journal = journals.opened(
                path, source=identity, target=f"{order.target.system}:{order.target}"
            )
        finally:
            source.close()
            target.close()
        self._mover = Mover(
            lambda: leg.source.opened(order.services),
            self._target,
            Manner(
                format=order.format,
                source=identity,
                target=traits,
                drops_attributes=order.drops_attributes,
                queue_name=order.queue_name,
                is_base64=order.is_base64,
            ),
            journal,
            limits=order.limits,
            count_max=None if order.count_max is None else order.count_max - done.moved,
            rate_per_s=order.rate_per_s,
            classify=classify,
            show=lambda now: show(done + now),
            tell=tell,
        )
        if self._is_stopping:
            self._mover.stop()
        return self._mover.run()

    def _target(self, lane: Lane) -> Queue:
        target = self.order.target
        if lane is Lane.DELAYED:
            target = replace(target, queue=dramatiq.delayed(target.queue))
        return target.opened(self.order.services)


def total(results: Iterable[Result]) -> Account:
    """The books of all legs together."""
    return sum((each.account for each in results), Account())


def refused(end: End, evidence: Evidence, where: str) -> MoveRefused:
    """What a failure of one side means, as an error with its cause and its fix."""
    found = explain(evidence)
    seen = evidence.code or f"{evidence.stage.value} {evidence.fault.value}"
    detail = f": {evidence.detail}" if evidence.detail else ""
    return MoveRefused(
        found.code,
        f"The {where} {end} cannot be used. {found.title}.",
        why=f"{found.cause} Seen: {seen}{detail}",
        fix=found.fix,
    )


def _check_format(order: Order) -> None:
    is_dramatiq = order.format is MessageFormat.DRAMATIQ
    if not is_dramatiq and (order.queue_name or order.is_base64):
        raise InvalidRequest(
            "InvalidOption",
            "--queue-name and --base64 are for messages of Dramatiq.",
            fix="Add --format dramatiq, or leave them out.",
        )
    if is_dramatiq and order.target.system == RABBITMQ and "/" in order.target.queue:
        raise InvalidRequest(
            "InvalidAddress",
            f"--to {order.target} is an exchange, and Dramatiq's messages go to a queue.",
            fix="Name the queue.",
        )


def _check_apart(order: Order, source: Queue, target: Queue) -> None:
    """Raises InvalidRequest when both are one queue. A log's identity holds its group, which says
    nothing of where records go: so the target is also looked at with the source's options."""
    ends = order.source, order.target
    is_same = source.identity == target.identity
    if not is_same and ends[0].system == ends[1].system:
        alike = ends[1].opened(order.services, ends[0].options)
        is_same = alike.identity == source.identity
        alike.close()
    if is_same:
        raise InvalidRequest(
            codes.MOVE_SAME_QUEUE,
            f"{ends[0]} and {ends[1]} are the same queue ({source.identity}).",
            why="What is moved into it would be moved again, for ever.",
            fix="Name another queue.",
        )


def _demand(end: End, queue: Queue, where: str) -> None:
    """Raises MoveRefused unless it can be used as far as a look can tell. Looks again when it
    cannot: a service that has just started says no for a moment."""
    for pause_s in (*LOOK_AGAIN_S, None):
        broken = next((rung for rung in queue.probe() if rung.failed is not None), None)
        if broken is None or (end.may_create and _is_missing(broken)):
            return
        if pause_s is None:
            assert broken.failed is not None
            raise refused(end, broken.failed.evidence, where)
        time.sleep(pause_s)


def _demand_rights(end: End, queue: Queue, where: str, needed: Sequence[str]) -> None:
    """Raises MoveRefused for a right that is missing: without that to delete, say, every message
    would arrive and stay. What cannot be asked is found out on the way."""
    found = queue.permissions() if isinstance(queue, Permitting) else ()
    for each in () if isinstance(found, Failed) else found:
        if each.refused is not None and each.operation in needed:
            raise refused(end, each.refused.evidence, where)


def _is_missing(rung: Rung) -> bool:
    """Whether everything holds but that the queue is not there yet."""
    assert rung.failed is not None
    evidence = rung.failed.evidence
    return evidence.stage is Stage.ANSWER and "NOT" in (evidence.code or "").upper()


def _count(queue: Queue) -> int | None:
    counted = queue.depth() if isinstance(queue, Measurable) else None
    return None if counted is None or isinstance(counted, Failed) else counted.total


def _journal_path(source: End, target: End, identity: str) -> Path:
    """The same for the same move of the same user."""
    state = os.environ.get(STATE_VARIABLE) or str(Path.home() / ".local" / "state")
    name = _NOT_IN_NAMES.sub("-", f"{source}-to-{target}")[:NAME_CHARS_MAX]
    digest = blake2b(f"{identity}\n{target.system}:{target}".encode(), digest_size=6).hexdigest()
    return Path(state) / "eventpost" / "moves" / f"{name}-{digest}.journal"

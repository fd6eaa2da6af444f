"""What a user may say about an endpoint of the kind `dramatiq`, and what of it can be used.

Layer: destinations. The address is the queue's name as the actors have it.
"""

import keyword
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import Endpoint
from eventpost.formats.dramatiq_tasks import DATA, TaskMapping
from eventpost.queues.kinds import read_settings

System = Literal["storagequeue", "sqs", "kafka", "rabbitmq", "redis"]
SYSTEMS: dict[str, System] = {
    "azure-storage": "storagequeue",
    "aws": "sqs",
    "kafka": "kafka",
    "rabbitmq": "rabbitmq",
    "redis": "redis",
}
"""Whose broker it is, by the kind of connection."""
STOCK = frozenset({"rabbitmq", "redis"})
"""Where the workers' broker is Dramatiq's own."""
ARGUMENTS_MAX = 64
QUEUE_CHARS_MAX = 120
"""Of RabbitMQ's 127, what its queues `.DQ` and `.XQ` leave."""
OWN_OPTIONS = ("eta", "redis_message_id", "broker_priority")
"""Of a message, those that are given in another way."""
PROPERTIES: dict[str, tuple[str, ...]] = {
    "delay": (),
    "message-id": (),
    "priority": ("rabbitmq",),
    "group": ("kafka",),
}
"""The message properties that a task may have; with systems: there only."""
_QUEUE = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")
"""Dramatiq's own rule (actor.py)."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of an endpoint of the kind `dramatiq`."""

    system: System | Literal[""] = ""
    """Whose broker it is; "": what the connection leads to."""
    actor: str = ""
    """The actor's name; "": the event's type."""
    args: Annotated[list[str], Meta(max_length=ARGUMENTS_MAX)] | None = None
    """Paths into the event. None: its data, unless `kwargs` says more."""
    kwargs: Annotated[dict[str, str], Meta(max_length=ARGUMENTS_MAX)] = {}
    """Paths by the names that the actor has."""
    defaults: Annotated[dict[str, object], Meta(max_length=ARGUMENTS_MAX)] = {}
    """Values by path, for events that have nothing there."""
    message_options: dict[str, object] = {}
    """Of each message, such as `max_retries`."""
    namespace: str = ""
    """The broker's, where it has one. Of Redis, "" is `dramatiq`."""
    create: Literal["auto", "never"] = "auto"
    """`never` makes no queue."""
    max_priority: Annotated[int, Meta(ge=0, le=255)] = 0
    """Of RabbitMQ's queues that are made, as the stock broker's `max_priority`."""

    def __post_init__(self) -> None:
        paths = [*(self.args or ()), *self.kwargs.values(), *self.defaults]
        for path in paths:
            if not all(part.strip() for part in path.split(".")):
                raise ValueError(f"{excerpt(path)} is no path such as data.song")
        for name in self.kwargs:
            if not name.isidentifier() or keyword.iskeyword(name):
                raise ValueError(f"{excerpt(name)} is no name of an argument")
        for name in self.message_options:
            if name in OWN_OPTIONS:
                raise ValueError(f"message_options.{name} is set by a message property, or by us")
        if self.create == "never" and self.max_priority:
            raise ValueError("max_priority is for queues that are made: leave create at auto")

    @property
    def mapping(self) -> TaskMapping:
        plain = () if self.kwargs else (DATA,)
        return TaskMapping(
            actor=self.actor,
            args=plain if self.args is None else tuple(self.args),
            kwargs=self.kwargs,
            defaults=_as_json(self.defaults),
            options=_as_json(self.message_options),
        )


def _as_json(values: dict[str, object]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


def read_options(endpoint: Endpoint) -> Options:
    """Raises InvalidRequest naming the option."""
    return read_settings(endpoint.options, Options, where="options")


def system_of(endpoint: Endpoint, connection_kind: str | None) -> System:
    """Whose broker it is. `connection_kind` is None without a connection. Raises InvalidRequest
    when nothing says it, or two things say different ones, or no broker is there."""
    said = read_options(endpoint).system
    if connection_kind is None:
        if said:
            return said
        raise InvalidRequest(
            "BrokerMissing",
            "Nothing says on which broker the actor's messages are.",
            fix=f"Give a connection, or the option system: {', '.join(SYSTEMS.values())}.",
        )
    found = SYSTEMS.get(connection_kind)
    if found is None or (said and said != found):
        wanted = [kind for kind, system in SYSTEMS.items() if said in ("", system)]
        raise InvalidRequest(
            "WrongConnectionKind",
            f"The endpoint type dramatiq needs a connection of the kind {' or '.join(wanted)}.",
            why=f"This one is of the kind {connection_kind}.",
            fix=f"Make one: eventpost connection create NAME --kind {wanted[0]}",
        )
    return found


def check(endpoint: Endpoint, system: System | None) -> None:
    """Raises InvalidRequest for what cannot be delivered to. Without a system what depends on it
    is not looked at."""
    options = read_options(endpoint)
    if len(endpoint.address) > QUEUE_CHARS_MAX or not _QUEUE.fullmatch(endpoint.address):
        raise InvalidRequest(
            "InvalidQueueName",
            f"{excerpt(endpoint.address)} is no queue of an actor.",
            why=f"It has at most {QUEUE_CHARS_MAX} letters, digits and ._-, a letter or _ first.",
            fix="Give the actor's queue_name, without its namespace; default is `default`.",
        )
    if endpoint.format is not MessageFormat.EVENT:
        raise InvalidRequest(
            "InvalidEndpoint",
            "A task has no message format.",
            why="What its actor is called with is said by the options args and kwargs.",
            fix="Leave the message format out.",
        )
    if system is None:
        return
    for each in endpoint.properties:
        _check_property(each.name, system)
    with_namespaces = [each for each in SYSTEMS.values() if each != "rabbitmq"]
    _check_only("namespace" if options.namespace else "", system, with_namespaces)
    _check_only("max_priority" if options.max_priority else "", system, ["rabbitmq"])


def _check_property(name: str, system: System) -> None:
    if name not in PROPERTIES:
        raise InvalidRequest(
            "InvalidMessageProperty",
            f"A task has no message property {name}.",
            fix=f"Known here: {', '.join(PROPERTIES)}.",
        )
    _check_only(f"message property {name}", system, PROPERTIES[name] or [system])


def _check_only(what: str, system: System, takers: Sequence[str]) -> None:
    if what and system not in takers:
        raise InvalidRequest(
            "InvalidOptions",
            f"A task on {system} has no {what}.",
            why=f"Only {' and '.join(takers)} know it.",
            fix="Leave it out.",
        )

"""Queue systems and kinds of connections by name: a module or an entry point, found on first use.

Layer: queues. A queue system is a module of this package, or whatever a third party registers under
the entry point group `eventpost.queues`. It has these names:

    CONNECTION_KIND = "aws"     # the kind of connection that it takes
    LIBRARY = "botocore"        # what must be installed, "" for nothing
    EXTRA = "aws"               # what installs it: `pip install 'eventpost[aws]'`

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        # what an address's `options` may hold; every field has a default

    def new_queue(connection: AwsConnection, address: Address, services: Services) -> Queue:
        # connects to nothing; raises InvalidRequest for an address that it cannot have

`new_queue` gets a connection of the class that is registered for the kind, and an address whose
options have been read as an `Options` once already, so that `options_of(address, Options)` cannot
fail. A kind of connection is a frozen msgspec Struct that refuses unknown fields, has a default for
everything, and holds secrets by reference only (`credentials.secrets.Reference`). A third party
registers its class under `eventpost.connections`. What is wrong beyond types is told by a
ValueError, or an InvalidRequest, from `__post_init__`.

    [project.entry-points."eventpost.connections"]
    pigeon = "eventpost_pigeon:PigeonConnection"
    [project.entry-points."eventpost.queues"]
    pigeon = "eventpost_pigeon"

No look-up connects to anything, and every one may be made from any thread.
"""

import importlib
import importlib.util
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar, cast

import msgspec

from eventpost.core.errors import InvalidRequest, extra_missing
from eventpost.queues.interfaces import Address, Queue

QUEUE_GROUP = "eventpost.queues"
CONNECTION_GROUP = "eventpost.connections"

CONNECTION_CLASSES = {
    "aws": "eventpost.credentials.aws:AwsConnection",
    "azure-storage": "eventpost.credentials.azure:AzureStorageConnection",
    "entra": "eventpost.credentials.entra:EntraConnection",
    "kafka": "eventpost.queues.kafka:KafkaConnection",
    "rabbitmq": "eventpost.queues.rabbitmq:RabbitmqConnection",
    "redis": "eventpost.credentials.redis:RedisConnection",
    "smtp": "eventpost.credentials.smtp:SmtpConnection",
}
"""The built-in kinds of connections: `MODULE:CLASS`."""
SYSTEMS = ("storagequeue", "sqs", "rabbitmq", "kafka")
"""The built-in queue systems: modules of this package."""
EXTRAS = {"storagequeue": "azure", "azure-storage": "azure", "entra": "azure", "sqs": "aws"}
"""What installs the library of a kind, where it has another name than the kind."""

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
Settings = TypeVar("Settings", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the process lends to its queues. Any of it may be called from any thread."""

    monotonic_s: Callable[[], float] = time.monotonic
    now_s: Callable[[], float] = time.time
    """UTC."""
    client_id: str = socket.gethostname()
    """What brokers show of us, where they show anything."""
    log: Callable[..., None] = lambda *_, **__: None
    """`log(EVENT, level=logging.INFO, **fields)`: one structured record."""


class QueueSystem(Protocol):
    """What `queue_system` finds: a module with these names."""

    @property
    def CONNECTION_KIND(self) -> str: ...  # noqa: N802 - a module's constant
    @property
    def Options(self) -> type[msgspec.Struct]: ...  # noqa: N802 - a module's class
    def new_queue(self, connection: Any, address: Address, services: Services) -> Queue: ...


def queue_system(kind: str) -> QueueSystem:
    """The system of that name.

    Raises InvalidRequest for a name that nothing provides, and one that names the extra when the
    system's client library is not installed.
    """
    if kind in SYSTEMS:
        system = _imported(kind, f"{__package__}.{kind}")
    else:
        system = _registered(QUEUE_GROUP, kind)
    if system is None:
        raise _unknown("UnknownQueueSystem", "queue system", kind, systems())
    check_library(kind, system)
    return cast("QueueSystem", system)


def systems() -> list[str]:
    """Every queue system that there is, built in or installed."""
    return [*SYSTEMS, *sorted(each.name for each in entry_points(group=QUEUE_GROUP))]


def is_system(kind: str) -> bool:
    """Whether a kind is a queue system, be its library installed or not."""
    return kind in SYSTEMS or bool(entry_points(group=QUEUE_GROUP, name=kind))


def connection_class(kind: str) -> type[msgspec.Struct]:
    """The class that holds the settings of a kind of connection. Raises as `queue_system` does."""
    found: object = None
    if kind in CONNECTION_CLASSES:
        module_name, _, class_name = CONNECTION_CLASSES[kind].partition(":")
        module = _imported(kind, module_name)
        found = getattr(module, class_name, None)
    else:
        found = _registered(CONNECTION_GROUP, kind)
    if found is None:
        raise _unknown("UnknownConnectionKind", "kind of connection", kind, connection_kinds())
    return cast("type[msgspec.Struct]", found)


def connection_kinds() -> list[str]:
    """Every kind of connection that there is, built in or installed."""
    installed = sorted(each.name for each in entry_points(group=CONNECTION_GROUP))
    return [*CONNECTION_CLASSES, *installed]


def open_queue(
    kind: str, connection: msgspec.Struct | None, address: Address, services: Services
) -> Queue:
    """The queue `address` of a connection; nothing is connected yet.

    Without a connection the kind's defaults hold: the SDK's own chain finds who we are. Raises
    InvalidRequest for a system that there is not, a connection of another kind, options that the
    system does not know, and an address that it cannot have.
    """
    system = queue_system(kind)
    wanted = connection_class(system.CONNECTION_KIND)
    if connection is None:
        connection = read_settings({}, wanted, where="connection")
    if not isinstance(connection, wanted):
        raise InvalidRequest(
            "WrongConnectionKind",
            f"A {kind} queue needs a connection of the kind {system.CONNECTION_KIND}.",
            why=f"This one holds {type(connection).__name__}.",
            fix=f"Make one: eventpost connection create NAME --kind {system.CONNECTION_KIND}",
        )
    options_of(address, system.Options)
    return system.new_queue(connection, address, services)


def options_of(address: Address, kind: type[Settings]) -> Settings:
    """An address's options as the system's own. Raises InvalidRequest naming the option."""
    return read_settings(address.options, kind, where="options")


def read_settings(
    values: Mapping[str, object], kind: type[Settings], *, where: str = "settings"
) -> Settings:
    """Plain values as a Struct of settings. Raises InvalidRequest naming the field; a secret that
    was written where its reference belongs is not repeated."""
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    for name in values:
        if name not in names:
            near = get_close_matches(str(name), names, n=1)
            raise InvalidRequest(
                "UnknownField",
                f"{where}.{name} is not a known field.",
                why=f"The nearest one is {near[0]}." if near else "",
                fix=f"Known here: {', '.join(names) or 'nothing'}.",
            )
    try:
        return msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`")
        if "matching regex" in text:
            text = "it is not as it must be written (a secret is a reference: env:NAME, file:PATH)"
        raise InvalidRequest(
            "InvalidField",
            f"{where}{field}: {text[:1].lower()}{text[1:].rstrip('.')}.",
            fix=f"Correct {where}{field}.",
        ) from error


def check_library(kind: str, system: object) -> None:
    """Raises InvalidRequest when the library of a system, or of a kind of endpoint, is missing.

    What is imported only when it is used must be there now: who declares a queue is told at once,
    and not by its first failure.
    """
    library = getattr(system, "LIBRARY", "")
    if library and not _is_installed(library):
        raise extra_missing(kind, library, getattr(system, "EXTRA", EXTRAS.get(kind, kind)))


@cache
def _is_installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:  # the parent of a dotted name
        return False


def _imported(kind: str, module_name: str) -> object:
    if not _is_installed(module_name):
        return None
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("eventpost"):
            raise
        raise extra_missing(kind, error.name, EXTRAS.get(kind, kind)) from error


def _registered(group: str, kind: str) -> object:
    if _KIND.fullmatch(kind) is None:
        return None
    for entry_point in entry_points(group=group, name=kind):
        return cast("object", entry_point.load())
    return None


def need_library(kind: str, library: str, extra: str) -> None:
    """Raises InvalidRequest, which names the extra, when a library is not installed."""
    if not _is_installed(library):
        raise extra_missing(kind, library, extra)


def _unknown(code: str, what: str, kind: str, known: list[str]) -> InvalidRequest:
    near = get_close_matches(kind, known, n=1)
    return InvalidRequest(
        code,
        f"There is no {what} {kind[:64]!r}.",
        why=f"The nearest one is {near[0]}." if near else "",
        fix=f"Use one of {', '.join(known)}, or install the package that provides it.",
    )

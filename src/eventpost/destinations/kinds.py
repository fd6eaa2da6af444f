"""Endpoint kinds by name: a kind is a module of this package, an entry point or a queue system.

Layer: destinations. Each is found on first use. A third party registers under the entry point group
`eventpost.destinations`, and needs none of it for a queue system (`queues.kinds`):

    [project.entry-points."eventpost.destinations"]
    pager = "eventpost_pager:new_destination"

A module of this package is called as its kind, with `_` behind one that is a word of Python's. The
module of a factory, a third party's as well, may also have `check_endpoint(endpoint)`, which raises
InvalidRequest for what it cannot deliver to, `check_connection(endpoint, settings)`, which does so
for its connection, `probe(endpoint, connections)`, which looks whether it would take a delivery,
and, when it speaks to a service, the names that a queue system has: `CONNECTION_KIND`, `LIBRARY`,
`EXTRA`.
"""

import importlib
import importlib.util
import keyword
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import cast

import msgspec

from eventpost.core.errors import InvalidRequest, extra_missing
from eventpost.core.histogram import Histogram
from eventpost.core.interfaces import Destination, Timer
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations.tokens import Tokens
from eventpost.formats import topics
from eventpost.http.client import HttpClient
from eventpost.queues import kinds as queue_kinds
from eventpost.queues.interfaces import Address, Queue, Rung

ENTRY_POINT_GROUP = "eventpost.destinations"
FACTORY_NAME = "new_destination"
QUEUE_MODULE = "queue"
"""Serves every kind that is a queue system, and is none itself."""
_KIND = re.compile(r"[a-z][a-z0-9]{0,31}")


Connecting = Callable[[str, str | None], msgspec.Struct]
"""`connection(kind, name)` gives the settings of a connection of that kind, as the class of the
kind; None: its defaults. From any thread. Raises InvalidRequest for a name that there is not."""


Opener = Callable[[str, str | None, Address], Callable[[], Queue]]
"""`opener(kind, connection, address)` gives what opens that queue over a connection, by its name.
That may be called on any thread, blocks, and raises InvalidRequest."""


def _no_connections(_kind: str, _name: str | None) -> msgspec.Struct:
    raise NotImplementedError("there are no connections here")


def _no_timers(_delay_s: float, _callback: Callable[..., object]) -> Timer:
    raise NotImplementedError("there is no clock here")


def _no_account(_account: str) -> str | None:
    return None


def _no_kind(_name: str) -> str:
    raise NotImplementedError("there are no connections here")


def _no_queues(_kind: str, _connection: str | None, _address: Address) -> Callable[[], Queue]:
    raise NotImplementedError("there are no queues here")


def _same_thread(callback: Callable[..., object], *arguments: object) -> object:
    return callback(*arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the server lends to its destinations. All of it belongs to the loop's thread.

    `now_ms` is UTC in milliseconds, from any thread. `origin` is the host of the public URL, which
    asks for consent (`WebHook-Request-Origin`).
    """

    http: HttpClient
    now_ms: Callable[[], int]
    origin: str
    topic_prefix: str = topics.DEFAULT_PREFIX
    delivery_times: Histogram = field(default_factory=Histogram)
    """From the start of an attempt to its answer, of all destinations together."""
    opener: Opener = _no_queues
    connection: Connecting = _no_connections
    connection_kind: Callable[[str], str] = _no_kind
    """The kind of a connection, by its name. Raises InvalidRequest for a name that there is not.
    From any thread."""
    account_connection: Callable[[str], str | None] = _no_account
    """The name of the connection that leads to a storage account, None where none does. Raises
    InvalidRequest where several do. From any thread."""
    call_later: Callable[..., Timer] = _no_timers
    """`call_later(seconds, callback)` calls back that much later."""
    call_soon: Callable[..., object] = _same_thread
    """Calls back with the next turn of the loop."""
    call_soon_threadsafe: Callable[..., object] = _same_thread
    """The same from any thread."""
    tokens: Tokens = field(default_factory=Tokens)
    """Of webhooks that want one of Microsoft Entra."""


Factory = Callable[[Topic, Subscription, Services], Destination]


def factory(kind: str) -> Factory:
    """The factory of a kind of endpoint.

    Raises InvalidRequest for a kind that nothing provides, and one that names the extra when the
    kind's client library is not installed.
    """
    if _KIND.fullmatch(kind) is None:
        raise _unknown(kind)
    found = getattr(_module(kind), FACTORY_NAME, None)
    if found is not None:  # not every module here is a kind
        return cast("Factory", found)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return cast("Factory", entry_point.load())
    if queue_kinds.is_system(kind):
        queue_kinds.queue_system(kind)
        queue = importlib.import_module(f"{__package__}.{QUEUE_MODULE}")
        return cast("Factory", queue.new_destination)
    raise _unknown(kind)


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    """The destination of a subscription, by its endpoint's kind. Raises as `factory` does."""
    return factory(subscription.endpoint.type)(topic, subscription, services)


def check(endpoint: Endpoint, connection_kind: str | None = None) -> None:
    """Raises InvalidRequest for a kind that nothing provides, and for what its module refuses.

    `connection_kind` is that of the endpoint's connection, None when it names none.
    """
    kind = endpoint.type
    module = _behind(kind)
    if queue_kinds.is_system(kind):
        return
    queue_kinds.check_library(kind, module)
    wanted = getattr(module, "CONNECTION_KIND", None)
    if wanted is not None and connection_kind not in (None, wanted):
        raise InvalidRequest(
            "WrongConnectionKind",
            f"The endpoint type {kind} needs a connection of the kind {wanted}.",
            why=f"This one is of the kind {connection_kind}.",
            fix=f"Make one: eventpost connection create NAME --kind {wanted}",
        )
    check_endpoint = getattr(module, "check_endpoint", None)
    if check_endpoint is not None:
        check_endpoint(endpoint)


def check_connection(endpoint: Endpoint, settings: msgspec.Struct) -> None:
    """Raises InvalidRequest for settings of the endpoint's connection that it cannot work with."""
    check = getattr(_behind(endpoint.type), "check_connection", None)
    if check is not None:
        check(endpoint, settings)


def probe(endpoint: Endpoint, connections: object) -> Sequence[Rung] | None:
    """Look, without delivering anything, whether the endpoint would take it, rung by rung; None for
    a kind that cannot be asked so. `connections` is a `destinations.opening.Connections`. Blocks.
    Raises InvalidRequest for settings that cannot be used.
    """
    asked = getattr(_behind(endpoint.type), "probe", None)
    return None if asked is None else cast("Sequence[Rung]", asked(endpoint, connections))


def _behind(kind: str) -> object:
    """The module of a kind's factory. Raises as `factory` does."""
    found = factory(kind)
    return _module(kind) or sys.modules.get(getattr(found, "__module__", ""))


def _module(kind: str) -> object:
    """The module of this package that has the kind's name; None when there is none."""
    name = f"{__package__}.{kind}{'_' if keyword.iskeyword(kind) else ''}"
    if kind in (QUEUE_MODULE, "kinds") or importlib.util.find_spec(name) is None:
        return None
    return _imported(kind, name)


def _imported(kind: str, module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("eventpost"):
            raise
        raise extra_missing(f"The endpoint type {kind}", str(error.name), kind) from error


def _unknown(kind: str) -> InvalidRequest:
    own = ("webhook", "pull", "lambda", "dramatiq", "email", "folder", "azureblob", "s3")
    known = (*own, *queue_kinds.systems())
    return InvalidRequest(
        "UnknownEndpointType",
        f"There is no endpoint type {kind[:64]!r}.",
        fix=f"Use {', '.join(known)}, or install the package that provides it.",
    )

"""Endpoint kinds by name: a kind is a module of this package, an entry point or a queue system.

Layer: destinations. Each is found on first use. A third party registers under the entry point group
`eventpost.destinations`, and needs none of it for a queue system (`queues.kinds`):

    [project.entry-points."eventpost.destinations"]
    pager = "eventpost_pager:new_destination"
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import cast

from eventpost.core.errors import InvalidRequest
from eventpost.core.histogram import Histogram
from eventpost.core.interfaces import Destination
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.formats import topics
from eventpost.http.client import HttpClient
from eventpost.queues import kinds as queue_kinds
from eventpost.queues.interfaces import Address, Queue

ENTRY_POINT_GROUP = "eventpost.destinations"
FACTORY_NAME = "new_destination"
QUEUE_MODULE = "queue"
"""Serves every kind that is a queue system, and is none itself."""
_KIND = re.compile(r"[a-z][a-z0-9]{0,31}")


Opener = Callable[[str, str | None, Address], Callable[[], Queue]]
"""`opener(kind, connection, address)` gives what opens that queue over a connection, by its name.
That may be called on any thread, blocks, and raises InvalidRequest."""


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
    call_soon: Callable[..., object] = _same_thread
    """Calls back with the next turn of the loop."""
    call_soon_threadsafe: Callable[..., object] = _same_thread
    """The same from any thread."""


Factory = Callable[[Topic, Subscription, Services], Destination]


def factory(kind: str) -> Factory:
    """The factory of a kind of endpoint.

    Raises InvalidRequest for a kind that nothing provides, and one that names the extra when the
    kind's client library is not installed.
    """
    if _KIND.fullmatch(kind) is None:
        raise _unknown(kind)
    module_name = f"{__package__}.{kind}"
    if kind not in (QUEUE_MODULE, "kinds") and importlib.util.find_spec(module_name) is not None:
        found = getattr(_imported(kind, module_name), FACTORY_NAME, None)
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


def _imported(kind: str, module_name: str) -> object:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("eventpost"):
            raise
        raise InvalidRequest(
            "ExtraMissing",
            f"The endpoint type {kind} needs the library {error.name}.",
            fix=f"pip install 'eventpost[{kind}]', or 'eventpost[all]'.",
        ) from error


def _unknown(kind: str) -> InvalidRequest:
    return InvalidRequest(
        "UnknownEndpointType",
        f"There is no endpoint type {kind[:64]!r}.",
        fix=f"Use webhook, {', '.join(queue_kinds.systems())}, or install what provides it.",
    )

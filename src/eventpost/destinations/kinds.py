"""Endpoint kinds by name: a kind is a module of this package or an entry point, found on first use.

Layer: destinations. A third party registers under the entry point group `eventpost.destinations`:

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

ENTRY_POINT_GROUP = "eventpost.destinations"
FACTORY_NAME = "new_destination"
_KIND = re.compile(r"[a-z][a-z0-9]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the server lends to its destinations. All of it belongs to the loop's thread.

    `now_ms` is UTC in milliseconds. `origin` is the host of the public URL, which asks for consent
    (`WebHook-Request-Origin`).
    """

    http: HttpClient
    now_ms: Callable[[], int]
    origin: str
    topic_prefix: str = topics.DEFAULT_PREFIX
    delivery_times: Histogram = field(default_factory=Histogram)
    """From the start of an attempt to its answer, of all destinations together."""


Factory = Callable[[Topic, Subscription, Services], Destination]


def factory(kind: str) -> Factory:
    """The factory of a kind of endpoint.

    Raises InvalidRequest for a kind that nothing provides, and one that names the extra when the
    kind's client library is not installed.
    """
    if _KIND.fullmatch(kind) is None:
        raise _unknown(kind)
    module_name = f"{__package__}.{kind}"
    if module_name != __name__ and importlib.util.find_spec(module_name) is not None:
        found = getattr(_imported(kind, module_name), FACTORY_NAME, None)
        if found is not None:  # not every module here is a kind
            return cast("Factory", found)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return cast("Factory", entry_point.load())
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
        fix="Use webhook, or install the package that provides it.",
    )

"""Delivery into files: one file for each delivery or batch, in a folder, a container or a bucket.

Layer: destinations. A file lies where a dead letter would (`SUBSCRIPTION/yyyy/M/d/H/guid.json`, the
hour of its first event) and holds an array of events. Its name follows from what it holds, so that
an attempt that is made again replaces the file of the one before.
"""

import threading
import uuid
from collections.abc import Sequence

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import DELIVERED, Failed, Outcome, Stage
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations.borders import unexpected, unusable
from eventpost.destinations.kinds import Services
from eventpost.destinations.opening import Connections, Opener
from eventpost.destinations.places import KINDS, Kind, parse_as
from eventpost.destinations.storages import Storage
from eventpost.destinations.threads import Threads, deliver_on
from eventpost.formats import deadletters, topics
from eventpost.formats import delivery as delivery_format
from eventpost.queues.interfaces import Rung

THREADS_MAX = 8
"""Files of one subscription that are written at the same time, whatever its concurrency."""
_NAMES = uuid.UUID("5f0c8a52-6d1f-4b0e-9c39-0d7f7a2f3f5e")
"""The namespace of the names (RFC 9562, 5.5); any would do, as long as it stays."""


def check_plain(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for what only queues and webhooks have."""
    given = {
        "message format": endpoint.format is not MessageFormat.EVENT,
        "message properties": endpoint.properties,
        "delivery properties": endpoint.attributes,
        "signing secrets": endpoint.signing_secrets,
        "options": endpoint.options,
    }
    for name, value in given.items():
        if value:
            raise InvalidRequest(
                "InvalidEndpoint",
                f"An endpoint of the type {endpoint.type} has no {name}.",
                why="It keeps files, and a file holds the events alone.",
                fix="Leave it out.",
            )


def probe(endpoint: Endpoint, connections: Connections) -> Sequence[Rung]:
    """Look whether the place is there. Blocks. Raises InvalidRequest."""
    opener = Opener(connections)
    place = parse_as(_kind(endpoint), endpoint.address)
    storage = opener.open(place, opener.settings(place, endpoint.connection))
    try:
        return storage.probe()
    finally:
        storage.close()


class StorageDestination:
    """Implements `core.interfaces.Destination` for one subscription.

    Files are written on threads of its own. Constructing raises nothing: settings that cannot be
    used make every attempt fail with evidence, without counting, until they can be.
    """

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._topic = topic
        self._subscription = subscription
        self._services = services
        self._opener = Opener(services)
        self._output_schema = endpoint.delivery_schema or topic.input_schema
        self._topic_resource = topics.source_of(topic, services.topic_prefix)
        name = f"eventpost-{endpoint.type}-{subscription.name}"
        self._threads = Threads(min(endpoint.concurrency, THREADS_MAX), name)
        self._opening = threading.Lock()
        self._storage: Storage | None = None

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        deliver_on(self._threads, deliveries, self._outcome, done, self._services)

    def close(self) -> None:
        """Attempts in flight end with an outcome, as long as there is a loop to take it."""
        self._threads.submit(self._let_go)
        self._threads.close()

    def _let_go(self) -> None:
        if self._storage is not None:
            self._storage.close()

    # --- on a thread of its own -----------------------------------------------------------------

    def _outcome(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Raises nothing."""
        try:
            with self._opening:
                storage = self._storage
                if storage is None:
                    storage = self._storage = self._opened()
            written = storage.write(self._name(deliveries), self._body(deliveries))
        except InvalidRequest as error:
            return unusable(error)
        except Exception as error:  # noqa: BLE001 - the border: it is recorded as a finding
            return unexpected(error, Stage.WRITE)
        return written if isinstance(written, Failed) else DELIVERED

    def _opened(self) -> Storage:
        endpoint = self._subscription.endpoint
        place = parse_as(_kind(endpoint), endpoint.address)
        return self._opener.open(place, self._opener.settings(place, endpoint.connection))

    def _name(self, deliveries: Sequence[Delivery]) -> str:
        """The same for the same events of the same subscription, and for no others."""
        key = [
            *(self._topic.id, self._subscription.id, self._subscription.created_ms),
            *((each.position, each.published_ms, each.event.id) for each in deliveries),
        ]
        guid = uuid.uuid5(_NAMES, msgspec.json.encode(key).decode())
        return deadletters.path(self._subscription.name, deliveries[0].published_ms, str(guid))

    def _body(self, deliveries: Sequence[Delivery]) -> bytes:
        _, body = delivery_format.encode(
            self._topic.input_schema,
            self._output_schema,
            [each.event.wire for each in deliveries],
            True,
            self._topic_resource,
        )
        return body


def _kind(endpoint: Endpoint) -> Kind:
    return next(kind for kind in KINDS if kind == endpoint.type)

"""Delivery as a task: an event becomes a message for a Dramatiq actor, in the queue of its workers.

Layer: destinations. Whose broker it is follows from the connection. Our own brokers' queues are
those of `queues.tasks`; on RabbitMQ and Redis it is what Dramatiq's own brokers send. Delivered
means that the queue has the message: a task may come twice, and does not get lost.
"""

import math
from collections.abc import Sequence

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import Destination
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.credentials.redis import RedisConnection
from eventpost.destinations import dramatiq_options as options
from eventpost.destinations import dramatiq_redis
from eventpost.destinations.dramatiq_options import STOCK, SYSTEMS, System
from eventpost.destinations.dramatiq_redis import SYSTEM as REDIS
from eventpost.destinations.dramatiq_redis import RedisSender
from eventpost.destinations.kinds import Connecting, Services
from eventpost.destinations.opening import Connections
from eventpost.destinations.queue import QueueDestination, Sending
from eventpost.destinations.queue_messages import Asked, Oversized, Unsendable
from eventpost.formats import topics
from eventpost.formats.dramatiq import JSON_TYPE, delayed
from eventpost.formats.dramatiq_tasks import task
from eventpost.formats.messages import Origin, trace_attributes
from eventpost.queues import kinds, tasks
from eventpost.queues.interfaces import Address, Message, Rung, Traits


class TaskComposer:
    """Implements `queue_messages.Composing` for one subscription."""

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._mapping = options.read_options(endpoint).mapping
        self._asked = Asked(endpoint, topic.input_schema)
        self._origin = Origin(
            input_schema=topic.input_schema,
            output_schema=endpoint.delivery_schema or topic.input_schema,
            topic_resource=topics.resource(topic.name, services.topic_prefix),
            queue=endpoint.address,
            now_ms=services.now_ms,
        )

    def message(self, delivery: Delivery, traits: Traits) -> Message | Unsendable:
        """The message, or why there is none. A delay is the workers' to keep (`options.eta`); ours
        hide a message for as much of it as their queue can, the stock one has a queue for them."""
        try:
            asked = self._asked.properties(delivery)
        except Unsendable as refusal:
            return refusal
        queue, own = self._origin.queue, dict[str, object]()
        delay_s, is_stock = 0.0, traits.system in STOCK
        if asked.delay_s is not None:
            own["eta"] = self._origin.now_ms() + round(asked.delay_s * 1000)
            delay_s = 0.0 if is_stock else float(math.floor(min(asked.delay_s, traits.delay_s_max)))
            queue = delayed(queue) if is_stock else queue
        if asked.priority is not None:
            own["broker_priority"] = asked.priority
        message_id = asked.texts.get("message-id") or delivery.event.id
        body = task(
            delivery, self._origin, self._mapping, queue=queue, options=own, message_id=message_id
        )
        if traits.system == "sqs":
            body = tasks.sqs_body(body)
        bytes_max = traits.message_bytes_max - (0 if is_stock else tasks.DEAD_LETTER_BYTES)
        if len(body) > bytes_max:
            return Oversized(f"The task has {len(body)} bytes, of at most {bytes_max}.")
        trace = trace_attributes(delivery.event.trace)
        return Message(
            body=body,
            attributes={**trace, **self._asked.attributes(delivery)},
            content_type="" if is_stock else JSON_TYPE,
            delay_s=delay_s,
            group=asked.texts.get("group", ""),
            routing_key=queue if is_stock else None,
            priority=asked.priority,
        )


class _Opening:
    """Opens the queue of an endpoint, over the connection as it is then."""

    def __init__(self, endpoint: Endpoint, services: Services) -> None:
        self._endpoint = endpoint
        self._services = services

    def __call__(self) -> Sending:
        """On a thread. Raises InvalidRequest."""
        endpoint = self._endpoint
        name = endpoint.connection
        kind = None if name is None else self._services.connection_kind(name)
        system = options.system_of(endpoint, kind)
        if system == REDIS:
            settings = self._services.connection(REDIS, name)
            assert isinstance(settings, RedisConnection)
            return RedisSender(settings, options.read_options(endpoint).namespace)
        return self._services.opener(system, name, address_of(endpoint, system))()


def address_of(endpoint: Endpoint, system: System) -> Address:
    """The queue of the endpoint's actor in that system. Raises InvalidRequest."""
    wanted = options.read_options(endpoint)
    return tasks.address_of(
        system,
        endpoint.address,
        namespace=wanted.namespace,
        is_made=wanted.create == "auto",
        max_priority=wanted.max_priority,
    )


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    composer = TaskComposer(topic, subscription, services)
    opening = _Opening(subscription.endpoint, services)
    return QueueDestination(subscription, services, opening, composer)


# --- what can be used -----------------------------------------------------------------------------


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest. With a connection, `check_connection` looks at what depends on it."""
    system = None
    if endpoint.connection is None:
        system = options.system_of(endpoint, None)
    options.check(endpoint, system)
    if system is not None:
        _check_queue(endpoint, system, None)


def check_connection(endpoint: Endpoint, settings: msgspec.Struct) -> None:
    """Raises InvalidRequest for a connection to no broker, or options that are not for its."""
    system = options.system_of(endpoint, _kind_of(settings))
    options.check(endpoint, system)
    _check_queue(endpoint, system, settings)


def probe(endpoint: Endpoint, connections: Connections) -> Sequence[Rung]:
    """Climb the queue system's own rungs. Raises InvalidRequest. Blocks."""
    system, settings = _found(endpoint, connections.connection)
    if isinstance(settings, RedisConnection):
        return dramatiq_redis.probe(settings)
    queue = kinds.open_queue(system, settings, address_of(endpoint, system), kinds.Services())
    try:
        return queue.probe()
    finally:
        queue.close()


def _found(endpoint: Endpoint, connection: Connecting) -> tuple[System, msgspec.Struct]:
    """The system and the settings of the endpoint's connection, of whichever kind it is."""
    if endpoint.connection is None:
        system = options.system_of(endpoint, None)
        kind = next(kind for kind, each in SYSTEMS.items() if each == system)
        return system, connection(kind, None)
    for kind in SYSTEMS:
        try:
            settings = connection(kind, endpoint.connection)
        except InvalidRequest as error:
            if error.code != "WrongConnectionKind":
                raise
        else:
            return options.system_of(endpoint, kind), settings
    return options.system_of(endpoint, "another"), msgspec.Struct()


def _kind_of(settings: msgspec.Struct) -> str:
    for kind in SYSTEMS:
        if isinstance(settings, kinds.connection_class(kind)):
            return kind
    return type(settings).__name__


def _check_queue(endpoint: Endpoint, system: System, settings: msgspec.Struct | None) -> None:
    if system == REDIS:
        for library in ("redis", "dramatiq"):  # the extras have the same names
            kinds.need_library("A task on Redis", library, library)
        return
    try:
        address = address_of(endpoint, system)
        kinds.open_queue(system, settings, address, kinds.Services()).close()
    except InvalidRequest as error:
        if error.code != "SecretMissing":
            raise

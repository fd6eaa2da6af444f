"""Events as tasks: what of an event an actor is called with, where it goes, what is refused."""

import json
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.rabbitmq import DEAD_MESSAGE_TTL, RabbitmqBroker

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Event, Schema
from eventpost.core.outcomes import Fault
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint
from eventpost.credentials.aws import AwsConnection
from eventpost.credentials.redis import RedisConnection
from eventpost.credentials.smtp import SmtpConnection
from eventpost.destinations import kinds
from eventpost.destinations.dramatiq import TaskComposer, address_of
from eventpost.destinations.kinds import Services
from eventpost.destinations.queue_messages import Unsendable
from eventpost.queues import tasks
from eventpost.queues.interfaces import Message, Traits
from eventpost.queues.rabbitmq import RabbitmqConnection
from eventpost.queues.rabbitmq.target import Options as RabbitmqOptions
from eventpost.queues.rabbitmq.target import read_target
from eventpost.queues.sqs.settings import TRAITS as SQS
from eventpost.testing.destination_conformance import NOW_MS, delivery
from eventpost.workers.sqs import SQSBroker
from eventpost.workers.storagequeue import StorageQueueBroker

from .queues import subscription
from .receivers import topic

RABBITMQ = read_target(
    tasks.address_of("rabbitmq", "default", namespace="", is_made=True),
    RabbitmqOptions(exchange=""),
).traits()
ACCOUNT = "AccountName=radio;AccountKey=Zm9v;QueueEndpoint=http://127.0.0.1:1/radio"


def composed(
    given: Delivery | None = None,
    traits: Traits = SQS,
    schema: Schema = Schema.EVENT_GRID,
    **endpoint: Any,
) -> Message | Unsendable:
    declared = subscription("dramatiq", "default", **endpoint)
    services = Services(http=None, now_ms=lambda: NOW_MS, origin="")  # type: ignore[arg-type]  # nothing is sent
    return TaskComposer(topic(schema), declared, services).message(given or delivery(1), traits)


def task(**words: Any) -> dramatiq.Message[Any]:
    """What a worker reads of it."""
    made = composed(**words)
    assert isinstance(made, Message), made
    return dramatiq.Message.decode(made.body)


def with_data(data: object) -> Delivery:
    wire = json.loads(delivery(1).event.wire) | {"data": data}
    # In the order in which events are kept.
    ends = {name: wire.pop(name) for name in ("data", "dataVersion", "metadataVersion")}
    text = json.dumps(wire | ends, separators=(",", ":"))
    return Delivery(Event("1", "Song.Requested", "genre/blues", text.encode()), 1, NOW_MS, NOW_MS)


def test_an_event_is_a_task_for_the_actor_of_its_type_with_its_data() -> None:
    """Without any option the event's type is the actor, and its data the one argument."""
    made = task()

    assert made.asdict() == {
        "queue_name": "default",
        "actor_name": "Song.Requested",
        "args": ({"title": "Dust My Broom"},),
        "kwargs": {},
        "options": {},
        "message_id": "event-1",
        "message_timestamp": NOW_MS,
    }


def test_arguments_are_taken_from_the_event() -> None:
    """Positional and named arguments lie at paths into the event, of whatever kind they are."""
    made = task(
        given=with_data({"song": {"title": "Kind Hearted Woman", "plays": 10**20}, "tags": ["a"]}),
        options={
            "actor": "play",
            "args": ["data.song", "id"],
            "kwargs": {"genre": "subject", "tags": "DATA.Tags", "plays": "data.song.plays"},
            "message_options": {"max_retries": 3, "pipe_ignore": True},
        },
    )

    assert made.actor_name == "play"
    assert list(made.args) == [{"title": "Kind Hearted Woman", "plays": 10**20}, "event-1"]
    assert made.kwargs == {"genre": "genre/blues", "tags": ["a"], "plays": 10**20}
    assert made.options == {"max_retries": 3, "pipe_ignore": True}


def test_the_whole_event_is_an_argument() -> None:
    """The path `event` is the whole event, in the delivery schema."""
    made = task(options={"args": ["event"]}, delivery_schema=Schema.CLOUD_EVENTS)

    assert made.args[0]["type"] == "Song.Requested"
    assert made.args[0]["specversion"] == "1.0"


@pytest.mark.parametrize(
    ("options", "args", "kwargs"),
    [
        ({"args": ["data.none", "id"]}, [None, "event-1"], {}),
        ({"args": ["data.none"], "defaults": {"data.none": [1]}}, [[1]], {}),
        ({"kwargs": {"by": "data.none"}}, [], {}),
        ({"kwargs": {"by": "data.none"}, "defaults": {"data.none": "me"}}, [], {"by": "me"}),
        ({"args": []}, [], {}),
    ],
)
def test_what_an_event_does_not_have(
    options: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
) -> None:
    """Where nothing lies the default stands; without one a named argument is left out, and a
    positional one is null, so that the others keep their places."""
    made = task(options=options)

    assert (list(made.args), made.kwargs) == (args, kwargs)


def test_an_event_without_data_calls_its_actor_without_arguments() -> None:
    """A CloudEvent without data has nothing to hand over."""
    wire = b'{"specversion":"1.0","id":"1","source":"/s","type":"Tick"}'
    given = Delivery(Event("1", "Tick", "", wire), 1, NOW_MS, NOW_MS)

    assert list(task(given=given, schema=Schema.CLOUD_EVENTS).args) == []


def properties(**given: str) -> tuple[DeliveryAttribute, ...]:
    return tuple(
        DeliveryAttribute(name=name.replace("_", "-"), type="static", value=value)
        for name, value in given.items()
    )


def test_a_delay_is_kept_by_the_workers() -> None:
    """A delayed task says when it is due; our queues hide it meanwhile, as long as they can."""
    made = composed(properties=properties(delay="90m"))
    assert isinstance(made, Message)

    read = dramatiq.Message.decode(made.body)

    assert read.options == {"eta": NOW_MS + 5_400_000}
    assert read.queue_name == "default"
    assert made.delay_s == 900.0  # the most that SQS has; the workers do the rest


def test_a_delay_on_rabbitmq_goes_to_the_stock_brokers_queue_for_it() -> None:
    """The stock broker's workers keep what waits in `.DQ`, and are told when it is due."""
    made = composed(traits=RABBITMQ, properties=properties(delay="1.5", priority="5"))
    assert isinstance(made, Message)

    read = dramatiq.Message.decode(made.body)

    assert (made.routing_key, made.delay_s, made.priority) == ("default.DQ", 0.0, 5)
    assert read.queue_name == "default.DQ"
    assert read.options == {"eta": NOW_MS + 1_500, "broker_priority": 5}
    assert (made.content_type, made.attributes) == ("", {})  # as the stock one: no headers


def test_a_delay_that_is_none_makes_no_task() -> None:
    """A dynamic delay that is no time is told, and the event is given up at once."""
    asked = (DeliveryAttribute(name="delay", type="dynamic", value="data.title"),)

    made = composed(properties=asked)

    assert isinstance(made, Unsendable)
    assert "no time" in str(made)


def test_a_task_leaves_room_for_its_dead_letter() -> None:
    """One byte more than what lets its dead letter say why it is one is too much."""
    room = SQS.message_bytes_max - tasks.DEAD_LETTER_BYTES
    empty = composed(given=with_data(""))
    assert isinstance(empty, Message)
    filling = room - len(empty.body)
    fits = composed(given=with_data("a" * filling))
    exceeds = composed(given=with_data("a" * (filling + 1)))

    assert isinstance(fits, Message)
    assert len(fits.body) == room
    assert isinstance(exceeds, Unsendable)
    assert exceeds.fault is Fault.TOO_LARGE


# --- where it goes --------------------------------------------------------------------------------


def test_a_queue_is_called_as_our_brokers_call_it() -> None:
    """The endpoint's queue is the very one that a broker of that namespace works on."""
    declared = Endpoint(type="dramatiq", address="song_requests", options={"namespace": "radio"})
    with_keys = SQSBroker(region="r", access_key_id="k", secret_access_key="s", namespace="radio")
    on_azure = StorageQueueBroker(connection_string=ACCOUNT, namespace="radio")

    for system, broker in (("sqs", with_keys), ("storagequeue", on_azure)):
        found = address_of(declared, system).name  # type: ignore[arg-type]  # a literal

        assert broker.dead_letters("song_requests") == f"{found}-dead-letters"
        broker.close()


def test_rabbitmqs_queues_are_declared_as_the_stock_broker_does() -> None:
    """Names and arguments of all three queues are those of Dramatiq's own broker."""
    stock = RabbitmqBroker(url="amqp://127.0.0.1:1", max_priority=7)

    made = tasks.rabbitmq_queues("default", 7)

    assert list(made) == ["default", "default.DQ", "default.XQ"]
    assert made["default"] == stock._build_queue_arguments("default")
    assert made["default.DQ"] == stock._build_queue_arguments("default.DQ")
    assert made["default.XQ"] == {"x-message-ttl": DEAD_MESSAGE_TTL}
    assert "x-max-priority" not in tasks.rabbitmq_queues("default")["default"]


@pytest.mark.parametrize("system", ["sqs", "storagequeue", "kafka", "rabbitmq"])
def test_nothing_is_made_where_nothing_may_be(system: str) -> None:
    """With `create: never` no queue is declared; with `auto` each system is told to."""
    for create in ("auto", "never"):
        address = tasks.address_of(system, "default", namespace="", is_made=create == "auto")

        told = str(dict(address.options).get("create") or address.options.get("create_missing"))
        assert (told in ("True", "auto") or "x-dead-letter" in told) is (create == "auto")


# --- what is refused ------------------------------------------------------------------------------


def checked(settings: Any = None, address: str = "default", **endpoint: Any) -> None:
    connection = None if settings is None else "c"
    declared = Endpoint(type="dramatiq", address=address, connection=connection, **endpoint)
    kinds.check(declared)
    if settings is not None:
        kinds.check_connection(declared, settings)


AWS = AwsConnection(region="eu-west-1")
MQ = RabbitmqConnection()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, "Nothing says on which broker"),
        ({"settings": SmtpConnection()}, "or rabbitmq or redis."),
        ({"settings": AWS, "options": {"system": "rabbitmq"}}, "of the kind rabbitmq"),
        ({"settings": AWS, "options": {"system": "carrier"}}, "options.system"),
        ({"settings": AWS, "options": {"aktor": "x"}}, "options.aktor"),
        ({"settings": AWS, "options": {"args": ["data..x"]}}, "no path such as"),
        ({"settings": AWS, "options": {"args": [""]}}, "no path such as"),
        ({"settings": AWS, "options": {"defaults": {"": 1}}}, "no path such as"),
        ({"settings": AWS, "options": {"kwargs": {"a-b": "id"}}}, "no name of an argument"),
        ({"settings": AWS, "options": {"kwargs": {"class": "id"}}}, "no name of an argument"),
        ({"settings": AWS, "options": {"message_options": {"eta": 1}}}, "message_options.eta"),
        ({"settings": AWS, "options": {"args": ["id"] * 65}}, "options.args"),
        ({"settings": AWS, "options": {"max_priority": 5}}, "has no max_priority"),
        ({"settings": MQ, "options": {"max_priority": 256}}, "options.max_priority"),
        ({"settings": MQ, "options": {"create": "never", "max_priority": 1}}, "leave create"),
        ({"settings": MQ, "options": {"namespace": "radio"}}, "has no namespace"),
        ({"settings": AWS, "properties": properties(priority="1")}, "message property priority"),
        ({"settings": RedisConnection(), "properties": properties(priority="1")}, "priority"),
        ({"settings": AWS, "properties": properties(group="a")}, "message property group"),
        ({"settings": MQ, "properties": properties(routing_key="a")}, "no message property"),
        ({"settings": AWS, "format": MessageFormat.DRAMATIQ}, "no message format"),
        ({"settings": AWS, "address": ""}, "no queue of an actor"),
        ({"settings": AWS, "address": "9lives"}, "no queue of an actor"),
        ({"settings": MQ, "address": "a" * 121}, "no queue of an actor"),
        ({"settings": AWS, "address": "a" * 100}, "has 100 characters"),
    ],
)
def test_what_cannot_be_delivered_to_is_refused(words: dict[str, Any], told: str) -> None:
    """Who declares it is told what is wrong, and what to do, before anything is kept."""
    with pytest.raises(InvalidRequest) as refused:
        checked(**words)

    assert told in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize(
    "words",
    [
        {"options": {"system": "sqs"}},
        {"options": {"system": "redis"}},
        {"settings": RedisConnection(), "options": {"namespace": "radio"}},
        {"settings": AWS, "options": {"system": "sqs", "args": ["id"] * 64}},
        {"settings": MQ, "address": "a" * 120, "options": {"max_priority": 255}},
        {"settings": MQ, "properties": properties(priority="1", delay="5s", message_id="x")},
        {"settings": AWS, "options": {"namespace": "radio"}, "properties": properties(delay="5")},
    ],
)
def test_what_can_be_delivered_to_is_taken(words: dict[str, Any]) -> None:
    """What is in bounds, at its edge, is not refused."""
    checked(**words)

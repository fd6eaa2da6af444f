"""What is sent for a message: all of it, or nothing with a reason."""

import base64
import dataclasses
import json
from typing import Any

import pytest
from dramatiq.message import Message as DramatiqMessage

from eventpost.core.sources import MessageFormat
from eventpost.diagnosis import codes
from eventpost.queues.interfaces import Message, Received, Traits
from eventpost.sources.moving import parcels
from eventpost.sources.moving.parcels import Lane, Manner, Parcel, Unmovable
from eventpost.testing.memory_queue import LEASED

NOW_MS = 1_700_000_000_000
SQS = dataclasses.replace(LEASED, system="sqs", message_bytes_max=1_000)
STORAGE = dataclasses.replace(
    LEASED, system="storagequeue", has_attributes=False, delay_s_max=604_800.0
)
RABBITMQ = dataclasses.replace(LEASED, system="rabbitmq", delay_s_max=0.0)
KAFKA = dataclasses.replace(LEASED, system="kafka", delay_s_max=0.0, is_log=True)


def received(body: bytes = b"song", **more: Any) -> Received:
    return Received(**{"id": "1", "body": body} | more)


def packed(one: Received, target: Traits, **manner: Any) -> Parcel | Unmovable:
    how = Manner(target=target, source="here", **manner)
    return parcels.pack(one, how, parcels.key_of(one), NOW_MS)


def message(one: Received, target: Traits = SQS, **manner: Any) -> Message:
    made = packed(one, target, **manner)
    assert isinstance(made, Parcel), made
    return made.message


def refusal(one: Received, target: Traits = SQS, **manner: Any) -> Unmovable:
    made = packed(one, target, **manner)
    assert isinstance(made, Unmovable), made
    return made


# --- as it is -------------------------------------------------------------------------------------


def test_a_message_goes_as_it_is() -> None:
    """Body, attributes, content type, group and priority arrive unchanged."""
    one = received(
        b"\x00\xff",
        attributes={"a": "1", "b": b"\xff"},
        content_type="image/png",
        group="station-7",
        system_attributes={"priority": "5"},
    )

    made = message(one)

    assert made.body == b"\x00\xff"
    assert made.attributes == {"a": "1", "b": b"\xff"}
    assert (made.content_type, made.group, made.priority) == ("image/png", "station-7", 5)
    assert made.delay_s == 0


def test_properties_of_rabbitmq_become_attributes() -> None:
    """What readers need of a message's properties is not lost, and what the server wrote of its
    way is not sent on."""
    one = received(
        system_attributes={"reply_to": "answers", "type": "play", "x-death": "[]", "exchange": "e"}
    )

    assert message(one).attributes == {"reply_to": "answers", "type": "play"}


def test_attributes_are_not_lost_without_a_word() -> None:
    """Where the target has no room for attributes, the message stays, unless they may go."""
    one = received(attributes={"genre": "blues", "bpm": "90"})

    refused = refusal(one, STORAGE)

    assert refused.finding == codes.MOVE_WOULD_LOSE
    assert "bpm, genre" in refused.detail
    assert message(one, STORAGE, drops_attributes=True).attributes == {}


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1_000, True), (1_001, False)])
def test_a_message_has_the_targets_size(size: int, *, fits: bool) -> None:
    """What is larger than the target's bound stays; what just fits goes."""
    made = packed(received(b"x" * size), SQS)

    assert isinstance(made, Parcel) is fits
    assert fits or (isinstance(made, Unmovable) and made.finding == codes.MOVE_TOO_LARGE)


def test_a_tombstone_of_kafka_stays() -> None:
    """A record without a value is not made an empty message."""
    one = received(b"", system_attributes={"tombstone": "true"})

    assert refusal(one, KAFKA).finding == codes.MOVE_WOULD_LOSE


def test_a_key_that_is_no_text_keeps_its_record() -> None:
    """A key is never sent on damaged."""
    one = received(group=b"\xff\x01".decode("utf-8", "replace"))

    assert refusal(one, KAFKA).finding == codes.MOVE_WOULD_LOSE


# --- who it is ------------------------------------------------------------------------------------


def test_the_publishers_id_is_kept() -> None:
    """A message keeps its publisher's id; one without has that of its source; else it gets none."""
    own = received(system_attributes={"message_id": "of-the-publisher"})

    assert message(own).message_id == "of-the-publisher"
    assert message(received()).message_id == "1"
    assert message(received(id="")).message_id == ""


def test_a_repeated_send_has_the_same_deduplication_id() -> None:
    """The target can tell that a message is sent again, and never takes two for one."""
    first, second = received(id="1"), received(id="2")
    fifo = received(system_attributes={"MessageDeduplicationId": "own"})

    assert message(first).deduplication_id == message(received(id="1")).deduplication_id
    assert message(first).deduplication_id != message(second).deduplication_id
    assert message(fifo).deduplication_id == "own"
    assert message(received(id="")).deduplication_id == ""


def test_a_key_tells_messages_apart() -> None:
    """Without an id, all that its sender gave it makes the key, and nothing that the server did."""
    one = received(id="", attributes={"a": "bc"})
    alike = received(id="", attributes={"a": "bc"}, system_attributes={"redelivered": "true"})
    others = [
        received(id="", attributes={"ab": "c"}),
        received(id="", attributes={}),
        received(b"other", id="", attributes={"a": "bc"}),
        received(id="", attributes={"a": "bc"}, content_type="text/plain"),
        received(id="", attributes={"a": "bc"}, system_attributes={"message_id": "7"}),
        received(id="x", attributes={"a": "bc"}),
    ]

    keys = {parcels.key_of(each) for each in others}

    assert parcels.key_of(one) == parcels.key_of(alike)
    assert len(keys) == len(others)
    assert parcels.key_of(one) not in keys


# --- Dramatiq -------------------------------------------------------------------------------------


def played(**options: Any) -> DramatiqMessage[Any]:
    return DramatiqMessage(
        queue_name="songs",
        actor_name="play",
        args=("♫", 1.50),
        kwargs={"loud": True},
        options=options,
    )


def dramatiq(one: DramatiqMessage[Any], target: Traits, **manner: Any) -> Parcel:
    body = one.encode()
    made = packed(received(body), target, format=MessageFormat.DRAMATIQ, **manner)
    assert isinstance(made, Parcel), made
    return made


@pytest.mark.parametrize("target", [SQS, STORAGE, RABBITMQ, KAFKA])
def test_a_message_of_dramatiq_goes_byte_for_byte(target: Traits) -> None:
    """Nothing of it is written anew when nothing is to change."""
    one = played(retries=2, traceback="boom", broker_priority=4)

    made = dramatiq(one, target)

    assert made.message.body == one.encode()
    assert made.lane is Lane.MAIN
    assert made.message.priority == (4 if target is RABBITMQ else None)


def test_a_delayed_message_keeps_its_time() -> None:
    """It is hidden as long as the target can, keeps its time in any case, and on RabbitMQ goes
    where the broker keeps such messages."""
    one = dataclasses.replace(played(eta=NOW_MS + 1_000_000), queue_name="songs.DQ")

    hidden = {each.system: dramatiq(one, each) for each in (SQS, STORAGE, RABBITMQ, KAFKA)}

    delays = {name: made.message.delay_s for name, made in hidden.items()}
    assert delays == {"sqs": 900.0, "storagequeue": 1_000.0, "rabbitmq": 0.0, "kafka": 0.0}
    lanes = {name for name, made in hidden.items() if made.lane is Lane.DELAYED}
    assert lanes == {"rabbitmq"}
    for name, made in hidden.items():
        read = DramatiqMessage.decode(made.message.body)
        queue = "songs.DQ" if name == "rabbitmq" else "songs"
        assert read == dataclasses.replace(one, queue_name=queue)


def test_a_message_whose_time_has_come_is_not_held_back() -> None:
    """A time that has passed delays nothing."""
    one = dataclasses.replace(played(eta=NOW_MS - 1), queue_name="songs.DQ")

    made = dramatiq(one, RABBITMQ)

    assert made.lane is Lane.MAIN
    assert DramatiqMessage.decode(made.message.body).queue_name == "songs"
    assert dramatiq(one, SQS).message.delay_s == 0


def test_the_name_of_the_queue_changes_when_asked() -> None:
    """Workers find a message under the name that its queue has now; all else stays, members that
    are not known here as well."""
    body = json.dumps(json.loads(played().encode()) | {"of_tomorrow": [1.0, "é"]}).encode()

    made = message(received(body), format=MessageFormat.DRAMATIQ, queue_name="jazz")

    expected = json.loads(body) | {"queue_name": "jazz"}
    assert json.loads(made.body) == expected
    assert b'"of_tomorrow":[1.0, "\\u00e9"]' in made.body


def test_base64_is_taken_off_and_put_on() -> None:
    """Brokers that send base64 are understood, and served when that is asked for."""
    one = received(base64.b64encode(played().encode()))
    body = json.loads(played().encode())

    plain = message(one, format=MessageFormat.DRAMATIQ)
    again = message(one, format=MessageFormat.DRAMATIQ, is_base64=True)

    assert json.loads(plain.body)["args"] == body["args"]
    assert base64.b64decode(again.body) == plain.body


@pytest.mark.parametrize("body", [b"", b"song", b"[]", b'{"queue_name": "songs"}', b"\x80\x04]"])
def test_what_is_no_message_of_dramatiq_stays(body: bytes) -> None:
    """Another message in the queue is left where it is, with what is wrong with it."""
    refused = refusal(received(body), format=MessageFormat.DRAMATIQ)

    assert refused.finding == codes.MOVE_NOT_OF_FORMAT
    assert refused.detail


# --- other formats --------------------------------------------------------------------------------


def test_a_job_of_roadrunner_keeps_its_attributes_of_their_types() -> None:
    """RoadRunner reads the job at the target: text as text, headers as bytes, a number as one."""
    attributes: dict[str, str | bytes] = {
        "rr_id": "7",
        "rr_job": "App\\Play",
        "rr_headers": b'{"attempts":["2"]}',
        "rr_delay": "5",
        "rr_priority": "3",
        "rr_auto_ack": "true",
        "mine": "too",
    }

    made = message(received(b"{}", attributes=attributes), format=MessageFormat.ROADRUNNER)

    assert made.attributes == attributes | {"rr_priority": 3}
    assert made.body == b"{}"
    refused = refusal(received(attributes=attributes), STORAGE, format=MessageFormat.ROADRUNNER)
    assert refused.finding == codes.MOVE_WOULD_LOSE
    assert refusal(received(), format=MessageFormat.ROADRUNNER).finding == codes.MOVE_NOT_OF_FORMAT


def test_a_cloud_event_in_binary_mode_becomes_structured_where_it_must() -> None:
    """Where a message has attributes it goes as it is; else they go into its body."""
    attributes: dict[str, str | bytes] = {
        "ce_specversion": "1.0",
        "ce_id": "7",
        "ce_source": "/radio",
        "ce_type": "Song",
    }
    one = received(b'{"a":1}', attributes=attributes, content_type="application/json")

    kept = message(one, format=MessageFormat.EVENT)
    structured = message(one, STORAGE, format=MessageFormat.EVENT)

    assert (kept.body, kept.attributes) == (b'{"a":1}', attributes)
    event = json.loads(structured.body)
    assert (event["id"], event["type"], event["data"]) == ("7", "Song", {"a": 1})
    assert refusal(received(), format=MessageFormat.EVENT).finding == codes.MOVE_NOT_OF_FORMAT


def test_an_event_in_its_body_goes_as_it_is() -> None:
    """A structured CloudEvent and an event of Event Grid are not written anew."""
    cloud = b'{"specversion":"1.0","id":"1","source":"/a","type":"T" , "data":1.50}'
    grid = (
        b'[{"id":"1","subject":"s","eventType":"T","eventTime":"2026-01-01T00:00:00Z",'
        b'"dataVersion":"1","data":{}}]'
    )

    for body in (cloud, grid):
        assert message(received(body), STORAGE, format=MessageFormat.EVENT).body == body

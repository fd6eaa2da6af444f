"""What is wrong with a broker's settings is told when it is made, or by the first enqueue."""

from typing import Any

import dramatiq
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.workers.errors import SendFailed
from eventpost.workers.kafka import KafkaBroker
from eventpost.workers.sqs import SQSBroker
from eventpost.workers.storagequeue import StorageQueueBroker


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"access_key_id": "AKIDEXAMPLE"}, "secret_access_key"),
        ({"secret_access_key": "s"}, "access_key_id"),
        ({"access_key_id": "ASIAEXAMPLE", "secret_access_key": "s"}, "session_token"),
        ({"lease_s": 0.5}, "lease_s"),
        ({"receives_max": 0}, "receives_max"),
        ({"ledger": "mongodb://x"}, "mongodb"),
        ({"ledger": "redis://dj@x"}, "no password"),
    ],
)
def test_bad_settings_of_sqs(words: dict[str, Any], told: str) -> None:
    """Half a set of keys and what is out of range is refused, without repeating a secret."""
    with pytest.raises(InvalidRequest, match=told):
        SQSBroker(region="eu-west-1", **words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({}, "storage account"),
        ({"connection_string": "nonsense"}, "not a list"),
        ({"connection_string": "AccountName=radio"}, "AccountKey"),
        ({"connection_string": "AccountKey=aaaa"}, "AccountName"),
        ({"connection_string": "AccountName=a;AccountKey=!"}, "base64"),
        ({"connection_string": "x", "account_url": "https://a"}, "beside it"),
        ({"connection_string": "x", "credential": "k"}, "beside it"),
    ],
)
def test_bad_settings_of_storage_queues(words: dict[str, Any], told: str) -> None:
    """Half a connection string, and two ways to say who we are, are refused."""
    with pytest.raises(InvalidRequest, match=told):
        StorageQueueBroker(**words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"bootstrap": []}, "list of brokers"),
        ({"bootstrap": "localhost:9092"}, "list of brokers"),
        ({"bootstrap": ["localhost"]}, "HOST:PORT"),
        ({"bootstrap": ["a:1"], "auth": "scram", "username": "dj"}, "password"),
        ({"bootstrap": ["a:1"], "auth": "plain", "password": "open sesame"}, "username"),
        ({"bootstrap": ["a:1"], "config": {"enable.auto.commit": True}}, "cannot be set"),
    ],
)
def test_bad_settings_of_kafka(words: dict[str, Any], told: str) -> None:
    """Half of who we are, no address, and what would commit on its own are refused."""
    with pytest.raises(InvalidRequest, match=told) as caught:
        KafkaBroker(**words)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("queue", "name"),
    [("default", "radio-default"), ("Song_Requests.v2", "radio-song-requests-v2")],
)
def test_names_on_azure(queue: str, name: str) -> None:
    """A queue's name becomes one that the service takes."""
    broker = StorageQueueBroker(account_url="https://a.queue.core.windows.net", namespace="radio")
    assert broker.dead_letters(queue) == f"{name}-dead-letters"


def test_names_that_collide_are_refused() -> None:
    """Two names that become one are told, and the first stays."""
    broker = StorageQueueBroker(account_url="https://a.queue.core.windows.net")
    broker.declare_queue("song_requests")
    with pytest.raises(InvalidRequest, match="song_requests and song-requests"):
        broker.declare_queue("song-requests")
    assert broker.get_declared_queues() == {"song_requests"}


@pytest.mark.parametrize("count", [67, 68])
def test_the_longest_name_on_sqs(count: int) -> None:
    """With its dead letters' suffix it has to fit into what SQS takes."""
    broker = SQSBroker(region="eu-west-1")
    if count == 67:
        broker.declare_queue("q" * count)
    else:
        with pytest.raises(InvalidRequest, match="68 characters"):
            broker.declare_queue("q" * count)


def test_an_enqueue_that_fails_says_why() -> None:
    """Its error is one that Dramatiq takes for a lost connection, and names the finding."""
    broker = SQSBroker(
        region="eu-west-1",
        endpoint_url="http://127.0.0.1:9",
        access_key_id="AKIDEXAMPLE",
        secret_access_key="secret",
    )

    @dramatiq.actor(broker=broker)
    def note() -> None:
        pass

    with pytest.raises(SendFailed, match=r"EP2004.*Fix:") as caught:
        note.send()
    assert isinstance(caught.value, dramatiq.BrokerConnectionError)
    assert "secret" not in str(caught.value)


def test_a_fifo_queue_is_refused() -> None:
    """A queue that would be a FIFO one is refused when its actor is declared, with the reason, and
    is not made a standard one of another name."""
    broker = SQSBroker(region="eu-west-1", access_key_id="AKIDEXAMPLE", secret_access_key="s")

    with pytest.raises(InvalidRequest, match=r"songs\.fifo would be a FIFO queue.*holds up"):

        @dramatiq.actor(broker=broker, queue_name="songs.fifo")
        def play() -> None: ...

    assert "songs.fifo" not in broker.queues
    broker.close()

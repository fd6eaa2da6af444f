"""Claim checks: bodies too large for a message travel as blobs, on Azurite."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import ContainerClient
from azure.storage.queue import (
    AccountSasPermissions,
    ResourceTypes,
    Services,
    generate_account_sas,
)

from eventpost.core.outcomes import Delivered, Failed
from eventpost.diagnosis import services
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Received, Settled
from eventpost.queues.storagequeue import Options, StorageQueue
from eventpost.queues.storagequeue.calls import CLAIM_CHECK, Receipt
from eventpost.queues.storagequeue.claims import pointer_of
from eventpost.testing.queue_conformance import nothing_comes, send, settle, take
from tests.queues.storagequeue.azure import AzureHarness, session_on
from tests.services.azurite import Azurite
from tests.services.service import fresh_name

LARGE = b"a long song " * 10_000


class Claiming(AzureHarness):
    """A fresh queue with a fresh container for its claim checks."""

    def __init__(self, azurite: Azurite, *, is_made: bool = True) -> None:
        self.container = fresh_name("claims")
        super().__init__(azurite, claim_check=self.container)
        self.store = ContainerClient.from_connection_string(
            azurite.connection_string, self.container
        )
        if is_made:
            self.store.create_container()

    @property
    def kept(self) -> list[str]:
        """The names of all blobs."""
        return self.blobs(self.container)

    def stop(self) -> None:
        super().stop()
        self.store.close()


@pytest.fixture
def harness(azurite: Azurite) -> Iterator[Claiming]:
    with Claiming(azurite) as harness:
        yield harness


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["base64", "text"])
def test_a_large_body(harness: Claiming, encoding: str) -> None:
    """A large body travels as a blob, and comes whole; settling its message deletes the blob."""
    queue = harness.new_queue(encoding=encoding)
    send(queue, Message(body=LARGE), Message(body=b"small"))

    [blob] = harness.kept
    received = {len(one.body): one for one in take(harness, queue, 2)}

    assert received[len(LARGE)].body == LARGE
    assert received[5].body == b"small"
    assert blob.startswith(f"{harness.name}/20")
    settle(queue, list(received.values()))
    assert harness.kept == []
    nothing_comes(harness, queue)


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "inline_max"), [("base64", 49_152), ("text", 65_536)])
def test_the_edge_to_a_blob(harness: Claiming, encoding: str, inline_max: int) -> None:
    """A body that fits into a message goes in it; one byte more goes as a blob."""
    queue = harness.new_queue(encoding=encoding)

    send(queue, Message(body=b"x" * inline_max))
    assert harness.kept == []

    send(queue, Message(body=b"x" * (inline_max + 1)))
    assert len(harness.kept) == 1


@pytest.mark.slow
def test_the_edge_of_a_blob(harness: Claiming) -> None:
    """`claim_check_bytes_max` bounds a body: exactly that much goes and comes, one byte more is
    refused finally, and no blob is left."""
    queue = harness.new_queue(claim_check_bytes_max=100_000)

    fits, larger = queue.send([Message(body=b"x" * 100_000), Message(body=b"x" * 100_001)])

    assert isinstance(fits, Delivered)
    assert isinstance(larger, Failed)
    assert larger.final
    assert larger.evidence.code == "MessageTooLarge"
    assert "claim_check_bytes_max" in larger.evidence.detail
    assert len(harness.kept) == 1
    assert len(take(harness, queue, 1)[0].body) == 100_000


@pytest.mark.slow
def test_a_pointer_is_documented(harness: Claiming) -> None:
    """The message holds where the blob is, how long, and its checksum; no container, so that nobody
    can have another one read."""
    queue = harness.new_queue(encoding="text")
    send(queue, Message(body=LARGE))

    [peeked] = harness.plain.peek_messages()
    pointer = json.loads(peeked.content)

    assert list(pointer) == ["eventpostClaimCheck", "blob", "bytes", "sha256"]
    assert pointer["eventpostClaimCheck"] == 1
    assert pointer["bytes"] == len(LARGE)
    assert [pointer["blob"]] == harness.kept


@pytest.mark.slow
def test_without_the_option_a_pointer_is_a_body(harness: Claiming) -> None:
    """A receiver that does not know of claim checks gets the pointer itself."""
    send(harness.new_queue(), Message(body=LARGE))

    [received] = take(harness, harness.new_queue(claim_check=""), 1)

    assert pointer_of(received.body) is not None


@pytest.mark.slow
def test_a_blob_outlives_what_is_not_settled(harness: Claiming) -> None:
    """Extended, released or lost: while the message lives, its blob does."""
    queue = harness.new_queue()
    send(queue, Message(body=LARGE))
    [held] = take(harness, queue, 1)

    assert list(queue.extend([held], 60.0)) == [Settled.DONE]
    assert list(queue.release([held], 0.0)) == [Settled.DONE]
    stale = Received(id=held.id, body=b"", receipt=Receipt("AgAAAAMAAAAAAAAA", harness.kept[0]))
    assert list(queue.settle([stale])) == [Settled.LOST]

    [again] = take(harness, queue, 1)
    assert again.body == LARGE


@pytest.mark.slow
def test_a_message_that_is_gone_keeps_its_blob(harness: Claiming) -> None:
    """When the service says that there is no such message, it may mean a receipt that is too old:
    the blob stays, for the lifecycle rule."""
    queue = harness.new_queue()
    send(queue, Message(body=LARGE))
    [held] = take(harness, queue, 1)
    assert isinstance(held.receipt, Receipt)
    harness.plain.delete_message(held.id, held.receipt.pop)

    settle(queue, [held])

    assert len(harness.kept) == 1


@pytest.mark.slow
def test_a_blob_that_may_not_be_deleted(azurite: Azurite, harness: Claiming) -> None:
    """When the message is settled and its blob may not be deleted, the message is done all the
    same, and the blob that is kept is told."""
    sas = generate_account_sas(
        azurite.account,
        azurite.key,
        ResourceTypes(object=True, container=True),
        AccountSasPermissions(read=True, add=True, create=True, process=True),
        datetime.now(UTC) + timedelta(hours=1),
        services=Services(queue=True, blob=True),
    )
    logged: list[dict[str, object]] = []

    def log(event: str, **fields: object) -> None:
        logged.append({"event": event, **fields})

    options = Options(claim_check=harness.container)
    queue = StorageQueue(harness.name, options, session_on(azurite, sas=sas), log)
    send(queue, Message(body=LARGE))

    settle(queue, take(harness, queue, 1))

    [blob] = harness.kept
    [told] = logged
    assert told["event"] == "queue.claim_check_kept"
    assert (told["queue"], told["blob"]) == (harness.name, blob)
    assert told["code"] == "AuthorizationPermissionMismatch"
    nothing_comes(harness, queue)
    queue.close()


@pytest.mark.slow
def test_a_refused_send_leaves_no_blob(harness: Claiming) -> None:
    """When the message is refused after its blob was written, the blob is deleted again."""
    queue = harness.new_queue()
    harness.plain.delete_queue()

    [outcome] = queue.send([Message(body=LARGE)])

    assert isinstance(outcome, Failed)
    assert outcome.evidence.code == "QueueNotFound"
    assert harness.kept == []
    harness.plain.create_queue()


@pytest.mark.slow
def test_a_missing_container(azurite: Azurite) -> None:
    """Without the container a large body is refused, and told as such; a small one goes."""
    with Claiming(azurite, is_made=False) as harness:
        queue = harness.new_queue()

        large, small = queue.send([Message(body=LARGE), Message(body=b"small")])

    assert isinstance(small, Delivered)
    assert isinstance(large, Failed)
    assert not large.final
    assert (large.evidence.code, large.evidence.operation) == ("ContainerNotFound", "send")
    assert classify(large.evidence) == "EP4250"


@pytest.mark.slow
def test_a_container_is_made_when_asked(azurite: Azurite) -> None:
    """With `create: auto` many large bodies at once make the container together."""
    with Claiming(azurite, is_made=False) as harness:
        queue = harness.new_queue(create="auto")

        send(queue, *[Message(body=LARGE)] * 8)

        assert len(harness.kept) == 8


def spoil(harness: Claiming, how: str, blob: str) -> None:
    match how:
        case "deleted":
            harness.store.delete_blob(blob)
        case "no container":
            harness.store.delete_container()
        case "shorter":
            harness.store.upload_blob(blob, LARGE[:-1], overwrite=True)
        case "longer":
            harness.store.upload_blob(blob, LARGE + b"x", overwrite=True)
        case "other":
            harness.store.upload_blob(blob, LARGE[::-1], overwrite=True)


SPOILED = {
    "deleted": ("BlobNotFound", "EP4250"),
    "no container": ("ContainerNotFound", "EP4250"),
    "shorter": ("ClaimCheckDamaged", "EP4251"),
    "longer": ("ClaimCheckDamaged", "EP4251"),
    "other": ("ClaimCheckDamaged", "EP4251"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("how", "said"), SPOILED.items())
def test_a_claim_that_cannot_be_redeemed(
    harness: Claiming, how: str, said: tuple[str, str]
) -> None:
    """A message whose blob is gone or is another one is handed out with its pointer and the reason,
    so that it can become a dead letter; the others of the page come, and nothing is deleted but the
    message."""
    code, finding = said
    queue = harness.new_queue()
    send(queue, Message(body=LARGE), Message(body=b"small"))
    [blob] = harness.kept
    spoil(harness, how, blob)

    received = {len(one.body) == 5: one for one in take(harness, queue, 2)}

    spoiled = received[False]
    assert pointer_of(spoiled.body) is not None
    assert spoiled.system_attributes[CLAIM_CHECK].startswith(f"{code}: ")
    assert services.finding("storagequeue", code) == finding
    settle(queue, [spoiled])
    assert harness.kept == ([] if code != "ClaimCheckDamaged" else [blob])


@pytest.mark.slow
def test_a_pointer_beyond_the_bound(harness: Claiming) -> None:
    """A pointer to more than we would take is not followed."""
    send(harness.new_queue(), Message(body=LARGE))

    [received] = take(harness, harness.new_queue(claim_check_bytes_max=len(LARGE) - 1), 1)

    assert received.system_attributes[CLAIM_CHECK].startswith("ClaimCheckDamaged: ")
    assert "claim_check_bytes_max" in received.system_attributes[CLAIM_CHECK]


@pytest.mark.slow
def test_blobs_that_cannot_be_reached(azurite: Azurite, harness: Claiming) -> None:
    """While the blob service is out of reach, messages whose body is there are kept back and come
    again; a page of nothing else is a failure, so that somebody hears of it."""
    send(harness.new_queue(), Message(body=LARGE))
    away = harness.at(session_on(azurite, blob_url="http://127.0.0.1:1/station"))

    page = away.receive(32, 0.0, harness.lease_s)

    assert isinstance(page, Failed)
    assert classify(page.evidence) == "EP2004"
    assert page.evidence.operation == "receive"
    [again] = take(harness, harness.new_queue(), 1)
    assert again.body == LARGE
    assert again.receive_count == 2


@pytest.mark.slow
def test_the_rest_of_a_page_is_handed_out(azurite: Azurite, harness: Claiming) -> None:
    """A page of which some bodies cannot be had just now is handed out without them."""
    send(harness.new_queue(), Message(body=LARGE), Message(body=b"small"))
    away = harness.at(session_on(azurite, blob_url="http://127.0.0.1:1/station"))

    page = away.receive(32, 0.0, 60.0)

    assert isinstance(page, list)
    assert [one.body for one in page] == [b"small"]


NO_POINTERS = [
    b"{}",
    b"",
    b'{"eventpostClaimCheck":1}',
    b'{"eventpostClaimCheck":2,"blob":"a","bytes":1,"sha256":""}',
    b'{"eventpostClaimCheck":1,"blob":"","bytes":1,"sha256":""}',
    b'{"eventpostClaimCheck":1,"blob":"a","bytes":-1,"sha256":""}',
    b'{"eventpostClaimCheck":1,"blob":"a","bytes":1,"sha256":"","container":"others"}',
    b'{"eventpostClaimCheck":',
    b' {"eventpostClaimCheck":1,"blob":"a","bytes":1,"sha256":""}',
]


@pytest.mark.parametrize("body", NO_POINTERS)
def test_what_is_no_pointer(body: bytes) -> None:
    """Only a complete pointer of this version is one; everything else is a body like any other."""
    assert pointer_of(body) is None

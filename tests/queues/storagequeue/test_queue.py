"""Azure Storage Queues on Azurite: the contract, encodings, bounds, receipts, creation."""

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.storage.queue import BinaryBase64EncodePolicy, QueueClient, TextBase64EncodePolicy

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Delivered, Failed
from eventpost.credentials.azure import AzureStorageConnection
from eventpost.queues.interfaces import Address, Message, Queue, Received, Settled
from eventpost.queues.kinds import Services as KindServices
from eventpost.queues.kinds import open_queue, options_of
from eventpost.queues.storagequeue import Options
from eventpost.queues.storagequeue.address import split_address
from eventpost.queues.storagequeue.calls import Receipt
from eventpost.queues.storagequeue.messages import text_of
from eventpost.testing.queue_conformance import (
    QueueConformance,
    QueueHarness,
    nothing_comes,
    send,
    settle,
    take,
)
from tests.queues.storagequeue.azure import AzureHarness, queue_at, session_on
from tests.services.azurite import Azurite
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow
DAY_S = 86_400


class TestBase64(QueueConformance):
    """With the default options, which carry any bytes."""

    @pytest.fixture
    def harness(self, azurite: Azurite) -> Iterator[QueueHarness]:
        with AzureHarness(azurite) as harness:
            yield harness


class TestTextWithClaimCheck(QueueConformance):
    """With bodies as plain text, and large ones as blobs."""

    @pytest.fixture
    def harness(self, azurite: Azurite) -> Iterator[QueueHarness]:
        options = {"claim_check": fresh_name("claims"), "claim_check_bytes_max": 200_000}
        with AzureHarness(azurite, encoding="text", create="auto", **options) as harness:
            harness.bodies = [body for body in harness.bodies if body != bytes(range(256))]
            yield harness


@pytest.fixture
def harness(azurite: Azurite) -> Iterator[AzureHarness]:
    with AzureHarness(azurite) as harness:
        yield harness


# --- encodings ------------------------------------------------------------------------------------

FOREIGN = {
    "plain JSON": '{"song":"Cross Road Blues"}',
    "plain text beyond ASCII": "Blues für alle \U0001f3b8",
    "what looks a little like base64": "abc",
    "an empty text": "",
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("encoding", ["base64", "text"])
def test_plain_text_of_others(harness: AzureHarness, encoding: str, text: str) -> None:
    """What another program sent as plain text is taken as it is, whatever we send ourselves."""
    harness.plain.send_message(text)

    [received] = take(harness, harness.new_queue(encoding=encoding), 1)

    assert received.body == text.encode()


@pytest.mark.parametrize("body", [b"", b"{}", bytes(range(256))])
def test_base64_of_others(azurite: Azurite, harness: AzureHarness, body: bytes) -> None:
    """What another program sent as base64 (Azure Functions, Dramatiq's broker) is decoded."""
    policy = BinaryBase64EncodePolicy()
    with QueueClient.from_connection_string(
        azurite.connection_string, harness.name, message_encode_policy=policy
    ) as other:
        other.send_message(body)

    [received] = take(harness, harness.new_queue(), 1)

    assert received.body == body


def test_what_we_send_is_read_by_others(azurite: Azurite, harness: AzureHarness) -> None:
    """With `base64` the text is base64, with `text` it is the body itself."""
    send(harness.new_queue(), Message(body=b"\x00\xff"))
    send(harness.new_queue(encoding="text"), Message(body="für".encode()))

    texts = {message.content for message in harness.plain.peek_messages(max_messages=2)}

    assert texts == {base64.b64encode(b"\x00\xff").decode(), "für"}


def test_base64_is_text_to_a_reader_of_text(harness: AzureHarness) -> None:
    """With `text` nothing is decoded, so that no text is mistaken for base64."""
    harness.plain.send_message(TextBase64EncodePolicy().encode("a song"))

    [received] = take(harness, harness.new_queue(encoding="text"), 1)

    assert received.body == b"YSBzb25n"


def test_line_ends_pass_as_text(harness: AzureHarness) -> None:
    """Carriage returns and what XML escapes go through plain text byte for byte."""
    body = b"one\r\ntwo\rthree\n]]>&lt;<tag attribute='\"'>"
    queue = harness.new_queue(encoding="text")

    send(queue, Message(body=body))

    assert take(harness, queue, 1)[0].body == body


@pytest.mark.parametrize("body", [b"\xff", b"a\x00b", "a\uffffb".encode(), b"\x1b[0m"])
def test_what_is_not_text(harness: AzureHarness, body: bytes) -> None:
    """What text cannot carry is refused finally before it is sent: it would break the queue for
    every reader."""
    queue = harness.new_queue(encoding="text")

    [outcome] = queue.send([Message(body=body)])

    assert isinstance(outcome, Failed)
    assert outcome.final
    assert not outcome.is_counted
    assert outcome.evidence.code == "InvalidXmlDocument"
    nothing_comes(harness, queue)


# --- bounds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "size_max"), [("base64", 49_152), ("text", 65_536)])
def test_the_edge_of_64_kib(harness: AzureHarness, encoding: str, size_max: int) -> None:
    """The largest body is exactly what the service takes; one byte more is final, and tells why."""
    queue = harness.new_queue(encoding=encoding)
    largest = b"x" * size_max

    fits, larger = queue.send([Message(body=largest), Message(body=largest + b"x")])

    assert isinstance(fits, Delivered), fits
    assert isinstance(larger, Failed)
    assert larger.final
    assert larger.evidence.code == "MessageTooLarge"
    assert str(size_max) in larger.evidence.detail
    assert take(harness, queue, 1)[0].body == largest
    assert queue.traits.message_bytes_max == size_max


def test_text_is_counted_in_bytes() -> None:
    """The bound of plain text is one of bytes of UTF-8, as the service's is, not of characters."""
    options = Options(encoding="text")
    largest = "ü" * 32_768

    assert text_of(Message(body=largest.encode()), options) == largest
    assert isinstance(text_of(Message(body=largest.encode() + b"x"), options), Failed)


def test_a_page_of_32(harness: AzureHarness) -> None:
    """One request brings up to 32 messages, also when more are asked for."""
    queue = harness.new_queue()
    send(queue, *(Message(body=str(number).encode()) for number in range(40)))

    first = queue.receive(40, 0.0, 60.0)
    second = queue.receive(40, 0.0, 60.0)

    assert isinstance(first, list)
    assert isinstance(second, list)
    assert (len(first), len(second)) == (32, 8)


def test_messages_never_expire(harness: AzureHarness) -> None:
    """Without `ttl_s` the service keeps a message for ever, and not for its own seven days."""
    queue = harness.new_queue()
    send(queue, Message(body=b"for ever"))
    send(harness.new_queue(ttl_s=60), Message(body=b"a minute"))

    received = {one.body: one for one in take(harness, queue, 2)}

    assert received[b"for ever"].system_attributes["ExpirationTime"].startswith("9999-12-31")
    assert not received[b"a minute"].system_attributes["ExpirationTime"].startswith("9999")


@pytest.mark.parametrize("delay_s", [7 * DAY_S - 1, 7 * DAY_S])
def test_a_delay_of_seven_days(harness: AzureHarness, delay_s: float) -> None:
    """A delay of up to seven days is taken; the bound itself is in the suite."""
    queue = harness.new_queue()

    send(queue, Message(body=b"next week", delay_s=delay_s))

    nothing_comes(harness, queue)


@pytest.mark.parametrize(("delay_s", "is_taken"), [(9.0, True), (9.1, False), (10.0, False)])
def test_a_delay_and_a_time_to_live(harness: AzureHarness, delay_s: float, is_taken: bool) -> None:
    """A message that would be deleted before its delay has passed is refused finally."""
    [outcome] = harness.new_queue(ttl_s=10).send([Message(body=b"", delay_s=delay_s)])

    assert isinstance(outcome, Delivered) is is_taken
    if isinstance(outcome, Failed):
        assert outcome.final
        assert outcome.evidence.code == "OutOfRangeQueryParameterValue"


def test_a_lease_of_seven_days(harness: AzureHarness) -> None:
    """A lease is at most seven days: longer ones are cut to it, in receiving and in extending."""
    queue = harness.new_queue()
    send(queue, Message(body=b"mine"))

    [held] = take(harness, queue, 1, lease_s=30 * DAY_S)

    assert held.lease_until_s == pytest.approx(time.monotonic() + 7 * DAY_S, abs=10)
    assert list(queue.extend([held], 30 * DAY_S)) == [Settled.DONE]
    assert held.lease_until_s == pytest.approx(time.monotonic() + 7 * DAY_S, abs=10)


def test_fractions_are_rounded_up(harness: AzureHarness) -> None:
    """The service counts whole seconds: half a second becomes one, and no lease becomes none."""
    queue = harness.new_queue()
    send(queue, Message(body=b"mine"))

    [held] = take(harness, queue, 1, lease_s=0.5)

    assert 0.0 < held.lease_until_s - time.monotonic() <= 1.0


# --- receipts -------------------------------------------------------------------------------------


def test_an_extension_replaces_the_receipt(harness: AzureHarness) -> None:
    """After an extension the receipt from before it is void, and every copy has the new one."""
    queue = harness.new_queue()
    send(queue, Message(body=b"mine"))
    [held] = take(harness, queue, 1)
    copy = Received(id=held.id, body=b"", receipt=held.receipt)
    assert isinstance(held.receipt, Receipt)
    old_pop = held.receipt.pop

    assert list(queue.extend([held], 60.0)) == [Settled.DONE]

    stale = Received(id=held.id, body=b"", receipt=Receipt(old_pop))
    assert list(queue.settle([stale])) == [Settled.LOST]
    settle(queue, [copy])
    nothing_comes(harness, queue)


def test_a_mixed_settle_is_judged_one_by_one(harness: AzureHarness) -> None:
    """In one call one message is settled, one was gone, and one is somebody else's."""
    queue = harness.new_queue()
    send(queue, *(Message(body=str(number).encode()) for number in range(3)))
    good, gone, lost = take(harness, queue, 3)
    assert isinstance(gone.receipt, Receipt)
    harness.plain.delete_message(gone.id, gone.receipt.pop)
    stale = Received(id=lost.id, body=b"", receipt=Receipt("AgAAAAMAAAAAAAAA"))

    verdicts = queue.settle([good, gone, stale])

    assert list(verdicts) == [Settled.DONE, Settled.DONE, Settled.LOST]


# --- names and creation ---------------------------------------------------------------------------


def test_a_queue_is_not_made_unless_asked(harness: AzureHarness) -> None:
    """By default a missing queue is a failure, and stays missing."""
    queue = harness.missing_queue()

    [outcome] = queue.send([Message(body=b"")])

    assert isinstance(outcome, Failed)
    assert outcome.evidence.code == "QueueNotFound"
    assert not outcome.final
    assert isinstance(queue.receive(1, 0.0, 1.0), Failed)


@pytest.mark.parametrize("begins_with", ["send", "receive"])
def test_a_queue_is_made_when_asked(azurite: Azurite, begins_with: str) -> None:
    """With `create: auto` the first use makes the queue, by many threads at once too."""
    queue = queue_at(session_on(azurite), fresh_name("made"), create="auto")
    try:
        if begins_with == "send":
            assert {type(one) for one in queue.send([Message(body=b"1")] * 20)} == {Delivered}
        else:
            assert queue.receive(1, 0.0, 1.0) == []
    finally:
        queue.close()


def test_many_sends_at_once_keep_the_session(azurite: Azurite, harness: AzureHarness) -> None:
    """Connections are kept: many calls go over no more of them than requests run at once."""
    queue = harness.new_queue(requests_max=3)

    send(queue, *[Message(body=b"x")] * 50)

    assert len({one.id for one in take(harness, queue, 50)}) == 50


NAMES = ["Songs", "ab", "a" * 64, "-ab", "ab-", "a--b", "a_b", "a.b", "", "fü"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be(name: str) -> None:
    """A name that Azure does not take is refused when it is declared."""
    with pytest.raises(InvalidRequest, match="queue"):
        split_address(name)


@pytest.mark.parametrize(
    ("address", "endpoint", "name"),
    [
        ("abc", "", "abc"),
        ("a" * 63, "", "a" * 63),
        ("1-a-2", "", "1-a-2"),
        (
            "https://station.queue.core.windows.net/jobs",
            "https://station.queue.core.windows.net",
            "jobs",
        ),
        ("http://127.0.0.1:10001/account/jobs", "http://127.0.0.1:10001/account", "jobs"),
    ],
)
def test_names_and_urls(address: str, endpoint: str, name: str) -> None:
    """A queue is named, or given by its URL, which says the account too."""
    assert split_address(address) == (endpoint, name)


def test_a_url_with_a_sas_is_refused_without_repeating_it() -> None:
    """A SAS in a queue's URL is refused, and the refusal does not hold it."""
    with pytest.raises(InvalidRequest) as caught:
        split_address("https://station.queue.core.windows.net/jobs?sig=secret")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl_s": 0},
        {"ttl_s": -2},
        {"requests_max": 0},
        {"requests_max": 129},
        {"claim_check": "Claims"},
        {"claim_check_bytes_max": 65_536},
        {"claim_check_bytes_max": 268_435_457},
    ],
)
def test_options_beyond_their_bounds(wrong: dict[str, object]) -> None:
    """Options outside of their bounds are refused when they are declared."""
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        options_of(Address(name="jobs", options=wrong), Options)


@pytest.mark.parametrize(
    "good",
    [
        {"ttl_s": -1},
        {"ttl_s": 1},
        {"requests_max": 1},
        {"requests_max": 128},
        {"claim_check_bytes_max": 65_537},
        {"claim_check_bytes_max": 268_435_456},
    ],
)
def test_options_at_their_bounds(good: dict[str, object]) -> None:
    """Options at the edge of their bounds are taken."""
    assert options_of(Address(name="jobs", options=good), Options)


# --- from a declaration ---------------------------------------------------------------------------

STATION = "https://station.queue.core.windows.net"


def declared(address: str, **connection: Any) -> Queue:
    """A queue as a declaration has it."""
    return open_queue(
        "storagequeue", AzureStorageConnection(**connection), Address(name=address), KindServices()
    )


@pytest.mark.parametrize(
    ("address", "connection"),
    [
        ("jobs", {"account": "station"}),
        ("jobs", {"account_url": STATION}),
        ("jobs", {"account": "station", "account_key": "env:NO_SUCH_KEY"}),
        (f"{STATION}/jobs", {}),
        (f"{STATION}/jobs", {"account": "station"}),
        (f"{STATION}/jobs", {"account_url": STATION, "sas": "env:NO_SUCH_SAS"}),
    ],
)
def test_a_queue_is_declared(address: str, connection: dict[str, str]) -> None:
    """A name with a connection, or a URL, say the same queue; nothing is connected, and no secret
    is read yet."""
    queue = declared(address, **connection)

    assert queue.identity == f"storagequeue:{STATION}/jobs"
    assert queue.traits.system == "storagequeue"
    queue.close()


def test_a_url_without_a_connection() -> None:
    """A queue's URL is enough: the SDK's own chain says who we are."""
    queue = open_queue("storagequeue", None, Address(name=f"{STATION}/jobs"), KindServices())

    assert queue.identity == f"storagequeue:{STATION}/jobs"
    queue.close()


@pytest.mark.parametrize(
    ("address", "connection", "told"),
    [
        ("jobs", {}, "in which account"),
        ("Jobs!", {"account": "station"}, "cannot be the name"),
        (f"{STATION}/jobs", {"account": "other"}, "names the account station"),
        (f"{STATION}/jobs", {"connection_string": "env:STATION"}, "names the account station"),
        (f"{STATION}/", {}, "cannot be the name"),
    ],
)
def test_what_cannot_be_declared(address: str, connection: dict[str, str], told: str) -> None:
    """An account that nobody names, or two name differently, is refused when it is declared."""
    with pytest.raises(InvalidRequest, match=told):
        declared(address, **connection)


def test_a_connection_string_says_the_account(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity is the account's that the connection string names, and holds none of its
    secrets."""
    monkeypatch.setenv("STATION", azurite.connection_string)

    queue = declared("jobs", connection_string="env:STATION")

    assert queue.identity == f"storagequeue:{azurite.queue_url}/jobs"
    queue.close()


def test_the_library_is_imported_when_it_is_used() -> None:
    """Declaring a queue imports nothing of Azure's, so that a server without such queues does not
    pay for it."""
    program = (
        "import sys; from eventpost.queues.interfaces import Address\n"
        "from eventpost.queues.kinds import Services, open_queue\n"
        f"open_queue('storagequeue', None, Address(name='{STATION}/jobs'), Services())\n"
        "print({'azure.core', 'azure.storage.queue', 'requests'} & {*sys.modules})"
    )

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert told.stdout.strip() == "set()"

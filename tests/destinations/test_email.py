"""Delivery by e-mail over a real mail server: what a mail is, and what each refusal means."""

import asyncio
import dataclasses
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Event, Schema
from eventpost.core.interfaces import Destination
from eventpost.core.outcomes import DELIVERED, Delivered, Failed, Outcome
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription, Topic
from eventpost.credentials.smtp import CONNECT_S_MAX, REQUEST_S_MAX, SmtpConnection
from eventpost.destinations import email, kinds
from eventpost.destinations.email import DIGEST_BYTES_MIN, EmailDestination
from eventpost.destinations.kinds import Services
from eventpost.diagnosis.classify import classify
from eventpost.http.client import HttpClient
from eventpost.testing.clock import VirtualClock
from eventpost.testing.destination_conformance import (
    NOW_MS,
    Behaviour,
    DestinationConformance,
    Harness,
    Recorder,
    delivery,
)
from tests.destinations.receivers import services, topic
from tests.http.client.peers import Caller
from tests.services.certificates import Authority
from tests.services.mailserver import HANG, PASSWORD, USER, VANISH, MailServer
from tests.services.ports import free_ports

pytestmark = pytest.mark.slow

SECRET = "EVENTPOST_TEST_MAIL_PASSWORD"
TO = "ops@station.example"
LONG_NAME = "Station " * 30 + "Blues"
"""Longer than a subject may be."""


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, PASSWORD)


def connection(port: int, **settings: Any) -> SmtpConnection:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "Station <eventpost@station.example>",
        "connect_timeout_s": 2.0,
        **settings,
    }
    return SmtpConnection(**given)


def endpoint(address: str = TO, **fields: Any) -> Endpoint:
    given: dict[str, Any] = {"connection": "mail", "response_timeout_s": 5.0, **fields}
    return Endpoint(type="email", address=address, **given)


def subscription(to: Endpoint) -> Subscription:
    return Subscription(id=5, topic_id=3, name="blues", created_ms=0, endpoint=to)


# --- the contract of every destination ------------------------------------------------------------


class EmailHarness(Harness):
    """A mail server. Time passes by itself: the timeouts are short."""

    def __init__(self) -> None:
        self.server = MailServer()
        self.destination: Destination | None = None

    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        answers = {
            Behaviour.REFUSE: "451 4.3.0 not now",
            Behaviour.VANISH: VANISH,
            Behaviour.HANG: HANG,
        }
        if behaviour in answers:
            self.server.always["DATA"] = answers[behaviour]
        settings = connection(self.server.port)
        if behaviour is Behaviour.ABSENT:
            await asyncio.to_thread(self.server.close)
        loop = asyncio.get_running_loop()
        self.caller = Caller()
        lent = dataclasses.replace(
            services(self.caller),
            connection=lambda kind, name: settings,
            call_soon=loop.call_soon,
            call_soon_threadsafe=loop.call_soon_threadsafe,
        )
        to = endpoint(max_events_per_batch=batch_events_max, response_timeout_s=1.0)
        self.destination = kinds.new_destination(topic(), subscription(to), lent)
        return self.destination

    async def stop(self) -> None:
        if self.destination is not None:
            self.destination.close()
            self.caller.client.close()
        await asyncio.to_thread(self.server.close)

    def received_ids(self) -> list[str]:
        return [taken.message["Subject"].split()[-1] for taken in self.server.taken]

    def pass_time(self, seconds: float) -> None:
        """The client's own timeout runs by the system's clock, and is short."""


class TestEmail(DestinationConformance):
    @pytest.fixture(autouse=True)
    def subjects(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By which the events are known."""
        monkeypatch.setattr("eventpost.destinations.mail_texts.TITLE", "${id}")

    def harness(self) -> Harness:
        return EmailHarness()


# --- one destination, one server ------------------------------------------------------------------

Deliver = Callable[..., list[Outcome]]


@contextmanager
def mail_server(**settings: Any) -> Iterator[MailServer]:
    made = MailServer(**settings)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as made:
        yield made


def deliver(
    settings: SmtpConnection,
    *batches: list[Delivery],
    to: Endpoint | None = None,
    of: Topic | None = None,
) -> list[Outcome]:
    """Deliver the batches one after the other over one destination; one outcome for each event."""

    async def main() -> list[Outcome]:
        loop = asyncio.get_running_loop()
        with Caller() as caller:
            lent = dataclasses.replace(
                services(caller),
                connection=lambda kind, name: settings,
                call_soon=loop.call_soon,
                call_soon_threadsafe=loop.call_soon_threadsafe,
                now_ms=lambda: NOW_MS,
            )
            made = kinds.new_destination(of or topic(), subscription(to or endpoint()), lent)
            outcomes: list[Outcome] = []
            for batch in batches:
                recorder = Recorder()
                recorder.deliver(made, batch)
                outcomes += await recorder.wait(1)
            made.close()
            return outcomes

    return asyncio.run(main())


def failed(outcomes: list[Outcome]) -> Failed:
    (outcome,) = outcomes
    assert isinstance(outcome, Failed), outcome
    return outcome


def finding(outcomes: list[Outcome]) -> str:
    return classify(failed(outcomes).evidence)


def event(wire: dict[str, Any], position: int = 1) -> Delivery:
    encoded = json.dumps(wire, separators=(",", ":")).encode()
    made = Event(wire["id"], wire["eventType"], wire["subject"], encoded)
    return Delivery(made, position, NOW_MS, NOW_MS)


def wire(**fields: Any) -> dict[str, Any]:
    return {
        "id": "e-1",
        "topic": "/topics/songs",
        "subject": "genre/blues",
        "eventType": "Song.Requested",
        "eventTime": "2026-01-01T00:00:00Z",
        "data": {"title": "Dust My Broom"},
        "dataVersion": "1.0",
        "metadataVersion": "1",
        **fields,
    }


def notice(**data: Any) -> dict[str, Any]:
    """`Eventpost.EventDeadLettered`."""
    return wire(
        eventType="Eventpost.EventDeadLettered",
        subject="/topics/songs/eventSubscriptions/rock",
        data={
            "topic": "songs",
            "subscription": "rock",
            "deadLetterId": "4711",
            "reason": "UndeliverableDueToHttpBadRequest",
            "finding": "EP2400",
            "attempts": 1,
            "lastDeliveryOutcome": "BadRequest",
            "lastHttpStatusCode": 400,
            "publishTime": "2026-01-01T00:00:00.0000000Z",
            "lastDeliveryAttemptTime": "2026-01-01T00:00:01.0000000Z",
            "eventSchema": "eventgridschema",
            "event": wire(subject="genre/rock/1"),
            **data,
        },
    )


# --- what a mail is -------------------------------------------------------------------------------


def test_one_mail_for_each_event(server: MailServer) -> None:
    """Each event is a message of its own, from the sender to all recipients, that any mail program
    reads."""
    to = endpoint(f"Ops <{TO}>, dj@station.example")

    outcomes = deliver(connection(server.port), [delivery(1)], [delivery(2)], to=to)

    assert all(isinstance(each, Delivered) for each in outcomes)
    first, second = server.taken
    assert first.sender == "eventpost@station.example"
    assert first.recipients == (TO, "dj@station.example")
    message = first.message
    assert message["From"] == "Station <eventpost@station.example>"
    assert message["To"] == f"Ops <{TO}>, dj@station.example"
    assert message["Subject"] == "Song.Requested genre/blues"
    assert parsedate_to_datetime(message["Date"]).timestamp() * 1000 == NOW_MS
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Eventpost-Subscription"] == "songs/blues"
    assert message.get_content_type() == "text/plain"
    assert '"title": "Dust My Broom"' in first.text
    assert message["Message-ID"] != second.message["Message-ID"]
    assert message["Message-ID"].endswith("@station.example>")


def test_a_dead_letters_mail(server: MailServer) -> None:
    """Of a dead letter a mail says what failed, why, what to do, how to deliver it again, and holds
    the event."""
    deliver(connection(server.port), [event(notice())])

    (taken,) = server.taken
    subject = "Undelivered: genre/rock/1 (rock, UndeliverableDueToHttpBadRequest)"
    assert taken.message["Subject"] == subject
    for told in (
        "The event subscription rock of the topic songs gave up an event.",
        "    reason        UndeliverableDueToHttpBadRequest",
        "    attempts      1",
        "    last outcome  BadRequest (400)",
        "Why (EP2400)",
        "    eventpost explain EP2400",
        "    eventpost deadletter replay 4711",
        "    eventpost deadletter replay --topic songs --subscription rock",
        '  "subject": "genre/rock/1"',
    ):
        assert told in taken.text, taken.text
    prose = taken.text.partition("The event\n\n")[0].splitlines()
    assert max(map(len, prose)) <= 78


def test_a_message_that_was_no_event(server: MailServer) -> None:
    """Of a source's poison a mail says which message of which source it was."""
    data = {
        "topic": "songs",
        "source": "jobs",
        "deadLetterId": "12",
        "reason": "Poison",
        "finding": "EP4010",
        "detail": "it is not JSON",
        "messageId": "m-1",
        "receiveCount": 1,
        "size": 5,
        "text": "{oops",
        "isCut": False,
    }
    deliver(connection(server.port), [event(notice() | {"data": data})])

    (taken,) = server.taken
    assert taken.message["Subject"] == "Unreadable message of jobs: Poison"
    for told in ("Of a message of the source jobs", "m-1", "it is not JSON", "{oops"):
        assert told in taken.text


@pytest.mark.parametrize(
    ("event_type", "data", "subject"),
    [
        (
            "Eventpost.DeadLetterWritten",
            {"url": "file:///d/B/1.json", "eventCount": 3, "subscription": "blues"},
            "Dead letters of blues were written: 3",
        ),
        (
            "Microsoft.Storage.BlobCreated",
            {"url": "https://a.blob.core.windows.net/c/B/1.json", "contentLength": 3},
            "New blob: 1.json",
        ),
    ],
)
def test_a_files_mail(
    server: MailServer, event_type: str, data: dict[str, Any], subject: str
) -> None:
    """Of a file a mail says where it is."""
    deliver(connection(server.port), [event(wire(eventType=event_type, data=data))])

    (taken,) = server.taken
    assert taken.message["Subject"] == subject
    assert data["url"] in taken.text


def test_text_of_any_language(server: MailServer) -> None:
    """Subjects and bodies outside ASCII arrive as they were; the wire is ASCII, and no line of it
    is longer than SMTP allows."""
    song = "Größenwahn und 青い鳥 🎸 " * 20
    one = event(wire(subject="жанр/блюз", data={"title": song, "long": "x" * 5_000}))

    deliver(connection(server.port), [one])

    (taken,) = server.taken
    assert taken.message["Subject"] == "Song.Requested жанр/блюз"
    assert song in taken.text
    assert "x" * 5_000 in taken.text
    assert taken.content.isascii()
    assert max(map(len, taken.content.splitlines())) <= 78
    assert b"\n" not in taken.content.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    "bad", ["a\r\nBcc: evil@example.com", "a\nb", "a\x00b", "a\u2028b", "a\x85b"]
)
def test_no_header_can_be_put_in(server: MailServer, bad: str) -> None:
    """A line break in an event's subject becomes a blank: no header comes from an event."""
    deliver(connection(server.port), [event(wire(subject=bad))])

    (taken,) = server.taken
    assert taken.message["Bcc"] is None
    assert taken.recipients == (TO,)
    assert len(taken.message["Subject"].splitlines()) == 1


@pytest.mark.parametrize("subject", ["genre/blues " * 12, "genre-blues-" * 14, "жанр блюз " * 15])
def test_a_long_subject(server: MailServer, subject: str) -> None:
    """A long subject arrives as it was, up to its bound."""
    to = endpoint(options={"subject": "$subject"})

    deliver(connection(server.port), [event(wire(subject=subject))], to=to)

    (taken,) = server.taken
    assert taken.message["Subject"] == subject.strip()
    assert max(map(len, taken.content.splitlines())) <= 998


@pytest.mark.parametrize(("count", "wanted"), [(200, "x" * 200), (201, "x" * 197 + "...")])
def test_a_subject_has_its_bound(server: MailServer, count: int, wanted: str) -> None:
    """A subject of one character more than its bound is cut."""
    to = endpoint(options={"subject": "$subject"})

    deliver(connection(server.port), [event(wire(subject="x" * count))], to=to)

    assert server.taken[0].message["Subject"] == wanted


def test_a_line_of_a_dot(server: MailServer) -> None:
    """A body with a line of one dot arrives whole: the dot ends no message."""
    to = endpoint(options={"body": "before\n.\nafter ${id}"})

    deliver(connection(server.port), [delivery(1)], to=to)

    assert server.taken[0].text == "before\n.\nafter event-1\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (r'"\u0436"', '"ж"'),
        (r'"\ud83c\udfb8"', '"🎸"'),
        (r'"\u0022\u0436"', r'"\u0022\u0436"'),
        (r'"\u0000"', r'"\u0000"'),
        (r'"\\u0436"', r'"\\u0436"'),
        (r'"\\\u0436"', r'"\\ж"'),
    ],
)
def test_letters_stand_where_escapes_were(server: MailServer, written: str, shown: str) -> None:
    """An event's letters are shown as such; what cannot be shown stays an escape."""
    one = event(wire())
    raw = one.event.wire.replace(b'"Dust My Broom"', written.encode())
    one.event = Event("e-1", "Song.Requested", "genre/blues", raw)

    deliver(connection(server.port), [one])

    assert f'"title": {shown}' in server.taken[0].text


def test_half_a_surrogate_pair(server: MailServer) -> None:
    """What no text can hold is replaced, and the mail goes."""
    one = event(wire(subject="genre/blues"))
    one.event = Event("e-1", "Song.Requested", "a\ud800b", one.event.wire)

    assert isinstance(deliver(connection(server.port), [one])[0], Delivered)

    assert server.taken[0].message["Subject"] == "Song.Requested a\ufffdb"


def test_an_event_that_is_nested_deeply(server: MailServer) -> None:
    """An event deeper than the stack is sent as it is."""
    deep = b"[" * 100_000 + b"]" * 100_000
    raw = json.dumps(wire(data=0)).encode().replace(b'"data": 0', b'"data": ' + deep)
    one = Delivery(Event("e-1", "Song.Requested", "s", raw), 1, NOW_MS, NOW_MS)

    assert isinstance(deliver(connection(server.port), [one])[0], Delivered)
    assert "characters more)" in server.taken[0].text


def test_templates(server: MailServer) -> None:
    """Subject and body are filled with names and paths of the event; nothing stands where nothing
    is, and a value is never taken for a template."""
    options = {
        "subject": "$type: ${data.Artist.name} [$$5] ${data.none}",
        "body": "${event.eventType} ${data.list.1} ${data.tags} $topic $subscription ${data.evil}",
    }
    data = {
        "artist": {"name": "Bessie Smith"},
        "list": [1, 2.5],
        "tags": {"a": True},
        "evil": "$id",
    }

    deliver(connection(server.port), [event(wire(data=data))], to=endpoint(options=options))

    (taken,) = server.taken
    assert taken.message["Subject"] == "Song.Requested: Bessie Smith [$5]"
    assert taken.text.strip() == 'Song.Requested 2.5 {"a":true} songs blues $id'


def test_cloud_events(server: MailServer) -> None:
    """A CloudEvent is told of in the same words; one that is delivered as such is converted."""
    to = endpoint(
        delivery_schema=Schema.CLOUD_EVENTS, options={"body": "${event.specversion} $time $id"}
    )

    deliver(connection(server.port), [delivery(1)], to=to)

    assert server.taken[0].text.strip() == "1.0 2026-01-01T00:00:00Z event-1"


def test_the_sender_and_the_reply_of_one_subscription(server: MailServer) -> None:
    """A subscription may have a sender of its own, and say where answers go."""
    to = endpoint(options={"sender": "night@station.example", "reply_to": "dj@station.example"})

    deliver(connection(server.port), [delivery(1)], to=to)

    (taken,) = server.taken
    assert taken.sender == "night@station.example"
    assert taken.message["Reply-To"] == "dj@station.example"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Ops <ops@münchen.example>", "Ops <ops@xn--mnchen-3ya.example>"),
        (LONG_NAME + " <dj@station.example>", LONG_NAME + " <dj@station.example>"),
    ],
)
def test_the_reply_goes_to_an_address(server: MailServer, given: str, sent: str) -> None:
    """Where answers go is written as the other addresses are: its domain in IDNA, nothing cut."""
    deliver(connection(server.port), [delivery(1)], to=endpoint(options={"reply_to": given}))

    (taken,) = server.taken
    assert taken.message["Reply-To"] == sent


def test_a_domain_outside_ascii(server: MailServer) -> None:
    """A domain outside ASCII is written as IDNA has it."""
    deliver(connection(server.port), [delivery(1)], to=endpoint("ops@bücher.example"))

    assert server.taken[0].recipients == ("ops@xn--bcher-kva.example",)


# --- digests --------------------------------------------------------------------------------------


class Digesting:
    """A destination with a digest, on a clock in the test's hand; its threads work within calls."""

    def __init__(self, settings: SmtpConnection, to: Endpoint, monkeypatch: Any) -> None:
        self.clock = VirtualClock()
        self.outcomes: dict[int, Outcome] = {}

        class Inline:
            def __init__(self, *_: object) -> None: ...
            def submit(self, job: Callable[[], object]) -> None:
                job()

            def close(self) -> None: ...

        monkeypatch.setattr(email, "Threads", Inline)
        lent = Services(
            http=cast("HttpClient", None),
            origin="station.example",
            connection=lambda kind, name: settings,
            call_soon=self.clock.call_soon,
            call_later=self.clock.call_later,
            call_soon_threadsafe=self.clock.call_soon_threadsafe,
            now_ms=self.clock.now_ms,
        )
        self.destination = EmailDestination(topic(), subscription(to), lent)

    def deliver(self, *positions: int) -> None:
        self.deliver_all([delivery(position) for position in positions])

    def deliver_all(self, deliveries: list[Delivery]) -> None:
        def done(answered: Any, outcome: Any) -> None:
            for one, each in zip(answered, outcome, strict=True):
                self.outcomes[one.position] = each

        self.destination.deliver(deliveries, done)
        self.clock.settle()


def padded_delivery(position: int, size: int) -> Delivery:
    """Of an event with so many bytes."""
    made = delivery(position)
    wire = made.event.wire[:-1] + b" " * (size - len(made.event.wire)) + made.event.wire[-1:]
    return msgspec.structs.replace(made, event=msgspec.structs.replace(made.event, wire=wire))


def counted(mail: Any) -> set[str]:
    """The events that a mail tells of."""
    return set(re.findall(r"event-\d+", mail.text))


def test_a_digest_waits_for_company(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that come within the digest's time of the first one go in one mail, which tells of
    each; those after it wait anew."""
    to = endpoint(options={"digest": "5m"}, max_events_per_batch=10)
    digesting = Digesting(connection(server.port), to, monkeypatch)
    digesting.deliver(1)
    digesting.clock.advance(299)
    digesting.deliver(2, 3)
    assert server.taken == []

    digesting.clock.advance(1)

    (taken,) = server.taken
    assert taken.message["Subject"].startswith("3 events of songs, the first: ")
    assert [f"{n} of 3: " in taken.text for n in (1, 2, 3)] == [True] * 3
    assert [each for each in ("event-1", "event-2", "event-3") if each not in taken.text] == []
    assert set(digesting.outcomes) == {1, 2, 3}
    digesting.deliver(4)
    digesting.clock.advance(299)
    assert len(server.taken) == 1
    digesting.clock.advance(1)
    assert len(server.taken) == 2


@pytest.mark.parametrize(("count", "sent"), [(2, 0), (3, 1), (4, 1)])
def test_a_digest_has_its_bound(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, count: int, sent: int
) -> None:
    """A digest that is full goes at once."""
    to = endpoint(options={"digest": "1h", "digest_events_max": 3}, max_events_per_batch=10)
    digesting = Digesting(connection(server.port), to, monkeypatch)

    for position in range(count):
        digesting.deliver(position)

    assert len(server.taken) == sent


@pytest.mark.parametrize(("bytes_max", "sent"), [(-1, [1, 1, 1]), (0, [2, 1]), (1, [2, 1])])
def test_a_digest_has_its_bound_in_bytes(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, bytes_max: int, sent: list[int]
) -> None:
    """A digest holds no more bytes of events than it may, however they came, and goes when it has
    them; what is too long for it goes alone."""
    size = len(delivery(1).event.wire)
    least = DIGEST_BYTES_MIN
    padded = [padded_delivery(position, least) for position in (1, 2, 3)]
    assert size < least
    options = {"digest": "1h", "digest_bytes_max": 2 * least + bytes_max}
    to = endpoint(options=options, max_events_per_batch=10)
    together = Digesting(connection(server.port), to, monkeypatch)

    together.deliver_all(padded)
    together.destination.hasten()
    together.clock.settle()

    assert [len(counted(mail)) for mail in server.taken] == sent
    assert set(together.outcomes.values()) == {DELIVERED}
    before = len(server.taken)
    apart = Digesting(connection(server.port), to, monkeypatch)
    for one in padded:
        apart.deliver_all([one])
    apart.destination.hasten()
    apart.clock.settle()
    assert [len(counted(mail)) for mail in server.taken[before:]] == sent


@pytest.mark.parametrize(("count", "sent"), [(3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_an_attempt_of_more_events_than_a_digest_holds(
    server: MailServer, monkeypatch: pytest.MonkeyPatch, count: int, sent: list[int]
) -> None:
    """It becomes several mails, each within its bound."""
    to = endpoint(options={"digest": "1h", "digest_events_max": 3}, max_events_per_batch=10)
    digesting = Digesting(connection(server.port), to, monkeypatch)

    digesting.deliver(*range(1, count + 1))

    assert [len(counted(mail)) for mail in server.taken] == sent
    assert len(digesting.outcomes) == count


def test_a_digest_goes_when_no_more_can_come(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many attempts as may be in flight do not wait for each other for ever."""
    to = endpoint(options={"digest": "1h"}, concurrency=2)
    digesting = Digesting(connection(server.port), to, monkeypatch)

    digesting.deliver(1)
    assert server.taken == []
    digesting.deliver(2)

    assert len(server.taken) == 1


def test_a_stop_hastens_a_digest(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stops sends what waits, and holds nothing up."""
    digesting = Digesting(connection(server.port), endpoint(options={"digest": "1h"}), monkeypatch)
    digesting.deliver(1)

    digesting.destination.hasten()
    digesting.clock.settle()
    digesting.deliver(2)

    assert len(server.taken) == 2


def test_a_closed_digest_answers_nobody(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits when a destination is closed is not sent: it is delivered again later."""
    digesting = Digesting(connection(server.port), endpoint(options={"digest": "1h"}), monkeypatch)
    digesting.deliver(1)

    digesting.destination.close()
    digesting.clock.advance(7_200)

    assert (server.taken, digesting.outcomes) == ([], {})


# --- TLS and login --------------------------------------------------------------------------------


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(file_name="mail.pem"))
    return context


@pytest.mark.parametrize("is_implicit", [False, True])
def test_tls_and_login(tls: ssl.SSLContext, authority: Authority, is_implicit: bool) -> None:
    """STARTTLS and TLS from the first byte both carry the login and the mail."""
    with mail_server(tls=tls, is_implicit=is_implicit, needs_login=not is_implicit) as server:
        settings = connection(
            server.port,
            security="tls" if is_implicit else "starttls",
            ca_file=str(authority.ca_file),
            user="" if is_implicit else USER,
            password="" if is_implicit else f"env:{SECRET}",
        )

        (outcome,) = deliver(settings, [delivery(1)])

        assert isinstance(outcome, Delivered), outcome
        assert server.taken[0].is_secured
        assert server.taken[0].is_logged_in is not is_implicit


def test_a_certificate_of_somebody_else(tls: ssl.SSLContext) -> None:
    """A certificate that nobody vouches for ends the attempt before the login."""
    with mail_server(tls=tls) as server:
        settings = connection(server.port, security="starttls", user=USER, password=f"env:{SECRET}")

        assert finding(deliver(settings, [delivery(1)])) == "EP2105"
        assert server.taken == []
        to = endpoint(tls_insecure=True)
        assert isinstance(deliver(settings, [delivery(1)], to=to)[0], Delivered)


def test_tls_that_is_not_offered(server: MailServer) -> None:
    """Without STARTTLS nothing is sent, no password above all."""
    settings = connection(server.port, security="starttls", user=USER, password=f"env:{SECRET}")

    outcome = failed(deliver(settings, [delivery(1)]))

    assert classify(outcome.evidence) == "EP3401"
    assert not outcome.final
    assert server.taken == []


def test_tls_that_is_demanded(tls: ssl.SSLContext) -> None:
    """A server that wants STARTTLS is told apart from one that wants a login."""
    with mail_server(tls=tls) as server:
        assert finding(deliver(connection(server.port), [delivery(1)])) == "EP3401"


def test_plain_to_a_tls_port(tls: ssl.SSLContext) -> None:
    """A port that speaks TLS at once does not greet, and the finding says so."""
    with mail_server(tls=tls, is_implicit=True) as server:
        to = endpoint(response_timeout_s=0.5)

        assert finding(deliver(connection(server.port), [delivery(1)], to=to)) == "EP3411"


def test_tls_to_a_plain_port(server: MailServer) -> None:
    """A port that does not speak TLS at once is told as such."""
    assert finding(deliver(connection(server.port, security="tls"), [delivery(1)])) == "EP2109"


def test_a_login_that_is_refused(
    tls: ssl.SSLContext, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password is no fault of the event: it is tried again, and the evidence holds no
    password."""
    monkeypatch.setenv(SECRET, "not it")
    with mail_server(tls=tls, needs_login=True) as server:
        settings = connection(
            server.port,
            security="starttls",
            ca_file=str(authority.ca_file),
            user=USER,
            password=f"env:{SECRET}",
        )

        outcome = failed(deliver(settings, [delivery(1)]))

        assert classify(outcome.evidence) == "EP3402"
        assert "535" in outcome.evidence.detail
        assert "not it" not in repr(outcome)
        assert not outcome.final


def test_a_login_that_is_needed(tls: ssl.SSLContext, authority: Authority) -> None:
    """A server that wants a login is told as such."""
    with mail_server(tls=tls, needs_login=True) as server:
        settings = connection(server.port, security="starttls", ca_file=str(authority.ca_file))

        outcome = failed(deliver(settings, [delivery(1)]))

        assert classify(outcome.evidence) == "EP3403"
        assert not outcome.final


def test_a_login_that_is_not_offered(tls: ssl.SSLContext) -> None:
    """A server that offers no login without TLS gets no password."""
    with mail_server(auth_exclude_mechanism=["LOGIN", "PLAIN"]) as server:
        settings = connection(server.port, user=USER, password=f"env:{SECRET}")

        assert finding(deliver(settings, [delivery(1)])) == "EP3404"


def test_a_secret_that_is_missing(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that cannot be read fails the attempt without counting it."""
    monkeypatch.delenv(SECRET)
    settings = connection(server.port, user=USER, password=f"env:{SECRET}")

    outcome = failed(deliver(settings, [delivery(1)]))

    assert not outcome.is_counted
    assert SECRET in outcome.evidence.detail


# --- what a server refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "answer", "wanted", "is_final"),
    [
        ("MAIL", "550 5.7.1 not yours", "EP3405", True),
        ("MAIL", "451 4.3.0 later", "EP3410", False),
        ("MAIL", "530 5.7.0 Authentication required", "EP3403", False),
        ("MAIL", "552 5.3.4 too large", "EP3408", True),
        ("RCPT", "550 5.1.1 nobody here", "EP3406", True),
        ("RCPT", "551 not here", "EP3406", True),
        ("RCPT", "554 5.7.1 Relay access denied", "EP3406", True),
        ("RCPT", "450 4.2.0 Greylisted, see you in 5 minutes", "EP3407", False),
        ("RCPT", "452 4.2.2 mailbox full", "EP3407", False),
        ("RCPT", "421 4.7.0 too many", "EP3410", False),
        ("DATA", "552 5.3.4 Message too big", "EP3408", True),
        ("DATA", "554 5.7.1 looks like spam", "EP3409", True),
        ("DATA", "451 4.7.1 scanner is away", "EP3410", False),
        ("DATA", "552 5.2.2 mailbox full", "EP3409", True),
    ],
)
def test_what_is_refused(
    server: MailServer, verb: str, answer: str, wanted: str, is_final: bool
) -> None:
    """A 4xx is tried again, a 5xx about the message is not; each leads to its finding, and the
    evidence holds what the server said."""
    server.always[verb] = answer

    outcome = failed(deliver(connection(server.port), [delivery(1)]))

    assert classify(outcome.evidence) == wanted
    assert outcome.final is is_final
    assert outcome.is_counted
    assert answer in outcome.evidence.detail
    assert outcome.evidence.address == f"127.0.0.1:{server.port}"


def test_the_size_that_a_server_takes() -> None:
    """A mail larger than the server says it takes is not sent at all."""
    with mail_server(size_max=2_000) as server:
        small = event(wire(data={"x": "y" * 100}))
        large = event(wire(data={"x": "y" * 3_000}))

        outcomes = deliver(connection(server.port), [small], [large])

        assert isinstance(outcomes[0], Delivered)
        assert finding(outcomes[1:]) == "EP3408"
        assert len(server.taken) == 1


def test_nobody_listens() -> None:
    """A refused connection is told with its address."""
    [port] = free_ports(1)

    assert finding(deliver(connection(port), [delivery(1)])) == "EP2004"


def test_a_name_that_there_is_not() -> None:
    """A host that does not exist is told by its stage."""
    settings = connection(25, host="mail.invalid", user="", password="")

    assert finding(deliver(settings, [delivery(1)])) in ("EP2001", "EP2002")


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_a_server_that_hangs(server: MailServer, verb: str) -> None:
    """An answer that never comes costs the response timeout: the connection's is longer than a test
    may take."""
    server.always[verb] = HANG
    patient = connection(
        server.port, connect_timeout_s=CONNECT_S_MAX, request_timeout_s=REQUEST_S_MAX
    )

    outcome = failed(deliver(patient, [delivery(1)], to=endpoint(response_timeout_s=0.2)))

    assert classify(outcome.evidence) == "EP2203"


@contextmanager
def raw_server(*says: bytes) -> Iterator[int]:
    """Something that says this to everybody, and then nothing."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            accepted, _ = listener.accept()
            with accepted:
                for each in says:
                    accepted.sendall(each)
                    if each.startswith(b"220"):
                        accepted.recv(1_000)
                accepted.recv(1_000)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("says", "wanted"),
    [
        ((b"554 No SMTP service here\r\n",), "EP3412"),
        ((b"421 4.3.2 closing\r\n",), "EP3410"),
        ((b"SSH-2.0-OpenSSH_9.6\r\n",), "EP3413"),
        ((b"220 hello\r\n", b"502 what?\r\n", b"502 what?\r\n"), "EP3412"),
    ],
)
def test_somebody_else_answers(says: tuple[bytes, ...], wanted: str) -> None:
    """A server that takes no mail, and what is no mail server, are told as such; nothing is given
    up for it."""
    with raw_server(*says) as port:
        outcome = failed(deliver(connection(port), [delivery(1)]))

    assert classify(outcome.evidence) == wanted
    assert not outcome.final


# --- some recipients ------------------------------------------------------------------------------


def test_nobody_gets_it_twice(server: MailServer) -> None:
    """Who is deferred is asked again, alone; who has got the mail is left alone."""
    server.script("RCPT", "", "450 4.2.0 greylisted")
    to = endpoint("first@x.example, second@x.example")
    one = delivery(1)

    outcomes = deliver(connection(server.port), [one], [delivery(1, attempts=1)], to=to)

    assert finding(outcomes[:1]) == "EP3407"
    assert isinstance(outcomes[1], Delivered)
    assert [taken.recipients for taken in server.taken] == [
        ("first@x.example",),
        ("second@x.example",),
    ]
    ids = {taken.message["Message-ID"] for taken in server.taken}
    assert len(ids) == 1, "a mailbox that gets it twice can tell"


@pytest.mark.cites("https://github.com/alistapart/AListApart/issues/442")
def test_who_is_refused_for_good(server: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    """A mailbox that is gone keeps the mail from nobody else, and is told of."""
    gone = (
        "550 5.1.1 The email account that you tried to reach does not exist. Please try "
        "double-checking the recipient's email address for typos or unnecessary spaces. Learn more "
        "at https://support.google.com/mail/?p=NoSuchUser"
    )
    request_id = "i189-20020a6387c6000000b00439495f4eadsor8053548pge.28"
    server.script("RCPT", f"{gone} {request_id} - gsmtp")
    to = endpoint("gone@x.example, here@x.example")

    (outcome,) = deliver(connection(server.port), [delivery(1)], to=to)

    assert isinstance(outcome, Delivered)
    assert outcome.evidence is not None
    assert classify(outcome.evidence) == "EP3414"
    assert f"gone@x.example: {gone}" in outcome.evidence.detail
    assert server.taken[0].recipients == ("here@x.example",)
    assert [each.message for each in caplog.records] == ["mail.recipients_refused"]


# --- many -----------------------------------------------------------------------------------------


def test_mails_share_a_connection(server: MailServer) -> None:
    """The mails of a batch go over one connection, and one that is refused leaves the others
    alone."""
    server.script("DATA", "", "554 5.7.1 spam", "")
    to = endpoint(max_events_per_batch=3)

    outcomes = deliver(connection(server.port), [delivery(n) for n in range(3)], to=to)

    assert [isinstance(each, Delivered) for each in outcomes] == [True, False, True]
    assert server.connection_count == 1


def test_a_server_that_takes_so_many_of_one_connection(server: MailServer) -> None:
    """After a 421 the rest goes over a new connection."""
    server.script("MAIL", "", "421 4.7.0 that is enough")
    to = endpoint(max_events_per_batch=4)

    outcomes = deliver(connection(server.port), [delivery(n) for n in range(4)], to=to)

    assert [isinstance(each, Delivered) for each in outcomes] == [True, False, True, True]
    assert server.connection_count == 2


# --- what is declared -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"address": ""}, "no e-mail address"),
        ({"address": "nobody"}, "no e-mail address"),
        ({"address": "a@x.example\nBcc: b@x.example"}, "no e-mail address"),
        ({"address": "a@"}, "no e-mail address"),
        ({"address": "ü@x.example"}, "no e-mail address"),
        ({"address": ",".join(f"a{n}@x.example" for n in range(51))}, "no e-mail address"),
        ({"connection": None}, "need a connection"),
        ({"options": {"sender": "two@x.example, three@x.example"}}, "options.sender"),
        ({"options": {"subject": "${subjekt}"}}, "options.subject names 'subjekt'"),
        ({"options": {"body": "costs $ 5"}}, "options.body holds a"),
        ({"options": {"body": "${__class__}"}}, "options.body names"),
        ({"options": {"digest": "1ms"}}, "between 1s and 1d"),
        ({"options": {"digest": "2d"}}, "between 1s and 1d"),
        ({"options": {"digest": "soon"}}, "not a duration"),
        ({"options": {"digest_events_max": 0}}, "between 1 and"),
        ({"options": {"digest_bytes_max": 1_023}}, "between 1024 and"),
        ({"options": {"digest_bytes_max": 16_777_217}}, "between 1024 and 16777216"),
        ({"options": {"cc": "x"}}, "options.cc"),
        (
            {"attributes": (DeliveryAttribute(name="X", type="static", value="1"),)},
            "no delivery properties",
        ),
    ],
)
def test_endpoints_that_cannot_be(fields: dict[str, Any], says: str) -> None:
    """What could never be sent is refused when it is declared."""
    with pytest.raises(InvalidRequest, match=says):
        kinds.check(endpoint(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"address": ",".join(f"a{n}@x.example" for n in range(50))},
        {"address": '"Ops, night" <ops@[192.0.2.1]>'},
        {"options": {"subject": "$title ${data.a.b} $$", "digest": "1s"}},
        {"options": {"digest": "1d", "digest_events_max": 1000}},
    ],
)
def test_endpoints_that_can(fields: dict[str, Any]) -> None:
    """What is at the bounds is taken."""
    kinds.check(endpoint(**fields))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"user": "me"}, "password is missing"),
        ({"password": "env:X"}, "user is missing"),
        ({"user": "me", "password": "env:X", "security": "none"}, "plain text"),
        ({"port": 65_536}, "port"),
        ({"connect_timeout_s": 0.0}, "connect_timeout_s"),
        ({"request_timeout_s": 601.0}, "request_timeout_s"),
    ],
)
def test_connections_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    """Half a login, and a password that others could read, are refused when they are declared."""
    with pytest.raises((InvalidRequest, ValueError), match=says):
        SmtpConnection(host="mail.example.com", **settings)


def test_ports_follow_from_the_security() -> None:
    """Without a port it is the one that the standards give."""
    found = [SmtpConnection(security=each).address[1] for each in ("starttls", "tls", "none")]

    assert found == [587, 465, 25]


def test_a_probe_sends_nothing(
    tls: ssl.SSLContext, authority: Authority, server: MailServer
) -> None:
    """A probe greets, secures, logs in and leaves; what fails is told as a delivery would."""
    with mail_server(tls=tls, needs_login=True) as secured:
        good = connection(
            secured.port,
            security="starttls",
            ca_file=str(authority.ca_file),
            user=USER,
            password=f"env:{SECRET}",
        )
        for settings, wanted in ((good, None), (connection(1), "EP2004")):
            lent = Services(
                http=cast("HttpClient", None),
                origin="station.example",
                now_ms=lambda: NOW_MS,
                connection=lambda kind, name, found=settings: found,  # type: ignore[misc]  # mypy infers no lambda with a default
            )

            (rung,) = email.probe(endpoint(), lent)

            found = None if rung.failed is None else classify(rung.failed.evidence)
            assert found == wanted
        assert secured.taken == []


def test_a_file_of_authorities_that_is_missing(server: MailServer, tmp_path: Path) -> None:
    """A file that cannot be read fails the attempt, and names the file."""
    settings = connection(server.port, security="tls", ca_file=str(tmp_path / "no.pem"))

    assert isinstance(failed(deliver(settings, [delivery(1)])), Failed)

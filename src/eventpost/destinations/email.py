"""Delivery by e-mail: one message for each event, or one for all of some minutes.

Layer: destinations. Servers are spoken to on threads of the destination's own, two at a time at
most; what waits meanwhile goes over one connection. A message has a `Message-ID` that follows from
its events, so that a mailbox which gets it twice can tell.
"""

import logging
import sys
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Sequence
from email.headerregistry import Address
from functools import partial
from typing import NamedTuple

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone, Destination, Timer
from eventpost.core.notation import parse_duration_ms
from eventpost.core.outcomes import DELIVERED, Delivered, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.sources import MessageFormat
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.credentials.reports import shown
from eventpost.credentials.smtp import SmtpConnection
from eventpost.destinations import mail_templates
from eventpost.destinations.borders import unexpected, unusable
from eventpost.destinations.kinds import Services
from eventpost.destinations.mail_server import SYSTEM, Conversation, Mail, Sent
from eventpost.destinations.mail_texts import NAMES, Writer
from eventpost.destinations.opening import Connections
from eventpost.destinations.threads import Threads
from eventpost.diagnosis.classify import classify
from eventpost.formats import delivery as delivery_format
from eventpost.formats import mail, topics
from eventpost.queues.interfaces import Rung
from eventpost.queues.kinds import read_settings

CONNECTION_KIND = "smtp"
CONNECTIONS_MAX = 2
"""Conversations of one subscription at the same time; many servers take few of one client."""
MESSAGES_MAX = 50
"""Messages in one conversation."""
DIGEST_MS_MIN, DIGEST_MS_MAX = 1_000, 24 * 3_600_000
DIGEST_EVENTS_MAX = 1_000
DIGEST_BYTES_MIN, DIGEST_BYTES_MAX = 1_024, 16 * 1_048_576
"""Servers take mails of 10 to 35 MB, and a mail is longer than the events that it tells of."""
REMEMBERED_MAX = 10_000
"""Messages of which it is remembered who has got them, while others are to be asked again."""
_logger = logging.getLogger("eventpost.destinations")
_NAMES = uuid.UUID("0b6d9d1e-5f0a-4d6e-8f0b-6a1d3c9c6f11")
"""The namespace of message ids (RFC 9562, 5.5)."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of an endpoint that is a mailbox."""

    subject: str = ""
    """A template; "" tells what happened."""
    body: str = ""
    """A template; "" tells what failed, why, and what to do."""
    sender: str = ""
    """Instead of the connection's."""
    reply_to: str = ""
    digest: str = ""
    """A duration: events that come within it of the first one go in one message."""
    digest_events_max: int = 100
    """Events in one digest; it goes when it is full."""
    digest_bytes_max: int = 1_048_576
    """Bytes of the events in one digest; a single event that is longer goes alone."""

    def __post_init__(self) -> None:
        if self.digest:
            digest_ms = parse_duration_ms(self.digest)
            if not DIGEST_MS_MIN <= digest_ms <= DIGEST_MS_MAX:
                raise ValueError("digest is between 1s and 1d")
        if not 1 <= self.digest_events_max <= DIGEST_EVENTS_MAX:
            raise ValueError(f"digest_events_max is between 1 and {DIGEST_EVENTS_MAX}")
        if not DIGEST_BYTES_MIN <= self.digest_bytes_max <= DIGEST_BYTES_MAX:
            least, most = DIGEST_BYTES_MIN, DIGEST_BYTES_MAX
            raise ValueError(f"digest_bytes_max is between {least} and {most}")

    @property
    def digest_s(self) -> float:
        return parse_duration_ms(self.digest) / 1000 if self.digest else 0.0


class _Waiting(NamedTuple):
    deliveries: Sequence[Delivery]
    done: DeliveryDone


class EmailDestination:
    """Implements `core.interfaces.Destination` for one subscription.

    Constructing raises nothing and connects to nothing: settings that cannot be used make every
    attempt fail with evidence, without counting, until they can be.
    """

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._services = services
        self._options = read_settings(endpoint.options, Options, where="options")
        self._waiting: deque[_Waiting] = deque()
        self._waiting_events = self._waiting_bytes = 0
        self._sending = 0
        self._is_dispatching = False
        self._is_closed = False
        self._is_hastened = False
        self._is_due = False
        """Whether what waits may go; without a digest it always may."""
        self._timer: Timer | None = None
        self._threads = Threads(CONNECTIONS_MAX, f"eventpost-email-{subscription.name}")
        self._attempts_max = endpoint.concurrency
        self._line = _Line(topic, subscription, services, self._options)

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        self._waiting.append(_Waiting(deliveries, done))
        self._waiting_events += len(deliveries)
        self._waiting_bytes += _bytes(deliveries)
        if not self._options.digest or self._is_hastened or self._is_full():
            self._soon()
        elif self._timer is None and not self._is_due:
            self._timer = self._services.call_later(self._options.digest_s, self._soon)

    def hasten(self) -> None:
        """Send what waits for company, and let nothing wait any more."""
        self._is_hastened = True
        if self._waiting:
            self._soon()

    def close(self) -> None:
        """What waits is never answered, and is delivered again; what is being sent still ends with
        an outcome."""
        if not self._is_closed:
            self._is_closed = True
            self._stop_timer()
            self._waiting.clear()
            self._threads.close()

    # --- on the loop's thread -------------------------------------------------------------------

    def _is_full(self) -> bool:
        """No further event would come: the lane holds back, or the digest has one of its bounds."""
        options = self._options
        is_complete = self._waiting_events >= options.digest_events_max
        is_long = self._waiting_bytes >= options.digest_bytes_max
        return is_complete or is_long or len(self._waiting) >= self._attempts_max

    def _soon(self) -> None:
        self._stop_timer()
        self._is_due = True
        if not self._is_dispatching:  # what is delivered in this turn of the loop goes together
            self._is_dispatching = True
            self._services.call_soon(self._dispatch)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _dispatch(self) -> None:
        self._is_dispatching = False
        events_max = self._options.digest_events_max if self._options.digest else MESSAGES_MAX
        while self._is_due and self._waiting and self._sending < CONNECTIONS_MAX:
            page = self._page(events_max)
            self._sending += 1
            self._threads.submit(partial(self._send, page))
        self._is_due = bool(self._waiting) and self._is_due

    def _page(self, events_max: int) -> list[_Waiting]:
        """One attempt at least, and no more than one mail holds."""
        bytes_max = self._options.digest_bytes_max if self._options.digest else sys.maxsize
        page: list[_Waiting] = []
        count = size = 0
        while self._waiting:
            next_count = count + len(self._waiting[0].deliveries)
            next_size = size + _bytes(self._waiting[0].deliveries)
            if page and (next_count > events_max or next_size > bytes_max):
                break
            page.append(self._waiting.popleft())
            count, size = next_count, next_size
        self._waiting_events -= count
        self._waiting_bytes -= size
        return page

    def _sent(self, page: list[_Waiting], outcomes: Sequence[Outcome], elapsed_ms: float) -> None:
        self._sending -= 1
        at = 0
        for one in page:
            self._services.delivery_times.observe(elapsed_ms)
            end = at + len(one.deliveries)
            one.done(one.deliveries, outcomes[at:end])
            at = end
        self._dispatch()

    # --- on a thread of its own -----------------------------------------------------------------

    def _send(self, page: list[_Waiting]) -> None:
        began_s = time.monotonic()
        outcomes = self._line.send([each for one in page for each in one.deliveries])
        elapsed_ms = (time.monotonic() - began_s) * 1000
        try:
            self._services.call_soon_threadsafe(self._sent, page, outcomes, elapsed_ms)
        except RuntimeError:
            return  # the loop was closed first: nobody is left to be told


def digests(deliveries: Sequence[Delivery], options: Options) -> list[list[Delivery]]:
    """What goes in one mail each, in order: within both bounds, one event at least. An attempt may
    hold more events than a digest does."""
    groups: list[list[Delivery]] = []
    size = 0
    for one in deliveries:
        size += len(one.event.wire)
        is_full = groups and len(groups[-1]) >= options.digest_events_max
        if not groups or is_full or size > options.digest_bytes_max:
            groups.append([])
            size = len(one.event.wire)
        groups[-1].append(one)
    return groups


def _each(deliveries: Sequence[Delivery]) -> list[list[Delivery]]:
    return [[each] for each in deliveries]


def _bytes(deliveries: Sequence[Delivery]) -> int:
    return sum(len(one.event.wire) for one in deliveries)


class _Line:
    """The way to the server. From the destination's threads, several at once."""

    def __init__(
        self, topic: Topic, subscription: Subscription, services: Services, options: Options
    ) -> None:
        self._topic = topic
        self._subscription = subscription
        self._services = services
        self._options = options
        self._writer = Writer(
            topic.name, subscription.name, subject=options.subject, body=options.body
        )
        self._schema = subscription.endpoint.delivery_schema or topic.input_schema
        self._topic_resource = topics.source_of(topic, services.topic_prefix)
        self._have_got: OrderedDict[str, frozenset[str]] = OrderedDict()
        """By message id."""

    def send(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """One outcome for each. Raises nothing."""
        try:
            return self._send(deliveries)
        except InvalidRequest as error:
            return [unusable(error)] * len(deliveries)
        except Exception as error:  # noqa: BLE001 - the border: it is recorded as a finding
            return [unexpected(error, Stage.WAIT)] * len(deliveries)

    def _send(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        endpoint = self._subscription.endpoint
        settings = self._services.connection(CONNECTION_KIND, endpoint.connection)
        assert isinstance(settings, SmtpConnection)
        sender = sender_of(settings, self._options)
        new_talk = partial(
            Conversation,
            settings,
            is_insecure=endpoint.tls_insecure,
            answer_s=endpoint.response_timeout_s,
        )
        groups = digests(deliveries, self._options) if self._options.digest else _each(deliveries)
        outcomes: list[Outcome] = []
        talk: Conversation = new_talk()
        failed = talk.open()
        for group in groups:
            if failed is None and not talk.is_open:  # a server may take so many of one connection
                talk = new_talk()
                failed = talk.open()
            outcome = failed or self._send_one(talk, sender, group)
            outcomes += [outcome] * len(group)
        talk.close()
        return outcomes

    def _send_one(self, talk: Conversation, sender: Address, group: list[Delivery]) -> Outcome:
        """Raises nothing."""
        try:
            return self._tried(talk, sender, group)
        except InvalidRequest as error:
            return unusable(error)
        except Exception as error:  # noqa: BLE001 - the border: others of the page were sent
            return unexpected(error, Stage.WRITE)

    def _tried(self, talk: Conversation, sender: Address, group: list[Delivery]) -> Outcome:
        recipients = mail.addresses(self._subscription.endpoint.address, what="endpoint")
        message_id = self._message_id(sender, group)
        subject, text = self._writer.digest(self._converted(group), self._schema)
        shown_name = f"{self._topic.name}/{self._subscription.name}"
        content = mail.message(
            sender=sender,
            recipients=recipients,
            subject=subject,
            text=text,
            date_ms=self._services.now_ms(),
            message_id=message_id,
            reply_to=self._reply_to,
            headers=[("X-Eventpost-Subscription", shown_name)],
        )
        have_got = self._have_got.get(message_id, frozenset())
        left = tuple(each.addr_spec for each in recipients if each.addr_spec not in have_got)
        sent = talk.send(Mail(sender.addr_spec, left, content))
        if isinstance(sent, Failed):
            return sent
        return self._judged(sent, message_id, have_got)

    def _judged(self, sent: Sent, message_id: str, have_got: frozenset[str]) -> Outcome:
        """Whoever is to be asked again keeps the event on its ladder; nobody gets it twice."""
        if sent.deferred:
            self._remember(message_id, have_got | set(sent.accepted))
            return Failed(_partly("RecipientDeferred", sent.deferred))
        self._have_got.pop(message_id, None)
        if sent.refused:
            evidence = _partly("SomeRecipientsRefused", sent.refused)
            _log(
                "mail.recipients_refused",
                subscription=self._subscription.name,
                topic=self._topic.name,
                finding=classify(evidence),
                detail=evidence.detail,
            )
            return Delivered(evidence)
        return DELIVERED

    def _remember(self, message_id: str, have_got: frozenset[str]) -> None:
        self._have_got[message_id] = have_got
        while len(self._have_got) > REMEMBERED_MAX:
            self._have_got.popitem(last=False)

    def _converted(self, group: list[Delivery]) -> list[Delivery]:
        if self._schema is self._topic.input_schema:
            return group
        converted = []
        for each in group:
            wire = delivery_format.cloud_event(each.event.wire, self._topic_resource)
            event = msgspec.structs.replace(each.event, wire=wire)
            converted.append(msgspec.structs.replace(each, event=event))
        return converted

    @property
    def _reply_to(self) -> Address | None:
        text = self._options.reply_to
        return mail.address(text, what="options.reply_to") if text else None

    def _message_id(self, sender: Address, group: list[Delivery]) -> str:
        """The same for the same events of the same subscription, and for no others."""
        key = [
            *(self._topic.id, self._subscription.id, self._subscription.created_ms),
            *((each.position, each.published_ms, each.event.id) for each in group),
        ]
        return f"<{uuid.uuid5(_NAMES, msgspec.json.encode(key).decode())}@{sender.domain}>"


def _log(event: str, **fields: object) -> None:
    _logger.warning(event, extra={"fields": fields})


def sender_of(settings: SmtpConnection, options: Options) -> Address:
    """Raises InvalidRequest when nobody says who sends."""
    text = options.sender or settings.sender
    if not text:
        raise InvalidRequest(
            "SenderMissing",
            "Nothing says from whom the mails are.",
            fix="Give the connection a sender: --set sender=eventpost@example.com",
        )
    return mail.address(text, what="sender")


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for addresses, templates and options that cannot be."""
    mail.addresses(endpoint.address, what="endpoint")
    options = read_settings(endpoint.options, Options, where="options")
    for name in ("sender", "reply_to"):
        text = getattr(options, name)
        if text:
            mail.address(text, what=f"options.{name}")
    for name in ("subject", "body"):
        mail_templates.check(getattr(options, name), NAMES, where=f"options.{name}")
    given = {
        "message format": endpoint.format is not MessageFormat.EVENT,
        "message properties": endpoint.properties,
        "delivery properties": endpoint.attributes,
        "signing secrets": endpoint.signing_secrets,
    }
    for name, value in given.items():
        if value:
            raise InvalidRequest(
                "InvalidEndpoint", f"A mailbox has no {name}.", fix="Leave it out."
            )
    if endpoint.connection is None:
        raise InvalidRequest(
            "InvalidEndpoint",
            "Mails need a connection, which says over which server they go.",
            fix="Make one: eventpost connection create NAME --kind smtp --set host=HOST",
        )


def check_connection(endpoint: Endpoint, settings: msgspec.Struct) -> None:
    """Raises InvalidRequest when nothing says who sends."""
    assert isinstance(settings, SmtpConnection)
    sender_of(settings, read_settings(endpoint.options, Options, where="options"))


def probe(endpoint: Endpoint, connections: Connections) -> Sequence[Rung]:
    """Greet the server, secure the connection, log in, and leave. Raises InvalidRequest. Blocks."""
    settings = connections.connection(CONNECTION_KIND, endpoint.connection)
    assert isinstance(settings, SmtpConnection)
    sender = sender_of(settings, read_settings(endpoint.options, Options, where="options"))
    talk = Conversation(
        settings, is_insecure=endpoint.tls_insecure, answer_s=endpoint.response_timeout_s
    )
    failed = talk.open()
    told = talk.told()
    talk.close()
    if failed is not None:
        return [Rung(name="server", failed=failed)]
    return [Rung(name="server", detail=f"{told}; mails are from {sender.addr_spec}")]


def _partly(code: str, told: list[tuple[str, str]]) -> Evidence:
    detail = "; ".join(f"{name}: {text}" for name, text in told)
    return Evidence(
        stage=Stage.ANSWER,
        fault=Fault.CODE,
        system=SYSTEM,
        operation="send",
        code=code,
        detail=shown(detail),
    )


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    return EmailDestination(topic, subscription, services)

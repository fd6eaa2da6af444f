"""Delivery to a webhook: one POST per delivery or batch, one answer, one outcome. Hot.

Layer: destinations. Event Grid's rules: success is 200, 201, 202, 203 or 204, nothing else.
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery, Schema
from eventpost.core.interfaces import DeliveryDone, Destination
from eventpost.core.outcomes import DELIVERED, Delivered, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.credentials.entra import KIND, EntraConnection
from eventpost.destinations.delivery_headers import (
    constant_head,
    dynamic_attributes,
    dynamic_lines,
    signing_keys,
    trace_lines,
)
from eventpost.destinations.kinds import Services
from eventpost.formats import delivery as delivery_format
from eventpost.formats import standardwebhooks, topics
from eventpost.http.answers import Answer, retry_after_s
from eventpost.http.client import Target
from eventpost.http.failures import bounded, is_attempted
from eventpost.queues.kinds import check_library

SUCCESS_STATUSES = frozenset((200, 201, 202, 203, 204))
RETRY_AFTER_STATUSES = frozenset((429, 503))
"""Where a `Retry-After` is a wish about deliveries."""


class WebhookDestination:
    """Implements `core.interfaces.Destination` for one subscription.

    Constructing raises nothing: settings that cannot be used (a URL, a missing secret) make every
    attempt fail with evidence, without counting, until they can be.
    """

    __slots__ = (
        "_content_type",
        "_delivery_times",
        "_dynamic",
        "_endpoint",
        "_first_head",
        "_head",
        "_input_schema",
        "_is_batched",
        "_is_cloud_event",
        "_is_plain",
        "_output_schema",
        "_services",
        "_signing_keys",
        "_subscription",
        "_target",
        "_topic_resource",
        "_trouble",
        "_version_end",
        "_version_head",
    )

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._services = services
        self._delivery_times = services.delivery_times
        self._subscription = subscription
        self._endpoint = endpoint
        self._input_schema = topic.input_schema
        self._output_schema = endpoint.delivery_schema or topic.input_schema
        self._is_cloud_event = self._output_schema is Schema.CLOUD_EVENTS
        self._is_batched = endpoint.max_events_per_batch > 1
        self._topic_resource = topics.source_of(topic, services.topic_prefix)
        self._dynamic = dynamic_attributes(endpoint)
        self._signing_keys: list[bytes] = []
        self._target: Target | None = None
        self._head = b""
        self._is_plain = not (self._dynamic or endpoint.signing_secrets)
        self._version_end = b""
        """How a wire ends whose version is the one of the heads below."""
        self._content_type = self._version_head = self._first_head = b""
        self._trouble: Evidence | None = self._prepare()

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        if self._trouble is not None:
            self._trouble = self._prepare()
        target = self._target
        if self._trouble is not None or target is None:
            self._services.http.soon(self._refuse, deliveries, done)
            return
        wires = (
            [deliveries[0].event.wire]  # a comprehension costs a call
            if len(deliveries) == 1
            else [delivery.event.wire for delivery in deliveries]
        )
        content_type, body = delivery_format.encode(
            self._input_schema,
            self._output_schema,
            wires,
            self._is_batched,
            self._topic_resource,
        )
        self._services.http.request(
            target,
            self._request_head(deliveries, content_type, body),
            body,
            self._endpoint.response_timeout_s,
            partial(self._answered, deliveries, done),
        )

    def close(self) -> None:
        """Attempts in flight still end with an outcome. Connections go with their last user."""
        if self._target is not None:
            self._target.release()

    # --- the request --------------------------------------------------------------------------

    def _prepare(self) -> Evidence | None:
        """Make what is constant for the subscription; evidence of a setting that does not work."""
        try:
            self._signing_keys = signing_keys(self._endpoint)
            if self._target is None:
                self._target = self._services.http.target(
                    self._endpoint.address, is_insecure=self._endpoint.tls_insecure
                )
                self._head = constant_head(
                    self._target, self._subscription, self._output_schema, self._services.origin
                )
        except InvalidRequest as error:
            missing = error.code == "SecretMissing"
            fault = Fault.NOT_FOUND if missing else Fault.MALFORMED
            return Evidence(stage=Stage.SETTINGS, fault=fault, detail=bounded(str(error)))
        return None

    def _request_head(
        self, deliveries: Sequence[Delivery], content_type: bytes, body: bytes
    ) -> bytes:
        first = deliveries[0]
        wire = first.event.wire
        # Nearly always the version and the type are the last one's.
        if not wire.endswith(self._version_end) or content_type is not self._content_type:
            self._remember(wire, content_type)
        if self._is_plain and not first.attempts and first.event.trace is None:
            return b"%b%d\r\n\r\n" % (self._first_head, len(body))
        extra = trace_lines(deliveries)
        if self._dynamic:
            extra += dynamic_lines(self._dynamic, deliveries, self._input_schema)
        if self._signing_keys:
            extra += self._signature_lines(deliveries, body)
        return b"%baeg-delivery-count: %d\r\n%bContent-Length: %d\r\n\r\n" % (
            self._version_head,
            first.attempts,
            extra,
            len(body),
        )

    def _remember(self, wire: bytes, content_type: bytes) -> None:
        """Make the heads for deliveries of the data version of `wire`."""
        version = ""
        if not self._is_cloud_event:
            version = delivery_format.data_version(wire, self._input_schema)
            self._version_end = delivery_format.version_end(wire, self._input_schema)
        self._content_type = content_type
        # It is the publisher's text: what cannot stand in a header is left out.
        shown = version if version.isascii() and version.isprintable() else ""
        self._version_head = b"%baeg-data-version: %b\r\nContent-Type: %b\r\n" % (
            self._head,
            shown.encode(),
            content_type,
        )
        self._first_head = self._version_head + b"aeg-delivery-count: 0\r\nContent-Length: "

    def _signature_lines(self, deliveries: Sequence[Delivery], body: bytes) -> bytes:
        """Standard Webhooks. The id names topic and positions, so that it is the same for every
        attempt at the same events and never holds a character of the publisher's."""
        first, last = deliveries[0].position, deliveries[-1].position
        message_id = f"msg_{self._subscription.topic_id}_{first}"
        if last != first:
            message_id += f"-{last}"
        timestamp_s = self._services.now_ms() // 1000
        return standardwebhooks.lines(self._signing_keys, message_id, timestamp_s, body)

    # --- the outcome --------------------------------------------------------------------------

    def _answered(
        self, deliveries: Sequence[Delivery], done: DeliveryDone, answer: Answer | Evidence
    ) -> None:
        self._delivery_times.observe(answer.elapsed_ms)
        if answer.__class__ is Answer and answer.status in SUCCESS_STATUSES:
            done(deliveries, DELIVERED if not answer.reconnect_count else _reconnected(answer))
        else:
            done(deliveries, self._failed(answer))

    def _failed(self, answer: Answer | Evidence) -> Outcome:
        if isinstance(answer, Evidence):
            return Failed(answer, is_counted=is_attempted(answer))
        is_proxys = answer.status == 407 and answer.proxy is not None
        wish = answer.header(b"retry-after") if answer.status in RETRY_AFTER_STATUSES else None
        return Failed(
            Evidence(
                stage=Stage.PROXY if is_proxys else Stage.ANSWER,
                fault=Fault.STATUS,
                elapsed_ms=int(answer.elapsed_ms),
                status=answer.status,
                address=answer.address,
                retry_after_s=retry_after_s(wish, self._services.now_ms()),
                reconnect_count=answer.reconnect_count,
                proxy=answer.proxy,
                detail=_excerpt(answer),
            )
        )

    def _refuse(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        assert self._trouble is not None
        done(deliveries, Failed(self._trouble, is_counted=False))


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest where the library is missing that gets its tokens."""
    if endpoint.wants_token:
        from eventpost.destinations import webhook_tokens

        check_library("a token of Microsoft Entra", webhook_tokens)


def check_connection(_endpoint: Endpoint, settings: msgspec.Struct) -> None:
    """Raises InvalidRequest for a connection that has no tokens."""
    if not isinstance(settings, EntraConnection):
        raise InvalidRequest(
            "WrongConnectionKind",
            f"The endpoint type webhook needs a connection of the kind {KIND}, for its tokens.",
            fix=f"Make one: eventpost connection create NAME --kind {KIND}",
        )


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    if subscription.endpoint.wants_token:
        from eventpost.destinations.webhook_tokens import AuthorizedWebhook  # it builds on this one

        return AuthorizedWebhook(topic, subscription, services)
    return WebhookDestination(topic, subscription, services)


def _reconnected(answer: Answer) -> Delivered:
    return Delivered(
        Evidence(
            stage=Stage.WAIT,
            fault=Fault.CLOSED,
            elapsed_ms=int(answer.elapsed_ms),
            address=answer.address,
            reconnect_count=answer.reconnect_count,
            detail="a kept connection was closed; the fresh one delivered",
        )
    )


def _excerpt(answer: Answer) -> str:
    """The beginning of the answer's body as text, for people; where a redirect points to."""
    text = answer.body.decode("utf-8", "replace").strip()
    location = answer.header(b"location") if 300 <= answer.status < 400 else None
    if location is not None:
        text = f"Location: {location.decode('latin-1')} {text}"
    return bounded(text)

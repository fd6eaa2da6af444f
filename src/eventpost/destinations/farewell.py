"""The last message to a webhook: its event subscription is gone.

Layer: destinations. Event Grid's `aeg-event-type: SubscriptionDeletion`, in the Event Grid schema.
CloudEvents' web hooks know no such message, so an endpoint of that schema gets none.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Schema
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.destinations.delivery_headers import signing_keys, static_lines
from eventpost.destinations.kinds import Services
from eventpost.destinations.webhook import SUCCESS_STATUSES
from eventpost.destinations.webhook_tokens import bearer
from eventpost.formats import delivery as delivery_format
from eventpost.formats import standardwebhooks, topics
from eventpost.http.answers import Answer
from eventpost.http.client import Target
from eventpost.http.failures import bounded

IN_FLIGHT_MAX = 32
WAITING_MAX = 10_000
"""Farewells that wait for one of those slots; who comes later is not told."""


class Farewells:
    """Tells webhooks that their subscription was deleted: once, and nobody waits for it.

    `failed` hears of those that did not take it, without evidence when too many wait. All calls on
    the loop's thread.
    """

    def __init__(
        self,
        services: Services,
        new_id: Callable[[], str],
        failed: Callable[[Topic, Subscription, Evidence | None], None],
    ) -> None:
        self._services = services
        self._new_id = new_id
        self._failed = failed
        self._waiting: deque[tuple[Topic, Subscription]] = deque()
        self._in_flight = 0

    def say(self, topic: Topic, subscription: Subscription) -> None:
        """Send it soon, if the endpoint is one that is told and ever consented."""
        endpoint = subscription.endpoint
        schema = endpoint.delivery_schema or topic.input_schema
        is_told = endpoint.type == "webhook" and schema is not Schema.CLOUD_EVENTS
        if not is_told or not subscription.has_consent:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._failed(topic, subscription, None)
            return
        self._waiting.append((topic, subscription))
        self._send_more()

    def _send_more(self) -> None:
        while self._waiting and self._in_flight < IN_FLIGHT_MAX:
            self._send(*self._waiting.popleft())

    def _send(self, topic: Topic, subscription: Subscription) -> None:
        endpoint = subscription.endpoint
        if not endpoint.wants_token:
            self._say(topic, subscription, b"")
            return
        try:
            token = bearer(endpoint, self._services)
        except InvalidRequest as error:
            self._failed(topic, subscription, _unusable(error))
            return
        self._in_flight += 1
        token.wait(endpoint.response_timeout_s, partial(self._authorized, topic, subscription))

    def _authorized(
        self, topic: Topic, subscription: Subscription, found: bytes | Evidence
    ) -> None:
        self._in_flight -= 1
        if isinstance(found, Evidence):
            self._failed(topic, subscription, found)
        else:
            self._say(topic, subscription, found)
        self._send_more()

    def _say(self, topic: Topic, subscription: Subscription, authorization: bytes) -> None:
        http, endpoint = self._services.http, subscription.endpoint
        try:
            target = http.target(endpoint.address, is_insecure=endpoint.tls_insecure)
            head, body = self._message(target, topic, subscription, authorization)
        except InvalidRequest as error:
            self._failed(topic, subscription, _unusable(error))
            return
        self._in_flight += 1
        said = partial(self._said, target, topic, subscription)
        http.request(target, head, body, endpoint.response_timeout_s, said)

    def _message(
        self, target: Target, topic: Topic, subscription: Subscription, authorization: bytes
    ) -> tuple[bytes, bytes]:
        """Raises InvalidRequest when a signing secret cannot be had."""
        event_id, now_ms = self._new_id(), self._services.now_ms()
        resource = topics.resource_of(topic, self._services.topic_prefix)
        body = delivery_format.deletion_event(resource, event_id, now_ms, subscription.name)
        keys = signing_keys(subscription.endpoint)
        signature = standardwebhooks.lines(keys, f"msg_{event_id}", now_ms // 1000, body)
        head = (
            b"%baeg-event-type: SubscriptionDeletion\r\naeg-subscription-name: %b\r\n"
            b"aeg-delivery-count: 0\r\naeg-data-version: 1\r\naeg-metadata-version: 1\r\n"
            b"%b%b%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
        ) % (
            target.head_start(b"POST"),
            subscription.name.upper().encode(),
            static_lines(subscription.endpoint),
            authorization,
            signature,
            delivery_format.EVENT_GRID_TYPE,
            len(body),
        )
        return head, body

    def _said(
        self, target: Target, topic: Topic, subscription: Subscription, answer: Answer | Evidence
    ) -> None:
        target.release()
        self._in_flight -= 1
        if isinstance(answer, Evidence):
            self._failed(topic, subscription, answer)
        elif answer.status not in SUCCESS_STATUSES:
            self._failed(topic, subscription, _refusal(answer))
        self._send_more()


def _unusable(error: InvalidRequest) -> Evidence:
    return Evidence(stage=Stage.SETTINGS, fault=Fault.MALFORMED, detail=bounded(str(error)))


def _refusal(answer: Answer) -> Evidence:
    return Evidence(
        stage=Stage.ANSWER,
        fault=Fault.STATUS,
        elapsed_ms=int(answer.elapsed_ms),
        status=answer.status,
        address=answer.address,
        proxy=answer.proxy,
    )

"""Creating and changing event subscriptions: checks, the handshake, and its manual completion."""

import asyncio
import secrets
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

import msgspec

from eventpost.app import asking
from eventpost.app.endpoints import WEBHOOK
from eventpost.core.bounds import check_delivery_schema, check_subscription
from eventpost.core.domains import split
from eventpost.core.errors import Conflict, HandshakeFailed, InvalidRequest, NotFound
from eventpost.core.events import Schema
from eventpost.core.sources import Connection
from eventpost.core.subscriptions import (
    Endpoint,
    ProvisioningState,
    Subscription,
    Topic,
)
from eventpost.destinations.handshake import Awaiting, Consent, Refused
from eventpost.grid import catalogue
from eventpost.telemetry import logs

if TYPE_CHECKING:
    from eventpost.app.application import App
    from eventpost.app.endpoints import Endpoints

MANUAL_WINDOW_MS = 10 * 60_000
"""How long a handshake may wait for the validation URL to be opened, as in Event Grid."""

FOLDER = "folder:"
START_NOW = "now"
START_EARLIEST = "earliest"


class Subscribing:
    """All calls on the event loop's thread."""

    def __init__(self, app: "App", endpoints: "Endpoints") -> None:
        self._app = app
        self._endpoints = endpoints
        self._reserved: set[tuple[str, str]] = set()

    def resume(self) -> None:
        """After a start: handshakes that wait for manual action run out as they would have."""
        for subscription in self._app.grid.subscriptions.values():
            self._await_action(subscription)
            self._await_expiration(subscription)

    async def create(self, topic: Topic, draft: Subscription, start: str | int) -> Subscription:
        """Perform the handshake, then keep the subscription. Refused: nothing is kept."""
        key = (topic.name.casefold(), draft.name)
        taken = any(each.name == draft.name for each in self._app.grid.subscriptions_of(topic.id))
        if taken or key in self._reserved:
            raise Conflict(
                "SubscriptionExists",
                f"Topic {topic.name!r} has an event subscription {draft.name!r} already.",
                fix="choose another name, or use eventpost subscription update",
            )
        draft = _of_topic(topic, draft)
        self._check(topic, draft)
        self._app.domains.check_room(topic)
        self._reserved.add(key)
        try:
            await self._check_endpoint(draft)
            cursor = await self._cursor(topic, start)
            subscription = msgspec.structs.replace(
                draft,
                id=self._app.grid.new_subscription_id(),
                topic_id=topic.id,
                created_ms=self._app.grid.clock.now_ms(),
                provisioning_state=ProvisioningState.SUCCEEDED,
            )
            subscription = await self._consented(topic, subscription)
            self._connection(subscription)  # it may have been deleted meanwhile
            topic = self._app.domains.keep(topic)
            subscription = msgspec.structs.replace(subscription, topic_id=topic.id)
            cursors = [cursor] * len(self._app.grid.partitions_of(topic.id))
            await asking.durable(
                lambda done: catalogue.add_subscription(self._app.grid, subscription, cursors, done)
            )
        finally:
            self._reserved.discard(key)
        self._await_action(subscription)
        self._await_expiration(subscription)
        return subscription

    def _check(self, topic: Topic, draft: Subscription) -> None:
        check_subscription(draft, self._app.settings.limits)
        if draft.expiration_ms and draft.expiration_ms <= self._app.now_ms():
            raise InvalidRequest(
                "InvalidExpiration",
                "The expiration of the event subscription is not in the future.",
                fix="give a later time, in UTC unless it names a zone, or leave it out",
            )
        schema = draft.endpoint.delivery_schema
        if schema is not None:
            check_delivery_schema(topic.input_schema, schema)
        if draft.endpoint.is_pulled and (topic.is_domain or topic.domain_id):
            raise InvalidRequest(
                "NotPulled",
                f"Events of {topic.name} cannot be pulled: it is a domain, or a topic of one.",
                why="As in Event Grid, events of domains are delivered to endpoints.",
                fix="publish to a topic, or deliver to an endpoint: --endpoint URL",
            )
        if draft.endpoint.is_pulled and schema not in (None, Schema.CLOUD_EVENTS):
            raise InvalidRequest(
                "InvalidDeliverySchema",
                f"A subscription that is pulled cannot deliver {schema}.",
                why="Consumers receive CloudEvents; events of another schema are converted.",
                fix=f"Use --event-delivery-schema {Schema.CLOUD_EVENTS.value} or leave it out.",
            )

    async def _check_endpoint(self, draft: Subscription) -> None:
        """Whether its kind, and the queue where it is one, could be opened."""
        connection = self._connection(draft)
        is_folder = (draft.deadletter or FOLDER).startswith(FOLDER)
        if draft.endpoint.type == WEBHOOK and is_folder:
            self._endpoints.check(draft, connection)
        else:  # a library may have to be imported, which takes a moment
            await asyncio.to_thread(self._endpoints.check, draft, connection)

    def _connection(self, draft: Subscription) -> Connection | None:
        """Of its endpoint. Raises NotFound, for that of its dead letters, too."""
        if draft.deadletter_connection is not None:
            self._app.connections.get(draft.deadletter_connection)
        name = draft.endpoint.connection
        return None if name is None else self._app.connections.get(name)

    async def _cursor(self, topic: Topic, start: str | int) -> int | None:
        if start == START_NOW:
            return None
        if start == START_EARLIEST:
            start = 0  # the oldest event that is kept, whenever it was published
        if isinstance(start, int):
            return await self._app.position_at(topic, start)
        raise InvalidRequest(
            "InvalidStart",
            f"A subscription cannot start at {start!r}.",
            fix="now, earliest or a time",
        )

    async def _consented(self, topic: Topic, subscription: Subscription) -> Subscription:
        """The subscription as its handshake leaves it. Raises HandshakeFailed."""
        token = secrets.token_urlsafe(32)
        result = await self._endpoints.handshake(
            topic,
            subscription,
            code=str(uuid.uuid4()),
            later_url=f"{self._app.public_url}/validate/{token}",
        )
        match result:
            case Consent(rate_per_minute=rate):
                return _rated(subscription, rate)
            case Awaiting():
                return msgspec.structs.replace(
                    subscription,
                    provisioning_state=ProvisioningState.AWAITING_MANUAL_ACTION,
                    validation_code=token,
                    validation_deadline_ms=self._app.grid.clock.now_ms() + MANUAL_WINDOW_MS,
                )
            case Refused(evidence=evidence):
                finding = self._endpoints.explain(evidence)
                raise HandshakeFailed(
                    finding.code,
                    f"{subscription.endpoint.address.partition('?')[0]} did not consent to "
                    f"deliveries: {finding.title}.",
                    why=finding.cause,
                    fix=finding.fix,
                )
            case _:
                assert_never(result)

    async def update(
        self, topic: Topic, current: Subscription, draft: Subscription
    ) -> Subscription:
        """Change a subscription. A new endpoint's handshake comes first; the old one serves until
        it consents. One that never consented is asked again."""
        draft = _of_topic(topic, draft)
        self._check(topic, draft)
        _check_same_way(current, draft)
        await self._check_endpoint(draft)
        asked = None
        is_failed = current.provisioning_state is ProvisioningState.FAILED
        if is_failed or _needs_handshake(current.endpoint, draft.endpoint):
            asked = await self._consented(topic, draft)
        current = self._found_again(current)
        self._connection(draft)
        changed = _changed(current, draft, asked)
        await self.change(changed)
        self._await_action(changed)
        self._await_expiration(changed)
        return changed

    def _found_again(self, subscription: Subscription) -> Subscription:
        """As it is now: it may have been paused or deleted while its endpoint was asked."""
        found = self._app.grid.subscriptions.get(subscription.id)
        if found is None:
            raise NotFound(
                "SubscriptionNotFound",
                f"The event subscription {subscription.name!r} was deleted meanwhile.",
            )
        return found

    async def change(self, subscription: Subscription) -> None:
        await asking.durable(
            lambda done: catalogue.change_subscription(self._app.grid, subscription, done)
        )

    def remove(self, topic: Topic, subscription: Subscription, done: Callable[[bool], None]) -> int:
        """Delete it; once that is durable its endpoint is told. Returns what was pending."""

        def removed(is_durable: bool) -> None:
            if is_durable:
                self._endpoints.say_farewell(topic, subscription)
                logs.log(
                    "subscription.deleted",
                    subscription=subscription.name,
                    topic=topic.name,
                    dropped_count=dropped_count,
                )
            done(is_durable)

        dropped_count = catalogue.remove_subscription(self._app.grid, subscription.id, removed)
        return dropped_count

    # --- expiration -------------------------------------------------------------------------------

    def _await_expiration(self, subscription: Subscription) -> None:
        if subscription.expiration_ms:
            clock = self._app.grid.clock
            delay_s = max(0, subscription.expiration_ms - clock.now_ms()) / 1000
            clock.call_later(delay_s, self._expired, subscription.id, subscription.expiration_ms)

    def _expired(self, subscription_id: int, expiration_ms: int) -> None:
        """Its time is over, unless it was changed or deleted meanwhile. When the deletion is not
        kept, the store is opened anew, and `resume` comes here again."""
        grid = self._app.grid
        subscription = grid.subscriptions.get(subscription_id)
        if subscription is None or subscription.expiration_ms != expiration_ms or grid.is_stopped:
            return
        if grid.clock.now_ms() < expiration_ms:  # the wall clock was set back
            self._await_expiration(subscription)
            return
        topic = grid.topics[subscription.topic_id]
        logs.log("subscription.expired", subscription=subscription.name, topic=topic.name)
        self.remove(topic, subscription, lambda _: None)

    # --- manual action ----------------------------------------------------------------------------

    def complete(self, token: str) -> bool:
        """Someone opened the validation URL. False when it names nothing, or its time is over."""
        for subscription in self._app.grid.subscriptions.values():
            code = subscription.validation_code
            if code and secrets.compare_digest(code.encode(), token.encode()):
                if self._app.grid.clock.now_ms() > subscription.validation_deadline_ms:
                    return False
                done = msgspec.structs.replace(
                    subscription,
                    provisioning_state=ProvisioningState.SUCCEEDED,
                    endpoint=subscription.pending_endpoint or subscription.endpoint,
                    pending_endpoint=None,
                    validation_code="",
                    validation_deadline_ms=0,
                )
                catalogue.change_subscription(self._app.grid, done, lambda _: None)
                return True
        return False

    def _await_action(self, subscription: Subscription) -> None:
        if subscription.provisioning_state is ProvisioningState.AWAITING_MANUAL_ACTION:
            clock = self._app.grid.clock
            delay_s = max(0, subscription.validation_deadline_ms - clock.now_ms()) / 1000
            clock.call_later(delay_s, self._ran_out, subscription.id, subscription.validation_code)

    def _ran_out(self, subscription_id: int, token: str) -> None:
        subscription = self._app.grid.subscriptions.get(subscription_id)
        if subscription is None or subscription.validation_code != token:
            return
        failed = msgspec.structs.replace(
            subscription,
            provisioning_state=(
                ProvisioningState.SUCCEEDED
                if subscription.pending_endpoint is not None
                else ProvisioningState.FAILED
            ),
            pending_endpoint=None,
            validation_code="",
            validation_deadline_ms=0,
        )
        catalogue.change_subscription(self._app.grid, failed, lambda _: None)


def _of_topic(topic: Topic, draft: Subscription) -> Subscription:
    """A subscription to a topic of a domain wants the events of that topic alone."""
    name = split(topic.name)[1] if topic.domain_id else ""
    if draft.filter.domain_topic == name:
        return draft
    wanted = msgspec.structs.replace(draft.filter, domain_topic=name)
    return msgspec.structs.replace(draft, filter=wanted)


def _changed(
    current: Subscription, draft: Subscription, asked: Subscription | None
) -> Subscription:
    """`draft` in the place of `current`; `asked` is what the handshake made of the draft, where its
    endpoint is another one."""
    state = asked or current
    changed = msgspec.structs.replace(
        draft,
        id=current.id,
        topic_id=current.topic_id,
        created_ms=current.created_ms,
        is_paused=current.is_paused,
        endpoint=draft.endpoint if asked is None else asked.endpoint,
        provisioning_state=state.provisioning_state,
        validation_code=state.validation_code,
        validation_deadline_ms=state.validation_deadline_ms,
        pending_endpoint=current.pending_endpoint if asked is None else None,
    )
    if asked is None or not asked.validation_code or not current.has_consent:
        return changed
    return msgspec.structs.replace(
        changed, endpoint=current.endpoint, pending_endpoint=asked.endpoint
    )


def _check_same_way(current: Subscription, draft: Subscription) -> None:
    if current.endpoint.is_pulled == draft.endpoint.is_pulled:
        return
    raise InvalidRequest(
        "DeliveryModeFixed",
        f"The event subscription {current.name!r} cannot change between pull and push.",
        why="What consumers hold, and what is on its way to an endpoint, cannot be exchanged.",
        fix="delete it and create it anew, with --start if events are to come again",
    )


def _needs_handshake(old: Endpoint, new: Endpoint) -> bool:
    return _asked_of(old) != _asked_of(new)


def _asked_of(endpoint: Endpoint) -> tuple[object, ...]:
    """What a handshake says and to whom; who we are when we ask included."""
    token = (
        endpoint.azure_active_directory_tenant_id,
        endpoint.azure_active_directory_application_id_or_uri,
    )
    return endpoint.type, endpoint.address, endpoint.delivery_schema, token


def _rated(subscription: Subscription, rate_per_minute: float | None) -> Subscription:
    """Within the rate that the endpoint allows, if it named one."""
    if rate_per_minute is None:
        return subscription
    own = subscription.endpoint.rate_per_s
    allowed = rate_per_minute / 60
    rate = allowed if own is None else min(own, allowed)
    return msgspec.structs.replace(
        subscription, endpoint=msgspec.structs.replace(subscription.endpoint, rate_per_s=rate)
    )

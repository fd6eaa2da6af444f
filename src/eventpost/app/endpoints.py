"""Where deliveries and handshakes go out: one HTTP client, one guard, one dead-letter writer."""

import asyncio
import ipaddress
import logging
import os
import uuid

from eventpost.app.clock import AppClock
from eventpost.app.queues import NO_CONNECTIONS, Queues, check_queue, settings_of
from eventpost.config.checks import address, is_loopback
from eventpost.config.settings import Settings
from eventpost.core.errors import InvalidRequest
from eventpost.core.histogram import Histogram
from eventpost.core.interfaces import DeadLetterFiles, DeadLetterPlace, Destination
from eventpost.core.outcomes import Evidence
from eventpost.core.sources import Connection
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations import handshake, kinds
from eventpost.destinations.deadletter_files import StorageFiles
from eventpost.destinations.farewell import Farewells
from eventpost.destinations.opening import Opener
from eventpost.destinations.places import KINDS
from eventpost.destinations.tokens import Tokens
from eventpost.destinations.unusable import Unusable
from eventpost.destinations.webhook_tokens import bearer
from eventpost.diagnosis.classify import Explanation, classify, explain
from eventpost.formats import topics
from eventpost.http.addresses import AddressGuard
from eventpost.http.client import HttpClient
from eventpost.http.proxies import NO_PROXIES, Proxies, from_environment
from eventpost.queues.interfaces import Address
from eventpost.queues.kinds import is_system
from eventpost.telemetry.logs import log

WEBHOOK = "webhook"


class Endpoints:
    """All calls on the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        clock: AppClock,
        *,
        origin: str,
        queues: Queues | None = None,
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._prefix = settings.server.topic_resource_prefix
        self.client = HttpClient(
            loop,
            new_guard(settings),
            settings.client,
            proxies=new_proxies(settings),
            ca_file=settings.network.ca_file or None,
            now_s=clock.monotonic_s,
        )
        self.tokens = Tokens(settings.client)
        self.delivery_times = Histogram()
        self._services = kinds.Services(
            http=self.client,
            now_ms=clock.now_ms,
            origin=origin,
            topic_prefix=self._prefix,
            delivery_times=self.delivery_times,
            opener=(queues or NO_CONNECTIONS).opener,
            connection=(queues or NO_CONNECTIONS).connection,
            connection_kind=(queues or NO_CONNECTIONS).connection_kind,
            account_connection=(queues or NO_CONNECTIONS).account_connection,
            call_later=clock.call_later,
            call_soon=clock.call_soon,
            call_soon_threadsafe=clock.call_soon_threadsafe,
            tokens=self.tokens,
        )
        self.places = StorageFiles(
            Opener(self._services),
            clock,
            writes_max=settings.grid.export_writes_max,
            places_max=settings.grid.export_places_max,
        )
        self.files: DeadLetterFiles = self.places
        self._farewells = Farewells(self._services, lambda: str(uuid.uuid4()), _farewell_failed)

    def new_destination(self, topic: Topic, subscription: Subscription) -> Destination:
        """Raises nothing: what cannot be made any more, because its library is gone, fails each
        attempt with that."""
        try:
            return kinds.new_destination(topic, subscription, self._services)
        except InvalidRequest as error:
            return Unusable(error, self._services)

    def check(self, subscription: Subscription, connection: Connection | None) -> None:
        """Raises InvalidRequest for a kind of endpoint, or of place for dead letters, that nothing
        provides, and for a queue that could not be opened. From any thread."""
        endpoint = subscription.endpoint
        kinds.check(endpoint, None if connection is None else connection.kind)
        if subscription.deadletter is not None:
            self.places.check(
                DeadLetterPlace(
                    address=subscription.deadletter, connection=subscription.deadletter_connection
                )
            )
        if connection is not None:
            kinds.check_connection(endpoint, settings_of(connection))
        if endpoint.type in KINDS:
            self.places.check_endpoint(endpoint)
        if is_system(endpoint.type):
            address = Address(name=endpoint.address, options=endpoint.options)
            check_queue(endpoint.type, connection, address)

    async def handshake(
        self, topic: Topic, subscription: Subscription, *, code: str, later_url: str
    ) -> handshake.Result:
        """Ask the endpoint for its consent; kinds other than webhooks give it by being declared."""
        endpoint = subscription.endpoint
        if endpoint.type != WEBHOOK:
            return handshake.Consent()
        authorization = await self._authorization(endpoint)
        if isinstance(authorization, Evidence):
            return handshake.Refused(authorization)
        question = handshake.Question(
            endpoint=endpoint,
            output_schema=endpoint.delivery_schema or topic.input_schema,
            subscription_name=subscription.name,
            topic_resource=topics.resource_of(topic, self._prefix),
            origin=self._origin,
            code=code,
            later_url=later_url,
            event_id=str(uuid.uuid4()),
            now_ms=self._clock.now_ms(),
            authorization=authorization,
        )
        return await handshake.validate(self.client, question)

    async def _authorization(self, endpoint: Endpoint) -> bytes | Evidence:
        """The header line of a webhook that wants a token, or why there is none."""
        if not endpoint.wants_token:
            return b""
        found: asyncio.Future[bytes | Evidence] = asyncio.get_running_loop().create_future()

        def told(line: bytes | Evidence) -> None:
            if not found.done():  # the caller may have gone
                found.set_result(line)

        bearer(endpoint, self._services).wait(handshake.ANSWER_S_MAX, told)
        return await found

    def say_farewell(self, topic: Topic, subscription: Subscription) -> None:
        """Tell a webhook that its subscription is gone. Nobody waits for it, and it is not tried
        again: there is nothing left to try it for."""
        self._farewells.say(topic, subscription)

    def explain(self, evidence: Evidence) -> Explanation:
        return explain(evidence)

    def close(self) -> None:
        self.client.close()
        self.places.close()
        self.tokens.close()


def _farewell_failed(topic: Topic, subscription: Subscription, evidence: Evidence | None) -> None:
    seen: dict[str, object] = {"detail": "too many endpoints wait to be told"}
    if evidence is not None:
        seen = {
            "finding": classify(evidence),
            "stage": evidence.stage.value,
            "fault": evidence.fault.value,
            "status": evidence.status,
            "address": evidence.address,
            "detail": evidence.detail,
        }
    log(
        "subscription.farewell_failed",
        level=logging.WARNING,
        subscription=subscription.name,
        topic=topic.name,
        **seen,
    )


def new_guard(settings: Settings) -> AddressGuard:
    """The rule on addresses: a server that listens on loopback only may deliver to loopback, over
    http too."""
    host, _ = address(settings.server.listen)
    return AddressGuard(
        [str(ipaddress.ip_network(text, strict=False)) for text in settings.network.allow_private],
        allow_loopback=is_loopback(host),
        allow_http=settings.network.allow_http,
    )


def new_proxies(settings: Settings) -> Proxies:
    """The proxies of deliveries. Raises InvalidRequest for one that cannot be used."""
    wanted = settings.network.proxies
    if wanted == "none":
        return NO_PROXIES
    if wanted == "environment":
        return from_environment(os.environ)
    return from_environment({"http_proxy": wanted, "https_proxy": wanted})

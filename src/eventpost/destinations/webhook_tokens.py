"""A webhook that wants a token of Microsoft Entra on each request, as Event Grid sends it.

Layer: destinations. `azureActiveDirectoryTenantId` and `azureActiveDirectoryApplicationIdOrUri`:
https://learn.microsoft.com/azure/event-grid/secure-webhook-delivery
"""

from collections.abc import Sequence
from functools import partial

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.credentials import reports
from eventpost.credentials.entra import KIND, EntraConnection
from eventpost.destinations.borders import unusable
from eventpost.destinations.kinds import Services
from eventpost.destinations.tokens import Bearer
from eventpost.destinations.webhook import WebhookDestination
from eventpost.http.answers import Answer

LIBRARY = "azure.identity"
EXTRA = "azure"


def bearer(endpoint: Endpoint, services: Services) -> Bearer:
    """The token of an endpoint that wants one, by the connection as it is now. Asks nobody yet.

    Raises InvalidRequest for a connection that there is not, or that is of another kind.
    """
    settings = services.connection(KIND, endpoint.connection) if endpoint.connection else None
    assert settings is None or isinstance(settings, EntraConnection)
    return services.tokens.bearer(endpoint, settings or EntraConnection(), services)


class AuthorizedWebhook(WebhookDestination):
    """Attempts wait for a token as long as an answer may take; without one they fail with the
    evidence why, and do not count: nothing was sent."""

    __slots__ = ("_bearer", "_is_closed", "_line", "_waiting_count")

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        self._bearer: Bearer | None = None
        self._line = b""
        self._waiting_count = 0
        self._is_closed = False
        super().__init__(topic, subscription, services)

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        """Without knowing whose token it is to be, nothing is sent."""
        if self._trouble is not None:
            self._trouble = self._prepare()
        if self._trouble is not None:
            self._services.http.soon(self._refuse, deliveries, done)
            return
        try:
            # Not before there is something to send: at a start connections are not known yet.
            wanted = self._bearer = self._bearer or bearer(self._endpoint, self._services)
        except InvalidRequest as error:
            self._services.http.soon(done, deliveries, unusable(error))
            return
        line = wanted.line()
        if line is not None:
            self._line = line
            super().deliver(deliveries, done)
            return
        self._waiting_count += 1
        wanted.wait(self._endpoint.response_timeout_s, partial(self._told, deliveries, done))

    def close(self) -> None:
        """What waits for a token is still sent."""
        self._is_closed = True
        if not self._waiting_count:
            super().close()

    def _told(
        self, deliveries: Sequence[Delivery], done: DeliveryDone, found: bytes | Evidence
    ) -> None:
        self._waiting_count -= 1
        if isinstance(found, Evidence):
            done(deliveries, Failed(found, is_counted=False))
        else:
            self._line = found
            super().deliver(deliveries, done)
        if self._is_closed and not self._waiting_count:
            super().close()

    def _prepare(self) -> Evidence | None:
        trouble = super()._prepare()
        if trouble is not None or self._target is None:
            return trouble
        if not self._target.url.is_tls or self._endpoint.tls_insecure:
            told = "a token is never sent where others could read it"
            return Evidence(stage=Stage.SETTINGS, fault=Fault.FORBIDDEN_SCHEME, detail=told)
        return None

    def _request_head(
        self, deliveries: Sequence[Delivery], content_type: bytes, body: bytes
    ) -> bytes:
        head = super()._request_head(deliveries, content_type, body)
        return b"%b%b\r\n" % (head[:-2], self._line)

    def _failed(self, answer: Answer | Evidence) -> Outcome:
        """Without the token, which the endpoint may have repeated."""
        outcome = super()._failed(answer)
        if not isinstance(outcome, Failed) or self._bearer is None or not outcome.evidence.detail:
            return outcome
        detail = reports.shown(self._bearer.masked(outcome.evidence.detail))
        evidence = msgspec.structs.replace(outcome.evidence, detail=detail)
        return msgspec.structs.replace(outcome, evidence=evidence)

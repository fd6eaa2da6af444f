"""The ladder of a webhook: its URL, the rule on addresses, the way, its certificate, an answer.

Layer: app. A handler is not run: the look at the protocol is an OPTIONS request. The round trip,
which is asked for, is the handshake that Event Grid makes before it delivers.
"""

import asyncio
import os
import time
import uuid

from eventpost.app.doctor.settled import settings
from eventpost.app.endpoints import new_guard, new_proxies
from eventpost.config.settings import Settings
from eventpost.core.events import Schema
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import entra, secrets
from eventpost.credentials.entra import EntraConnection
from eventpost.destinations import handshake
from eventpost.diagnosis.doctor import network, steps
from eventpost.diagnosis.doctor.bounds import BOUNDS
from eventpost.diagnosis.doctor.climbing import Step
from eventpost.diagnosis.doctor.ladder import Seen, Unknown
from eventpost.diagnosis.doctor.network import Peer
from eventpost.formats import topics
from eventpost.http import urls
from eventpost.http.client import HttpClient, Target
from eventpost.http.trust import Trust

ANSWER_S = 10.0
"""For the round trip, so that the ladder ends in time; a server waits for 30 s."""
CLOSING_TURNS = 5


def steps_of(
    endpoint: Endpoint,
    settings_of: Settings,
    schema: Schema,
    *,
    is_round_trip: bool,
    application: EntraConnection | None = None,
) -> list[tuple[str, Step]]:
    """The ladder of a webhook; `settings_of` are the server's, whose rules on addresses hold, and
    `application` says who we are to one that wants a token."""
    look = _Webhook(endpoint, settings_of, schema, application or EntraConnection())
    token: list[tuple[str, Step]] = [("credentials", look.token)] if endpoint.wants_token else []
    found: list[tuple[str, Step]] = [
        ("settings", settings(look.settings)),
        *token,
        ("name", look.name),
        ("route", look.route),
        ("tls", look.tls),
        ("protocol", look.protocol),
    ]
    return [*found, ("round trip", look.round_trip)] if is_round_trip else found


class _Webhook:
    def __init__(
        self,
        endpoint: Endpoint,
        settings_of: Settings,
        schema: Schema,
        application: EntraConnection,
    ) -> None:
        self._endpoint = endpoint
        self._audience = entra.Audience(
            endpoint.azure_active_directory_tenant_id,
            endpoint.azure_active_directory_application_id_or_uri,
            application,
        )
        self._authorization = b""
        self._settings = settings_of
        self._schema = endpoint.delivery_schema or schema

    @property
    def _url(self) -> urls.Url:
        return urls.parse(self._endpoint.address)

    def settings(self) -> str:
        for reference in self._endpoint.signing_secrets:
            secrets.resolve(reference)
        return f"{self._url.scheme} to {self._url.authority}"

    def token(self) -> Seen:
        """Whether there is a token, and whose; it goes with the round trip."""
        session = entra.session(self._audience)
        found = session.fetch()
        if isinstance(found, Evidence):
            return Failed(found)
        self._authorization = found.line
        report = session.report()
        return f"{report.link} ({report.identity}) has a token for {self._audience.application}"

    def _proxied(self) -> Peer | None:
        proxy = new_proxies(self._settings).for_url(self._url)
        return None if proxy is None else Peer(proxy.host, proxy.port)

    def _peer(self) -> Peer:
        return self._proxied() or Peer(self._url.host, self._url.port)

    def name(self) -> Seen:
        """The addresses, and whether the rule lets deliveries go there."""
        peer = self._peer()
        found = network.look_up(peer, BOUNDS)
        if isinstance(found, Failed) or self._proxied():
            return found if isinstance(found, Failed) else network.described(peer, found)
        guard = new_guard(self._settings)
        refusals = [guard.check(each, is_tls=self._url.is_tls) for each in found]
        for address, refusal in zip(found, refusals, strict=True):
            if refusal is not None and all(refusals):
                fault, why = refusal
                where = network.shown(address, peer.port)
                return Failed(Evidence(stage=Stage.NAME, fault=fault, address=where, detail=why))
        return network.described(peer, found)

    def route(self) -> Seen:
        return steps.route(lambda: [self._peer()])()

    def tls(self) -> Seen:
        if not self._url.is_tls or self._proxied():
            return None
        trust = Trust(self._settings.network.ca_file or None)
        is_insecure = self._endpoint.tls_insecure
        return steps.tls(lambda: [self._peer()], lambda: trust.context(is_insecure=is_insecure))()

    def protocol(self) -> Seen:
        """Whatever is answered proves that HTTP is spoken; what it says of deliveries is open."""
        answer = asyncio.run(self._ask())
        return Failed(answer) if isinstance(answer, Evidence) else answer

    async def _ask(self) -> str | Evidence:
        client = self._client()
        target = self._target(client)
        asked: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        head = b"%bContent-Length: 0\r\n\r\n" % target.head_start(b"OPTIONS")
        try:
            client.request(target, head, b"", ANSWER_S, asked.set_result)
            answer = await asked
        finally:
            await _end(client)
        if isinstance(answer, Evidence):
            return answer
        return f"OPTIONS was answered {getattr(answer, 'status', 0)}"

    def round_trip(self) -> Seen:
        """The handshake, with a code of its own. A handler that delivers has answered one."""
        result = asyncio.run(self._shake_hands())
        if isinstance(result, handshake.Refused):
            return Failed(result.evidence)
        if isinstance(result, handshake.Awaiting):
            return Unknown("the endpoint took the question, and did not consent at once")
        return "the endpoint consents to deliveries"

    async def _shake_hands(self) -> handshake.Result:
        client = self._client()
        self._target(client)
        question = handshake.Question(
            endpoint=self._endpoint,
            output_schema=self._schema,
            subscription_name="eventpost-doctor",
            topic_resource=topics.resource(
                "eventpost-doctor", self._settings.server.topic_resource_prefix
            ),
            origin=urls.parse(self._origin()).host,
            code=str(uuid.uuid4()),
            later_url=f"{self._origin()}/validate/doctor",
            event_id=str(uuid.uuid4()),
            now_ms=round(time.time() * 1_000),
            authorization=self._authorization,
        )
        try:
            return await asyncio.wait_for(handshake.validate(client, question), ANSWER_S)
        except TimeoutError:
            return handshake.Refused(
                Evidence(
                    stage=Stage.HANDSHAKE,
                    fault=Fault.TIMED_OUT,
                    elapsed_ms=round(ANSWER_S * 1_000),
                    address=str(self._peer()),
                )
            )
        finally:
            await _end(client)

    def _target(self, client: HttpClient) -> Target:
        """Kept until the client is closed, which ends its connections without taking leave."""
        return client.target(self._endpoint.address, is_insecure=self._endpoint.tls_insecure)

    def _origin(self) -> str:
        return self._settings.server.public_url.rstrip("/") or f"http://{os.uname().nodename}"

    def _client(self) -> HttpClient:
        return HttpClient(
            asyncio.get_running_loop(),
            new_guard(self._settings),
            self._settings.client,
            proxies=new_proxies(self._settings),
            ca_file=self._settings.network.ca_file or None,
        )


async def _end(client: HttpClient) -> None:
    """Close it, and let the loop end what was open before it ends itself."""
    client.close()
    for _ in range(CLOSING_TURNS):
        await asyncio.sleep(0)

"""A webhook receiver that records what it gets, and the harness of the webhook."""

import asyncio
import json
from collections.abc import Callable

from eventpost.core.events import Schema
from eventpost.core.interfaces import Destination
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription, Topic
from eventpost.destinations import kinds
from eventpost.destinations.kinds import Services
from eventpost.http.answers import parse_headers
from eventpost.testing.destination_conformance import NOW_MS, Behaviour, Harness
from tests.http.client.peers import OK, Caller, Peer, PeerConnection

NO = b"HTTP/1.1 500 Oh no\r\nContent-Length: 4\r\n\r\nblue"


class Received:
    """One request as the receiver saw it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.request_line, _, rest = head.partition(b"\r\n")
        self.headers = parse_headers(b"\r\n" + rest)
        self.body = body

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name.lower().encode()]


class Receiver(Peer):
    """Answers each request with what `answer` makes of it; None ends the connection."""

    def __init__(self, answer: Callable[[Received], bytes | None] = lambda _: OK) -> None:
        super().__init__(self._serve)
        self.requests: list[Received] = []
        self.answer = answer
        self.hangs = False

    async def _serve(self, connection: PeerConnection) -> None:
        while True:
            request = Received(*await connection.request())
            self.requests.append(request)
            if self.hangs:
                await connection.closed_by_client()
                return
            answer = self.answer(request)
            if answer is None:
                connection.close()
                return
            await connection.send(answer)


def topic(schema: Schema = Schema.EVENT_GRID) -> Topic:
    return Topic(id=3, name="songs", key1="", key2="", created_ms=0, input_schema=schema)


def subscription(
    url: str,
    *,
    attributes: tuple[DeliveryAttribute, ...] = (),
    signing_secrets: tuple[str, ...] = (),
    delivery_schema: Schema | None = None,
    batch_events_max: int = 1,
) -> Subscription:
    endpoint = Endpoint(
        address=url,
        attributes=attributes,
        signing_secrets=signing_secrets,
        delivery_schema=delivery_schema,
        max_events_per_batch=batch_events_max,
    )
    return Subscription(id=5, topic_id=3, name="blues", created_ms=0, endpoint=endpoint)


def services(caller: Caller) -> Services:
    return Services(http=caller.client, now_ms=lambda: NOW_MS, origin="events.example")


class WebhookHarness(Harness):
    """The webhook, delivering to a receiver on a real socket."""

    def __init__(self) -> None:
        self.caller = Caller()
        self.receiver = Receiver()

    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        answers = {Behaviour.REFUSE: NO, Behaviour.VANISH: None}
        self.receiver.answer = lambda _: answers.get(behaviour, OK)
        self.receiver.hangs = behaviour is Behaviour.HANG
        await self.receiver.start()
        if behaviour is Behaviour.ABSENT:
            await self.receiver.stop()
        return kinds.new_destination(
            topic(),
            subscription(self.receiver.url, batch_events_max=batch_events_max),
            services(self.caller),
        )

    async def stop(self) -> None:
        self.caller.client.close()
        await self.receiver.stop()
        await asyncio.sleep(0)
        assert not self.receiver.errors

    def received_ids(self) -> list[str]:
        return [
            event["id"] for request in self.receiver.requests for event in json.loads(request.body)
        ]

    def pass_time(self, seconds: float) -> None:
        self.caller.pass_time(seconds)

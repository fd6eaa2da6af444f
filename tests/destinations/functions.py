"""Functions of Lambda in tests: a local endpoint that answers as Lambda does, and its harness."""

import asyncio
import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import msgspec

from eventpost.core.events import Schema
from eventpost.core.interfaces import Destination
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription
from eventpost.credentials.aws import AwsConnection
from eventpost.destinations import kinds
from eventpost.testing.destination_conformance import Behaviour, Harness
from eventpost.testing.receiver import CLOSE, HANG, Answer, Reaction, Receiver
from tests.http.client.peers import Caller

from .receivers import services, topic

REGION = "us-east-1"
FUNCTION = "station-songs"
ARN = f"arn:aws:lambda:{REGION}:123456789012:function:{FUNCTION}"
REQUEST_ID = "8c1c1f0a-5f3e-4d0a-9f11-3f3f0a6f5f10"
RESPONSE_TIMEOUT_S = 1.0

Find = Callable[[str, str | None], msgspec.Struct]


def returned(value: object = None, *, status: int = 200) -> Answer:
    """What a function returned."""
    headers = {"x-amzn-RequestId": REQUEST_ID, "X-Amz-Executed-Version": "$LATEST"}
    return Answer(status, json.dumps(value).encode(), headers)


def raised(error: dict[str, Any], log: str = "") -> Answer:
    """What Lambda answers when a function has failed: a status of 200, and a header."""
    headers = {
        "x-amzn-RequestId": REQUEST_ID,
        "X-Amz-Function-Error": "Unhandled",
        "X-Amz-Log-Result": base64.b64encode(log.encode()).decode(),
    }
    return Answer(200, json.dumps(error).encode(), headers)


def refused(status: int, code: str, message: str, **members: object) -> Answer:
    """What Lambda answers when it does not run the function."""
    headers = {"x-amzn-RequestId": REQUEST_ID, "x-amzn-ErrorType": code}
    return Answer(
        status, json.dumps({"Type": "User", "message": message, **members}).encode(), headers
    )


def subscription(
    address: str = FUNCTION,
    *,
    batch_events_max: int = 1,
    attributes: tuple[DeliveryAttribute, ...] = (),
    delivery_schema: Schema | None = None,
    concurrency: int = 8,
    **options: object,
) -> Subscription:
    endpoint = Endpoint(
        type="lambda",
        address=address,
        connection="station",
        options=options,
        max_events_per_batch=batch_events_max,
        attributes=attributes,
        delivery_schema=delivery_schema,
        concurrency=concurrency,
        response_timeout_s=RESPONSE_TIMEOUT_S,
    )
    return Subscription(id=5, topic_id=3, name="blues", created_ms=0, endpoint=endpoint)


def connection(receiver: Receiver) -> AwsConnection:
    return AwsConnection(
        region=REGION,
        endpoint_url=f"http://127.0.0.1:{receiver.port}",
        access_key_id="env:LAMBDA_TEST_KEY_ID",
        secret_access_key="env:LAMBDA_TEST_SECRET",
        connect_timeout_s=1.0,
    )


class LambdaHarness(Harness):
    """A function at a local endpoint. Time passes by itself: the timeouts are short."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.find: Find = lambda *_: connection(self.receiver)
        self.caller: Caller | None = None
        self.destination: Destination | None = None

    async def start(self, behaviour: Behaviour, *, batch_events_max: int = 1) -> Destination:
        reactions: dict[Behaviour, Reaction] = {
            Behaviour.REFUSE: refused(429, "TooManyRequestsException", "Rate Exceeded."),
            Behaviour.VANISH: CLOSE,
            Behaviour.HANG: HANG,
        }
        self.receiver.always = reactions.get(behaviour, returned())
        if behaviour is Behaviour.ABSENT:
            await asyncio.to_thread(self.receiver.refuse)
        return self.deliver_to(subscription(batch_events_max=batch_events_max))

    def deliver_to(self, declared: Subscription, schema: Schema = Schema.EVENT_GRID) -> Destination:
        """A destination of that subscription, on the running loop."""
        loop = asyncio.get_running_loop()
        self.caller = Caller()
        made = dataclasses.replace(
            services(self.caller),
            connection=lambda kind, name: self.find(kind, name),
            call_soon=loop.call_soon,
            call_soon_threadsafe=loop.call_soon_threadsafe,
        )
        self.destination = kinds.new_destination(topic(schema), declared, made)
        return self.destination

    def leave(self) -> None:
        """Before the loop ends."""
        if self.destination is not None and self.caller is not None:
            self.destination.close()
            self.caller.client.close()

    async def stop(self) -> None:
        self.leave()
        await asyncio.to_thread(self.receiver.close)

    def received_ids(self) -> list[str]:
        return self.receiver.ids

    def pass_time(self, seconds: float) -> None:
        """The client's own timeout runs by the system's clock, and is short."""

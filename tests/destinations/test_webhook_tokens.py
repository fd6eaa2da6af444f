"""Webhooks that want a token of Microsoft Entra: which request carries it, and who gets none."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Stage
from eventpost.core.subscriptions import DeliveryAttribute, Endpoint, Subscription
from eventpost.destinations import kinds
from eventpost.destinations.farewell import Farewells
from eventpost.destinations.kinds import Services
from eventpost.destinations.webhook_tokens import AuthorizedWebhook
from eventpost.http.addresses import AddressGuard
from eventpost.testing.azure_identity import APPLICATION, refusal
from eventpost.testing.destination_conformance import Recorder, delivery
from eventpost.testing.receiver import HANG, Answer, Receiver
from tests.destinations.entra import AUDIENCE, Entra, endpoint, entra_on_loopback, quiet, until
from tests.destinations.receivers import topic
from tests.http.client.peers import Caller

CONNECTION = "station-app"


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    with entra_on_loopback(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def hook(entra: Entra) -> Iterator[Receiver]:
    made = Receiver(tls=entra.tls)
    yield made
    made.close()


def subscription(to: Endpoint) -> Subscription:
    return Subscription(id=5, topic_id=3, name="blues", created_ms=0, endpoint=to)


class Station:
    """A client, and the services of a server, on the running loop."""

    def __init__(self, entra: Entra) -> None:
        guard = AddressGuard(allow_loopback=True, allow_http=True)
        self.caller = Caller(guard=guard, ca_file=entra.ca_file)
        loop = asyncio.get_running_loop()

        def connection(kind: str, name: str | None) -> msgspec.Struct:
            if name != CONNECTION:
                raise InvalidRequest("ConnectionNotFound", f"There is no connection {name!r}.")
            assert kind == "entra"
            return entra.settings

        self.services = Services(
            http=self.caller.client,
            now_ms=lambda: time.time_ns() // 1_000_000,
            origin="events.example",
            connection=connection,
            call_later=loop.call_later,
            call_soon=loop.call_soon,
            call_soon_threadsafe=loop.call_soon_threadsafe,
        )
        self.recorder = Recorder()

    async def __aenter__(self) -> "Station":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.services.tokens.close()
        self.caller.client.close()
        await quiet()

    def destination(self, to: Endpoint) -> AuthorizedWebhook:
        made = kinds.new_destination(topic(), subscription(to), self.services)
        assert isinstance(made, AuthorizedWebhook)
        return made


def attempt(entra: Entra, to: Endpoint, count: int = 1) -> list[Any]:
    """The outcomes of so many attempts, one after the other."""
    found: list[Any] = []

    async def main() -> None:
        async with Station(entra) as station:
            destination = station.destination(to)
            for number in range(1, count + 1):
                station.recorder.deliver(destination, [delivery(number)])
                found[:] = await station.recorder.wait(number)
            destination.close()

    asyncio.run(main())
    return found


def authorization(entra: Entra) -> str:
    return f"Bearer {entra.service.tokens[-1]}"


def test_each_delivery_carries_the_token(entra: Entra, hook: Receiver) -> None:
    """The first one that waited for it and all later ones; one token serves them."""
    outcomes = attempt(entra, endpoint(hook.url, connection=CONNECTION), 3)

    assert outcomes == [DELIVERED] * 3
    sent = [each.headers["authorization"] for each in hook.requests]
    assert sent == [authorization(entra)] * 3
    assert len(entra.asked) == 1


def test_beside_other_headers(
    entra: Entra, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signature and delivery properties go along with it."""
    monkeypatch.setenv("SIGNING", "secret")
    attributes = (
        DeliveryAttribute(name="X-Station", type="static", value="blue"),
        DeliveryAttribute(name="X-Title", type="dynamic", value="data.title"),
    )

    attempt(
        entra,
        endpoint(
            hook.url, connection=CONNECTION, attributes=attributes, signing_secrets=("env:SIGNING",)
        ),
    )

    [request] = hook.requests
    assert request.headers["authorization"] == authorization(entra)
    assert request.headers["x-station"] == "blue"
    assert request.headers["x-title"] == "Dust My Broom"
    assert request.headers["webhook-signature"].startswith("v1,")
    assert request.event["id"] == "event-1"


def test_no_token_goes_to_where_a_redirect_points(entra: Entra, hook: Receiver) -> None:
    """A redirect is an answer like any other: nobody else is sent anything."""
    other = Receiver(tls=entra.tls)
    hook.always = Answer(307, headers={"Location": other.url})

    [outcome] = attempt(entra, endpoint(hook.url, connection=CONNECTION))

    assert isinstance(outcome, Failed)
    assert outcome.evidence.status == 307
    assert other.requests == []
    other.close()


@pytest.mark.parametrize("status", [401, 500])
def test_a_token_that_is_repeated(entra: Entra, hook: Receiver, status: int) -> None:
    """An endpoint that answers with what it was sent does not bring the token into evidence."""
    hook.choose = lambda request: Answer(
        status, f"I do not like {request.headers['authorization']}, at all".encode()
    )

    [outcome] = attempt(entra, endpoint(hook.url, connection=CONNECTION))

    assert isinstance(outcome, Failed)
    assert outcome.evidence.detail == "I do not like Bearer ***, at all"


def test_without_a_token_nothing_is_sent(entra: Entra, hook: Receiver) -> None:
    """The attempt fails with the evidence why, and does not count."""
    entra.service.entra_answer = refusal("AADSTS7000215: Invalid client secret provided.")

    [outcome] = attempt(entra, endpoint(hook.url, connection=CONNECTION))

    assert isinstance(outcome, Failed)
    assert outcome.evidence.stage is Stage.CREDENTIALS
    assert outcome.evidence.code == "AADSTS7000215"
    assert not outcome.is_counted
    assert hook.requests == []


def test_a_token_that_comes_too_late(entra: Entra, hook: Receiver) -> None:
    """An attempt waits no longer for its token than an answer may take."""
    entra.service.entra_answer = HANG

    [outcome] = attempt(entra, endpoint(hook.url, connection=CONNECTION, response_timeout_s=0.01))

    assert isinstance(outcome, Failed)
    assert (outcome.evidence.stage, outcome.evidence.fault) == (
        Stage.CREDENTIALS,
        Fault.TIMED_OUT,
    )
    assert not outcome.is_counted
    assert hook.requests == []


def test_closed_while_it_waits(entra: Entra, hook: Receiver) -> None:
    """What waits for a token when the destination is closed still gets its outcome, and nothing of
    it stays open."""

    async def main() -> None:
        entra.service.entra_answer = HANG
        async with Station(entra) as station:
            destination = station.destination(endpoint(hook.url, connection=CONNECTION))
            station.recorder.deliver(destination, [delivery(1)])
            await until(lambda: entra.service.held_count == 1)
            destination.close()
            entra.service.release(entra.service.grant(AUDIENCE, APPLICATION))

            assert await station.recorder.wait(1) == [DELIVERED]
            await until(lambda: station.caller.client.stats().connections == 0)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"address": "http://127.0.0.1:9/hook"}, Fault.FORBIDDEN_SCHEME),
        ({"tls_insecure": True}, Fault.FORBIDDEN_SCHEME),
        ({"connection": "gone"}, Fault.NOT_FOUND),
    ],
    ids=["http", "unverified", "connection"],
)
def test_settings_that_cannot_be_used(
    entra: Entra, hook: Receiver, fields: dict[str, Any], fault: Fault
) -> None:
    """However they came to be kept: no token is asked for, and nothing is sent."""
    to = msgspec.structs.replace(endpoint(hook.url, connection=CONNECTION), **fields)

    [outcome] = attempt(entra, to)

    assert isinstance(outcome, Failed)
    assert (outcome.evidence.stage, outcome.evidence.fault) == (Stage.SETTINGS, fault)
    assert not outcome.is_counted
    assert entra.service.asked == []
    assert hook.requests == []


@pytest.mark.parametrize("has_token", [True, False], ids=["token", "no token"])
def test_the_farewell_carries_it(entra: Entra, hook: Receiver, has_token: bool) -> None:
    """The last message carries the token as all before did; without one it is not sent, and that
    is told."""
    failures: list[Evidence | None] = []
    if not has_token:
        entra.service.entra_answer = 500

    async def main() -> None:
        async with Station(entra) as station:
            farewells = Farewells(
                station.services, lambda: "id-1", lambda _, __, why: failures.append(why)
            )
            farewells.say(topic(), subscription(endpoint(hook.url, connection=CONNECTION)))
            await until(lambda: hook.farewells or failures)

    asyncio.run(main())

    if has_token:
        [farewell] = hook.farewells
        assert farewell.headers["authorization"] == authorization(entra)
    else:
        [failure] = failures
        assert failure is not None
        assert failure.stage is Stage.CREDENTIALS
        assert hook.farewells == []

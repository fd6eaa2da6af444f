"""What people get wrong about where events are to go: a clear error, and no event is lost.

For each system one server has two subscriptions for every mistake: one tries again until it is
mended, one gives up at the first failure.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.testing.receiver import Answer, Reaction, Received, Receiver
from tests.destinations.functions import refused, returned
from tests.queues.mistakes import (
    GROUNDS,
    KEYS,
    NOT_FOR_TLS,
    Ground,
    Mistake,
    secret,
    skewed_signature,
    tls_server,
)
from tests.server.running import EVENT, Served, served, until
from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.service import fresh_name
from tests.sources.station import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENT = {"schedule": ["3s"], "maxDeliveryAttempts": 30}
ONCE = {"schedule": ["3s"], "maxDeliveryAttempts": 1}
PATIENCE_S = 240.0
Arrived = Callable[[str, int], Counter[str]]


@dataclass(frozen=True)
class There:
    """A ground, and what arrived at one of its queues: so many events at least."""

    ground: Ground
    arrived: Arrived


@contextmanager
def queues(request: pytest.FixtureRequest, kind: str) -> Iterator[There]:
    with GROUNDS[kind](request, "send") as ground:

        def arrived(name: str, wanted: int) -> Counter[str]:
            found: list[str] = []
            with closing(ground.place(name).open()) as queue:
                while len(found) < wanted:
                    page = queue.receive(wanted, 5.0, 60.0)
                    assert isinstance(page, list), page
                    found += [json.loads(one.body)["title"] for one in page]
                    queue.settle(page)
            return Counter(found)

        yield There(ground, arrived)


@contextmanager
def functions(request: pytest.FixtureRequest, _kind: str) -> Iterator[There]:
    """Functions of a local endpoint, which refuses as Lambda does."""
    skewed, signed = skewed_signature()
    secret(request, BAD_INPUT_KEY_ID=ACCESS_KEY_ID, BAD_INPUT_SECRET=SECRET_ACCESS_KEY)
    invoke = "User: dj is not authorized to perform: lambda:InvokeFunction on resource: songs"
    unscoped = "Credential should be scoped to a valid region."
    refusals: dict[str, tuple[str, str, Answer]] = {
        "no-permission": (
            "EP4154",
            "lambda:InvokeFunction",
            refused(403, "AccessDeniedException", invoke),
        ),
        "another-region": (
            "EP4155",
            "",
            refused(404, "ResourceNotFoundException", "Function not found: songs"),
        ),
        "signed-for-elsewhere": (
            "EP4518",
            "valid region",
            refused(403, "InvalidSignatureException", unscoped),
        ),
        "clock": ("EP4519", signed, refused(403, "InvalidSignatureException", skewed)),
        "expired-token": ("EP4511", "expired", refused(403, "ExpiredTokenException", "expired")),
    }
    there: dict[str, list[str]] = {}
    """What each function was given."""
    with ExitStack() as opened:
        receiver = _receiver(opened, lambda asked: _function(asked, there))
        right = {"region": REGION, "endpoint_url": f"http://127.0.0.1:{receiver.port}"} | KEYS
        misspelt = KEYS | {"region": "us-east1"}
        mistakes = {
            "no-queue": Mistake({"EP4155"}),
            "misspelt-region": Mistake({"EP4524"}, "us-east-1", misspelt),
        }
        for name, (finding, told, answer) in refusals.items():
            refusing = _receiver(opened, lambda _, answer=answer: answer)  # type: ignore[misc]
            wrong = right | {"endpoint_url": f"http://127.0.0.1:{refusing.port}"}
            mistakes[name] = Mistake({finding}, told, wrong)
        tls = opened.enter_context(tls_server(request.getfixturevalue("authority")))
        plain = right | {"endpoint_url": f"http://127.0.0.1:{tls}"}
        mistakes["plain-to-tls"] = Mistake(NOT_FOR_TLS, "", plain)
        unknown = right | {"endpoint_url": f"https://localhost:{tls}"}
        mistakes["unknown-authority"] = Mistake({"EP2105"}, "", unknown)
        ground = Ground("lambda", "aws", right, mistakes, lambda name: there.update({name: []}), {})

        def arrived(name: str, wanted: int) -> Counter[str]:
            until(lambda: len(there[name]) >= wanted, patience_s=PATIENCE_S)
            return Counter(there[name])

        yield There(ground, arrived)


def _receiver(opened: ExitStack, choose: Callable[[Received], Reaction]) -> Receiver:
    receiver = Receiver()
    receiver.choose = choose
    opened.callback(receiver.close)
    return receiver


def _function(asked: Received, there: dict[str, list[str]]) -> Answer:
    for name, given in there.items():
        if f"/{name}/" in asked.path:
            given.append(asked.event["data"]["title"])
            return returned()
    return refused(404, "ResourceNotFoundException", "Function not found: songs")


PLACES = {**dict.fromkeys(GROUNDS, queues), "lambda": functions}


@pytest.mark.parametrize("kind", PLACES)
def test_every_mistake_is_told_and_mended(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each mistake makes its own deliveries fail, with its finding, its cause and its fix, while
    others are delivered; what was given up is a dead letter that says why, and when all is mended
    every event arrives, and no other one."""
    with (
        PLACES[kind](request, kind) as there,
        served(tmp_path / "data", QUICK) as server,
        server.admin() as admin,
    ):
        ground = there.ground
        queues = {name: fresh_name(name) for name in ground.mistakes}
        good = fresh_name("good")
        ground.make(good)
        admin.post("/topics", json={"name": "songs"})
        declare(admin, ground, "good", good, ground.settings)
        for name, mistake in ground.mistakes.items():
            if mistake.settings is not None:
                ground.make(queues[name])
                mistake.forbid(queues[name])
            declare(admin, ground, name, queues[name], mistake.settings or ground.settings)

        publish(server)

        assert there.arrived(good, 2) == {EVENT["data"]["title"]: 2}  # type: ignore[index]
        for name, mistake in ground.mistakes.items():
            check_failure(admin, mistake, name)
            check_dead_letter(admin, mistake, name)
        with server.http() as client:
            assert client.get("/readyz").status_code == 200

        for name, mistake in ground.mistakes.items():
            mend(admin, ground, mistake, name, queues[name])
        replayed = admin.post("/deadletters/replay", json={})
        assert replayed.status_code == 200, replayed.text
        for name in ground.mistakes:
            assert there.arrived(queues[name], 2) == {EVENT["data"]["title"]: 2}, name  # type: ignore[index]
            for one in (name, f"{name}-once"):
                check_delivered(admin, one)
        assert admin.get("/deadletters/count").json()["count"] == 0


def declare(
    admin: httpx.Client, ground: Ground, name: str, queue: str, settings: Mapping[str, Any]
) -> None:
    """A connection, and two subscriptions over it: one that tries again, and one that does not."""
    connection = {"name": name, "kind": ground.connection_kind, "settings": dict(settings)}
    told = admin.post("/connections", json=connection)
    assert told.status_code == 201, told.text
    for called, retry in ((name, PATIENT), (f"{name}-once", ONCE)):
        subscription = {
            "name": called,
            "topic": "songs",
            "endpointType": ground.kind,
            "endpoint": queue,
            "connection": name,
            "retry": retry,
        }
        if ground.kind != "lambda":
            subscription["messageFormat"] = "raw"
        told = admin.post("/subscriptions", json=subscription)
        assert told.status_code == 201, told.text


def publish(server: Served) -> None:
    with server.http() as client:
        key = {"aeg-sas-key": server.key("songs")}
        told = client.post("/topics/songs/api/events", json=[EVENT], headers=key)
        assert told.status_code == 200, told.text


def check_failure(admin: httpx.Client, mistake: Mistake, name: str) -> None:
    until(lambda: bool(shown(admin, name)["lastFailures"]), patience_s=PATIENCE_S)
    failure = shown(admin, name)["lastFailures"][-1]
    check(mistake, failure, name)
    assert mistake.told in failure["evidence"].get("detail", ""), (name, failure)


def check_dead_letter(admin: httpx.Client, mistake: Mistake, name: str) -> None:
    """The event of the subscription that gives up is kept, with what was wrong."""
    which = {"subscription": f"{name}-once"}

    def letters() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = admin.get("/deadletters", params=which).json()["value"]
        return found

    until(lambda: bool(letters()), patience_s=PATIENCE_S)
    (letter,) = letters()
    check(mistake, letter, name)


def check_delivered(admin: httpx.Client, name: str) -> None:
    until(lambda: shown(admin, name)["books"]["pending"] == 0, patience_s=PATIENCE_S)
    assert shown(admin, name)["books"]["delivered"] == 1


def check(mistake: Mistake, failed: dict[str, Any], name: str) -> None:
    assert failed["finding"] in mistake.findings, (name, failed)
    assert failed["cause"], name
    assert failed["fix"], name


def mend(admin: httpx.Client, ground: Ground, mistake: Mistake, name: str, queue: str) -> None:
    if mistake.settings is None:
        ground.make(queue)
        return
    right = dict.fromkeys(mistake.settings) | ground.settings  # null takes out
    told = admin.patch(f"/connections/{name}", json={"settings": right})
    assert told.status_code == 200, told.text


def shown(admin: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(f"/subscriptions/{name}", params={"topic": "songs"}).json()
    return found

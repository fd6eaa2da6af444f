"""From a publish to a function of Lambda: the whole server, and an endpoint as Lambda has it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.testing.receiver import Receiver
from tests.destinations.functions import FUNCTION, returned
from tests.server.running import EVENT, problem, served, until
from tests.services.aws import ACCESS_KEY_ID, SECRET_ACCESS_KEY

pytestmark = pytest.mark.slow


@pytest.fixture
def function() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def settings(function: Receiver, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Of a connection to it."""
    monkeypatch.setenv("STATION_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("STATION_SECRET", SECRET_ACCESS_KEY)
    return {
        "region": "us-east-1",
        "endpoint_url": f"http://127.0.0.1:{function.port}",
        "access_key_id": "env:STATION_KEY_ID",
        "secret_access_key": "env:STATION_SECRET",
    }


DECLARED: dict[str, Any] = {
    "name": "out",
    "topic": "songs",
    "endpointType": "lambda",
    "endpoint": FUNCTION,
    "connection": "station",
    "maxEventsPerBatch": 10,
    "retry": {"schedule": "100ms"},
}


def prepare(admin: httpx.Client, settings: dict[str, object]) -> None:
    connection = {"name": "station", "kind": "aws", "settings": settings}
    assert admin.post("/connections", json=connection).status_code == 201
    assert admin.post("/topics", json={"name": "songs"}).status_code == 201


def test_part_of_a_batch_is_tried_again(
    tmp_path: Path, function: Receiver, settings: dict[str, object]
) -> None:
    """What a function names as not processed it gets again, and nothing else; the books balance."""
    failures = {"batchItemFailures": [{"itemIdentifier": "e-2"}]}
    function.script(returned(failures))
    function.always = returned()
    with served(tmp_path / "data") as server, server.admin() as admin:
        prepare(admin, settings)
        assert admin.post("/subscriptions", json=DECLARED).status_code == 201
        events = [EVENT | {"id": f"e-{number}"} for number in range(4)]
        assert admin.post("/topics/songs/publish", json=events).status_code == 200

        until(lambda: admin.get("/subscriptions/out").json()["books"]["delivered"] == 4)

        found = admin.get("/subscriptions/out").json()
    assert found["books"]["pending"] == 0
    assert found["lastFailures"][0]["finding"] == "EP4159"
    assert function.requests[0].events[2]["id"] == "e-2"
    assert sorted(function.ids) == ["e-0", "e-1", "e-2", "e-2", "e-3"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"endpoint": "no function"}, "is no function of Lambda"),
        ({"connection": "other"}, "needs a connection of the kind aws"),
        ({"endpointOptions": {"invocation": "DryRun"}}, "options.invocation"),
        ({"messageFormat": "raw"}, "has no message format"),
    ],
)
@pytest.mark.usefixtures("pigeon")
def test_functions_that_cannot_be(
    tmp_path: Path, settings: dict[str, object], change: dict[str, object], says: str
) -> None:
    """What could never be invoked is refused when it is declared, not when it fails."""
    with served(tmp_path / "data") as server, server.admin() as admin:
        prepare(admin, settings)
        admin.post("/connections", json={"name": "other", "kind": "pigeon"})

        document = problem(admin.post("/subscriptions", json=DECLARED | change), 400)

        assert says in document["detail"]
        assert document["fix"]

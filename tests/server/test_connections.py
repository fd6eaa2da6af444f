"""Connections over the management API."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.running import Served, problem, served

pytestmark = pytest.mark.usefixtures("pigeon")

HOME = {"name": "home", "kind": "pigeon", "settings": {"loft": "barn", "whistle": "env:WHISTLE"}}


@pytest.fixture
def home(admin: httpx.Client) -> httpx.Client:
    """With a connection `home`."""
    created = admin.post("/connections", json=HOME)
    assert created.status_code == 201, created.text
    return admin


def use(client: httpx.Client, name: str = "letters", connection: str = "home") -> None:
    client.post("/topics", json={"name": "songs"})
    created = client.post(
        "/sources",
        json={
            "name": name,
            "topic": "songs",
            "kind": "pigeon",
            "queue": "grey",
            "connection": connection,
        },
    )
    assert created.status_code == 201, created.text


def test_a_connections_life(home: httpx.Client) -> None:
    """A connection is created, shown, listed, changed and deleted; references are shown."""
    shown = home.get("/connections/home").json()
    assert {name: shown[name] for name in HOME} == HOME
    assert shown["usedBy"] == []
    assert home.get("/connections").json()["value"] == [shown]

    changed = home.patch("/connections/home", json={"settings": {"height_m": 7, "loft": None}})

    assert changed.json()["settings"] == {"whistle": "env:WHISTLE", "height_m": 7}
    replaced = home.put("/connections/home", json=changed.json() | {"settings": {}})
    assert replaced.json()["settings"] == {}
    assert home.delete("/connections/home").status_code == 204
    assert problem(home.get("/connections/home"), 404)["code"] == "ConnectionNotFound"


def test_a_connection_exists_once(home: httpx.Client) -> None:
    """A second connection of the same name is a conflict."""
    assert problem(home.post("/connections", json=HOME), 409)["code"] == "ConnectionExists"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "a b"}, "cannot name a connection"),
        ({"kind": "hawk"}, "no kind of connection 'hawk'"),
        ({"settings": {"lofft": "x"}}, "settings.lofft is not a known field"),
        ({"settings": {"height_m": "high"}}, "settings.height_m: expected"),
        ({"settings": {"whistle": "hush"}}, "settings.whistle"),
        ({"settings": {"loft": "bird://me:hush@loft"}}, "holds a password"),
        ({"kindd": "x"}, "kindd is not a known field"),
    ],
)
def test_connections_that_cannot_be(
    admin: httpx.Client, change: dict[str, object], says: str
) -> None:
    """A wrong declaration is refused with the field in the detail and a fix; no secret returns."""
    answer = admin.post("/connections", json=HOME | change)

    document = problem(answer, 400)
    assert says in document["detail"]
    assert document["fix"]
    assert "hush" not in answer.text


def test_a_connection_in_use_is_kept(home: httpx.Client) -> None:
    """What uses a connection is named, and keeps it from being deleted or made another kind."""
    use(home)

    refused = problem(home.delete("/connections/home"), 409)

    assert refused["code"] == "ConnectionInUse"
    assert "source letters" in refused["detail"]
    assert home.get("/connections/home").json()["usedBy"] == ["source letters"]
    assert home.delete("/sources/letters").status_code == 204
    assert home.delete("/connections/home").status_code == 204


def test_a_used_connection_keeps_its_kind(
    home: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind can be changed only while nothing would be left with the wrong one."""
    from eventpost.queues import kinds

    monkeypatch.setitem(kinds.CONNECTION_CLASSES, "dove", "eventpost_pigeon:PigeonConnection")
    assert home.patch("/connections/home", json={"kind": "dove"}).json()["kind"] == "dove"
    home.patch("/connections/home", json={"kind": "pigeon"})
    use(home)

    refused = problem(home.patch("/connections/home", json={"kind": "dove"}), 400)

    assert refused["code"] == "ConnectionInUse"
    assert home.get("/connections/home").json()["kind"] == "pigeon"


def test_names_do_not_change(home: httpx.Client) -> None:
    """A connection keeps its name: what uses it knows it by that."""
    refused = problem(home.patch("/connections/home", json={"name": "other"}), 400)

    assert "keeps its name" in refused["fix"]


def test_connections_outlive_a_restart(tmp_path: Path) -> None:
    """What was answered as created is there after the next start."""
    with served(tmp_path / "data") as server, server.admin() as client:
        client.post("/connections", json=HOME)
        use(client)
        before = declared(client)

    with served(tmp_path / "data") as server, server.admin() as client:
        after = declared(client)

    assert after == before


def declared(client: httpx.Client) -> tuple[Any, list[dict[str, Any]]]:
    """Connections and sources, but for how they are at the moment."""
    sources = client.get("/sources").json()["value"]
    passing = ("state", "counts", "failures")
    kept = [{name: each[name] for name in each if name not in passing} for each in sources]
    return client.get("/connections").json(), kept


def test_a_subscription_needs_its_connection(server: Served) -> None:
    """A subscription over a connection that there is not is refused by its name."""
    with server.admin() as client:
        client.post("/topics", json={"name": "songs"})
        declared = {
            "name": "out",
            "topic": "songs",
            "endpointType": "pigeon",
            "endpoint": "grey",
            "connection": "nowhere",
        }

        refused = problem(client.post("/subscriptions", json=declared), 404)

    assert refused["code"] == "ConnectionNotFound"

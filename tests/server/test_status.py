"""Stories of events, the store, and how the server is."""

from pathlib import Path

import httpx

from eventpost.app.application import Health
from eventpost.config.settings import NetworkSettings, Settings
from eventpost.testing import Receiver
from tests.server.running import EVENT, Served, problem, served


def test_an_events_story(songs: httpx.Client, webhook: Receiver) -> None:
    """An event is found by its id, slashes included, with what became of it."""
    songs.post("/topics/songs/publish", json=EVENT | {"id": "a/b"})
    webhook.wait_for(1)

    (story,) = songs.get("/events/a%2Fb/trace?since=1h").json()["value"]

    assert (story["eventId"], story["topic"]) == ("a/b", "songs")
    (delivery,) = story["deliveries"]
    assert delivery["subscription"] == "blues"
    assert delivery["where"] in {"delivered", "sending"}
    assert songs.get("/events/unknown/trace").json() == {"value": []}
    problem(songs.get("/events/1/trace?topic=albums"), 404)


def test_the_store(songs: httpx.Client, tmp_path: Path) -> None:
    """Usage, damage and the size of a backup are told."""
    songs.post("/topics/songs/publish", json=EVENT)
    copy = tmp_path / "copy.db"

    assert songs.get("/store/usage").json()["eventCount"] == 1
    assert songs.post("/store/verify").json() == {"isIntact": True, "damage": []}
    backup = songs.post("/store/backup", json={"path": str(copy)}).json()
    assert backup == {"path": str(copy), "bytes": copy.stat().st_size}
    assert "relative" in problem(songs.post("/store/backup", json={"path": "b"}), 400)["detail"]


def test_the_configuration_hides_passwords(tmp_path: Path) -> None:
    """Every setting is listed with its default; the password in a URL is masked."""
    settings = Settings(network=NetworkSettings(proxies="http://u:pw@proxy.example:1"))
    with served(tmp_path, settings) as server, server.admin() as admin:
        listed = {each["name"]: each for each in admin.get("/config").json()["value"]}

    assert listed["network.proxies"]["value"] == "http://u:***@proxy.example:1"
    assert listed["metrics.public"]["default"] is False


def test_health(http: httpx.Client, admin: httpx.Client, server: Served) -> None:
    """Probes fail with their worker; what is wrong is said to this machine, not to strangers."""
    assert http.get("/healthz").json()["status"] == "ok"

    server.call(server.app.checks.append, lambda: Health("worker", ok=False, detail="it stands"))

    for path in ("/healthz", "/readyz"):
        answer = http.get(path)
        assert answer.status_code == 503
        assert answer.json()["checks"][-1]["detail"] == "it stands"
        stranger = http.get(path, headers={"X-Forwarded-For": "203.0.113.9"})
        assert stranger.json() == {"status": "failing", "checks": []}
    assert admin.get("/health").json()["status"] == "failing"
    assert admin.get("/status").json()["health"]["status"] == "failing"


def test_a_full_store_is_not_ready_but_alive(http: httpx.Client, server: Served) -> None:
    """Restarting makes no room, so only readiness fails."""
    server.app.grid.is_full = True

    assert http.get("/readyz").status_code == 503
    assert http.get("/healthz").status_code == 200


def test_a_wrong_validation_address(http: httpx.Client) -> None:
    """An address that nobody waits for validates nothing."""
    assert problem(http.get("/validate/wrong"), 404)["code"] == "ValidationNotFound"
    assert problem(http.post("/validate/wrong"), 404)["code"] == "ValidationNotFound"

"""What people get wrong about the queues of their sources: a clear error, and nothing is lost.

For each queue system one server has a source for every mistake at once.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.queues.mistakes import GROUNDS, Ground, Mistake
from tests.server.running import EVENT, Served, served, until
from tests.services.service import fresh_name
from tests.sources.station import QUICK, bodies_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", GROUNDS)
def test_every_mistake_is_told_and_mended(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each mistake makes its own source fail, with its finding, its cause and its fix, while the
    grid takes events; when it is mended the message that waited becomes an event, once."""
    with (
        GROUNDS[kind](request, "receive") as ground,
        served(tmp_path / "data", QUICK) as server,
        server.admin() as admin,
    ):
        queues = {name: fresh_name(name) for name in ground.mistakes}
        waiting = [name for name, one in ground.mistakes.items() if one.settings is not None]
        for name in waiting:
            ground.make(queues[name])
            ground.place(queues[name]).send([f'"{name}"'])
            ground.mistakes[name].forbid(queues[name])
        admin.post("/topics", json={"name": "songs"})
        for name, mistake in ground.mistakes.items():
            declare(admin, ground, name, queues[name], mistake.settings or ground.settings)

        for name, mistake in ground.mistakes.items():
            until(lambda name=name: shown(admin, name)["state"] == "failing")  # type: ignore[misc]
            check(mistake, shown(admin, name)["failures"][0], name)
        check_grid_goes_on(server)

        for name, mistake in ground.mistakes.items():
            if mistake.settings is None:
                ground.make(queues[name])
                ground.place(queues[name]).send([f'"{name}"'])
            else:
                right = dict.fromkeys(mistake.settings) | ground.settings  # null takes out
                told = admin.patch(f"/connections/{name}", json={"settings": right})
                assert told.status_code == 200, told.text
        expected = Counter(f'"{name}"' for name in ground.mistakes)
        until(lambda: published(server) >= expected)
        for name in ground.mistakes:
            until(lambda name=name: shown(admin, name)["counts"]["settled"] == 1)  # type: ignore[misc]
            assert shown(admin, name)["failures"] == []
        assert all(count == 1 for body, count in published(server).items() if body in expected)


def declare(
    admin: httpx.Client, ground: Ground, name: str, queue: str, settings: Mapping[str, Any]
) -> None:
    connection = {"name": name, "kind": ground.connection_kind, "settings": dict(settings)}
    told = admin.post("/connections", json=connection)
    assert told.status_code == 201, told.text
    source = {
        "name": name,
        "topic": "songs",
        "kind": ground.kind,
        "queue": queue,
        "connection": name,
        "options": ground.options,
        "format": "raw",
    }
    told = admin.post("/sources", json=source)
    assert told.status_code == 201, told.text


def check(mistake: Mistake, failure: dict[str, Any], name: str) -> None:
    assert failure["finding"] in mistake.findings, (name, failure)
    assert mistake.told in failure["evidence"].get("detail", ""), (name, failure)
    assert failure["cause"], name
    assert failure["fix"], name


def check_grid_goes_on(server: Served) -> None:
    """An event is taken, and the process is ready."""
    with server.http() as client:
        assert client.get("/readyz").status_code == 200
        told = client.post(
            "/topics/songs/api/events",
            json=[EVENT],
            headers={"aeg-sas-key": server.key("songs")},
        )
        assert told.status_code == 200, told.text


def shown(admin: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = admin.get(f"/sources/{name}").json()
    return found


def published(server: Served) -> Counter[str]:
    return server.loop.run(bodies_of(server, "songs"))

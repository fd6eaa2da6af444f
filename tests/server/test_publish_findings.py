"""What a refused publisher is told beside Event Grid's body: the header with the finding."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from azure.eventgrid import generate_sas

from eventpost.core.events import Schema
from eventpost.diagnosis import catalogue
from tests.server.running import EVENT, Served

PATH = "/topics/songs/api/events"
HEADER = "x-eventpost-finding"
HOUR = timedelta(hours=1)


def finding(answer: httpx.Response) -> str:
    assert answer.status_code >= 400
    code = answer.headers[HEADER]
    assert catalogue.get(code).fix
    return str(code)


def post(http: httpx.Client, path: str = PATH, **headers: str) -> httpx.Response:
    return http.post(path, json=[EVENT], headers=headers)


@pytest.fixture
def key(server: Served) -> str:
    server.loop.run(server.app.create_topic("songs", Schema.EVENT_GRID))
    server.loop.run(server.app.create_topic("clouds", Schema.CLOUD_EVENTS))
    return server.key("songs")


def test_no_key_and_a_wrong_one(http: httpx.Client, key: str) -> None:
    """Who has no key, or another one, is told so; who has it is told of no finding."""
    assert finding(post(http)) == "EP1001"
    assert finding(post(http, **{"aeg-sas-key": "d3Jvbmc="})) == "EP1001"

    good = post(http, **{"aeg-sas-key": key})

    assert good.status_code == 200
    assert HEADER not in good.headers


def test_a_token_that_is_over_and_one_of_another_topic(
    http: httpx.Client, server: Served, key: str
) -> None:
    """A token of the official client that has ended is told apart from one that never fitted."""
    now = datetime.now(UTC)
    url = server.url + PATH
    over = generate_sas(url, key, now - HOUR)
    foreign = generate_sas(url, server.key("clouds"), now + HOUR)
    elsewhere = generate_sas(f"{server.url}/topics/clouds/api/events", key, now + HOUR)

    assert finding(post(http, **{"aeg-sas-token": over})) == "EP1002"
    assert finding(post(http, **{"aeg-sas-token": foreign})) == "EP1003"
    assert finding(post(http, **{"aeg-sas-token": elsewhere})) == "EP1003"
    assert finding(post(http, **{"aeg-sas-token": "no token"})) == "EP1003"


def test_what_is_published(http: httpx.Client, server: Served, key: str) -> None:
    """Events that are none, too many bytes, another content type and an unknown topic."""
    http.headers["aeg-sas-key"] = key
    of_clouds = {"aeg-sas-key": server.key("clouds"), "content-type": "text/plain"}

    assert finding(http.post(PATH, content=b"[{}]")) == "EP1010"
    assert finding(http.post(PATH, content=b"{")) == "EP1010"
    assert finding(http.post(PATH, content=b" " * 1_536_001)) == "EP1011"
    assert finding(http.post(PATH, json=[EVENT] * 5_001)) == "EP1011"
    text = http.post("/topics/clouds/api/events", content=b"x", headers=of_clouds)
    assert finding(text) == "EP1012"
    assert finding(post(http, "/topics/polkas/api/events")) == "EP1013"


def test_a_bearer_token(http: httpx.Client, key: str) -> None:
    """The finding that stands in Event Grid's text stands in the header, too."""
    answer = post(http, Authorization="Bearer a.b.c")

    assert finding(answer) == "EP3601"
    assert "EP3601" in answer.json()["error"]["message"]


def test_a_pulled_subscription_has_no_finding_of_publishers(
    http: httpx.Client, server: Served, key: str
) -> None:
    """What is refused when events are received says nothing of publishing."""
    path = "/topics/clouds/eventsubscriptions/nobody:receive?api-version=2024-06-01"

    answer = http.post(path, headers={"aeg-sas-key": server.key("clouds")})

    assert answer.status_code == 404
    assert HEADER not in answer.headers


@pytest.mark.slow
def test_the_command_names_the_finding(server: Served, key: str, tmp_path: Path) -> None:
    """`eventpost publish` says which finding it is, to people and to programs."""
    done = published(server, tmp_path, "--json")
    told = published(server, tmp_path)

    assert done.returncode == told.returncode == 1
    assert json.loads(done.stdout)["finding"] == "EP1010"
    assert "eventpost explain EP1010" in told.stderr


def published(server: Served, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """An event whose id is empty."""
    (folder / "bad.json").write_text('[{"id": "", "subject": "a"}]')
    around: Mapping[str, str] = {"EVENTPOST_URL": server.url, "EVENTPOST_TOKEN": server.token}
    return subprocess.run(
        [
            *(sys.executable, "-m", "eventpost", "publish", "songs"),
            *("--file", str(folder / "bad.json"), *words),
        ],
        env={"PATH": "/usr/bin:/bin", **around},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

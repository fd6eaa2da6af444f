"""What goes wrong is a problem document with a fix."""

import httpx
import pytest

from tests.server.running import EVENT, Served, problem


def test_an_unknown_route(admin: httpx.Client) -> None:
    """A wrong path is a problem that names the nearest route."""
    document = problem(admin.get("/topic"), 404)

    assert "/admin/v1/topics" in document["fix"]


def test_a_wrong_method(admin: httpx.Client) -> None:
    """A wrong method is a problem that names the right ones."""
    answer = admin.put("/topics", json={})

    assert "GET, POST" in problem(answer, 405)["fix"]
    assert answer.headers["allow"] == "GET, POST"


def test_invalid_json(admin: httpx.Client) -> None:
    """A body that is no JSON is refused with its place."""
    document = problem(admin.post("/topics", content=b'{\n "name": songs}'), 400)

    assert document["code"] == "InvalidJson"
    assert "line 2, column 10" in document["detail"]


def test_an_unknown_query_parameter(admin: httpx.Client) -> None:
    """A parameter that is not known is refused, not ignored, with the nearest known."""
    document = problem(admin.get("/deadletters?subscripton=x"), 400)

    assert "'subscription'" in document["fix"]
    problem(admin.get("/topics?x=1"), 400)


def test_a_fault_of_ours(
    admin: httpx.Client, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected exception is a problem without its text, and the log has it."""

    def fail() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(server.app, "topics", fail)

    answer = admin.get("/topics")

    assert "secret" not in answer.text
    assert problem(answer, 500)["code"] == "EP9001"


def test_a_full_store_says_when_to_come_back(songs: httpx.Client, server: Served) -> None:
    """A store without room answers a publish with 503, Retry-After and the fix."""
    server.app.grid.is_full = True

    answer = songs.post("/topics/songs/publish", json=EVENT)

    document = problem(answer, 503)
    assert document["code"] == "EP3001"
    assert document["fix"]
    assert int(answer.headers["retry-after"]) >= 1


def test_answers_are_not_cached(songs: httpx.Client) -> None:
    """Keys and states stay in no cache."""
    assert songs.get("/topics/songs/keys").headers["cache-control"] == "no-store"

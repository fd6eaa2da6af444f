"""Dead letters over the management API."""

import json
from typing import Any

import httpx
import pytest

from eventpost.server.routes import API_PREFIX
from eventpost.testing import HANG, Receiver
from tests.server.running import EVENT, count, problem


def test_dead_letters_come_in_pages(songs: httpx.Client, dead: list[str]) -> None:
    """Each page leads to the next; the last one does not."""
    first = songs.get("/deadletters?limit=3&subscription=blues").json()
    second = songs.get(first["nextLink"].removeprefix(API_PREFIX)).json()

    assert [each["id"] for each in first["value"]] == dead[:3]
    assert [each["id"] for each in second["value"]] == dead[3:]
    assert second["nextLink"] is None
    letter = first["value"][0]
    assert (letter["subscription"], letter["topic"]) == ("blues", "songs")
    assert letter["cause"]
    assert letter["event"] is None


@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (1_000, 200), (1_001, 400)])
def test_the_bound_of_a_page(songs: httpx.Client, limit: int, status: int) -> None:
    """A page holds 1 to 1,000."""
    assert songs.get(f"/deadletters?limit={limit}").status_code == status


@pytest.mark.parametrize(("number", "status"), [(999, 200), (1_000, 200), (1_001, 400)])
def test_the_bound_of_chosen_ids(songs: httpx.Client, number: int, status: int) -> None:
    """At most 1,000 dead letters are chosen by their ids in one request."""
    body = {"ids": [str(each) for each in range(1, number + 1)], "dryRun": True}

    assert songs.post("/deadletters/purge", json=body).status_code == status


def test_one_dead_letter_with_its_event(songs: httpx.Client, dead: list[str]) -> None:
    """A single one is shown with its event; an unknown one is not found."""
    shown = songs.get(f"/deadletters/{dead[0]}").json()

    assert shown["event"]["data"] == EVENT["data"]
    assert shown["deadLetterReason"] == "UndeliverableDueToHttpBadRequest"
    assert shown["lastHttpStatusCode"] == 400
    assert shown["evidence"]["stage"] == "answer"
    problem(songs.get("/deadletters/1"), 404)
    problem(songs.get("/deadletters/x"), 400)


def test_counting_by_selection(songs: httpx.Client, dead: list[str]) -> None:
    """A count takes the same selection; an unknown subscription in it is not found."""
    for query, number in {
        "subscription=blues&since=2h": 5,
        "until=2h": 0,
        f"ids={dead[0]}&ids={dead[1]}": 2,
        "reason=TimeToLiveExceeded": 0,
        "finding=EP2400": 5,
        "replayed=true": 0,
        "topic=songs": 5,
    }.items():
        assert songs.get(f"/deadletters/count?{query}").json() == {"count": number}, query
    problem(songs.get("/deadletters/count?subscription=jazz"), 404)


def progress(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_replay_tells_how_far_it_is(
    songs: httpx.Client, dead: list[str], webhook: Receiver
) -> None:
    """Chosen dead letters are delivered again; the stream ends with a line that says so."""
    webhook.script(HANG, HANG)  # once delivered they are gone, and are no replayed ones any more
    lines = progress(songs.post("/deadletters/replay", json={"ids": dead[:2]}))

    assert lines[-1] == {"done": 2, "total": 2, "isFinished": True}
    assert [line["isFinished"] for line in lines[:-1]] == [False] * (len(lines) - 1)
    webhook.wait_for(5 + 2)
    assert count(songs) == 3
    assert songs.get("/deadletters/count?replayed=true").json() == {"count": 2}


def test_a_paced_replay(songs: httpx.Client, dead: list[str]) -> None:
    """At a rate it goes by small steps, each with its line."""
    lines = progress(songs.post("/deadletters/replay", json={"rate": "100/s"}))

    assert lines[-1]["done"] == 5
    problem(songs.post("/deadletters/replay", json={"rate": "fast"}), 400)


def test_purge(songs: httpx.Client, dead: list[str]) -> None:
    """Chosen dead letters are gone for good, the others stay."""
    lines = progress(songs.post("/deadletters/purge", json={"ids": dead[:2]}))

    assert lines[-1] == {"done": 2, "total": 2, "isFinished": True}
    assert count(songs) == 3


@pytest.mark.parametrize("verb", ["replay", "purge"])
def test_a_dry_run_does_nothing(songs: httpx.Client, dead: list[str], verb: str) -> None:
    """It only says how many there are."""
    lines = progress(songs.post(f"/deadletters/{verb}", json={"dryRun": True}))

    assert lines == [{"done": 0, "total": 5, "isFinished": True}]
    assert count(songs) == 5

"""Dead letters of workers: what is kept, and how it comes back."""

import json
from typing import Any

import pytest

from eventpost.workers.deadletters import DeadLetter, Reason, Story, decode, encode, revived

STORY = Story(reason=Reason.FAILED, finding="EP5013", error="ValueError: no", receives=2, at_ms=5)
PLENTY = 10**6


def task(**options: Any) -> bytes:
    message = {
        "queue_name": "default",
        "actor_name": "play",
        "args": [1.0, {"city": "K\u00f6ln"}],
        "kwargs": {},
        "options": options,
        "message_id": "id-1",
        "message_timestamp": 1,
    }
    return json.dumps(message).encode()


def test_a_task_stays_a_task() -> None:
    """A dead letter is a message of Dramatiq with one more option; without that it is the old."""
    made = json.loads(encode(task(pipe_ignore=True), STORY, PLENTY))

    assert made["options"]["pipe_ignore"] is True
    assert made["options"]["dead_letter"]["reason"] == "Failed"
    assert made["args"] == [1.0, {"city": "K\u00f6ln"}]
    letter = decode(json.dumps(made).encode())
    assert (letter.story, letter.actor, letter.message_id) == (STORY, "play", "id-1")
    assert json.loads(letter.body) == json.loads(task(pipe_ignore=True))


@pytest.mark.parametrize("body", [b"", b"\0\xff", b"{}", b"[]", b'{"a": ' * 3, "\u00fc".encode()])
def test_anything_else_is_kept_byte_for_byte(body: bytes) -> None:
    """What is no task comes back as it was."""
    assert decode(encode(body, STORY, PLENTY)) == DeadLetter(story=STORY, body=body)


def test_what_others_put_there_is_shown() -> None:
    """A message without a story of ours is a dead letter all the same, whatever it is."""
    assert decode(task()) == DeadLetter(story=None, body=task(), actor="play", message_id="id-1")
    assert decode(b"?") == DeadLetter(story=None, body=b"?")
    assert decode(task(dead_letter="of somebody else")).story is None
    assert decode(b'{"dead_letter": {"reason": "Failed"}, "body_base64": "?"}').story is None


def test_what_is_least_needed_goes_first() -> None:
    """To fit, a dead letter gives up the traceback, then most of the error, then its story."""
    body = task(traceback="t" * 500)
    story = Story(reason=Reason.FAILED, error="e" * 1_000)
    whole = len(encode(body, story, PLENTY))

    assert len(encode(body, story, whole)) == whole
    shorter = json.loads(encode(body, story, whole - 1))["options"]
    assert (len(shorter["traceback"]), len(shorter["dead_letter"]["error"])) == (500, 200)
    without = json.loads(encode(body, story, whole - 1_200))["options"]
    assert ("traceback" in without, len(without["dead_letter"]["error"])) == (False, 200)
    assert encode(body, story, 100) == body


def test_a_revived_task_begins_anew() -> None:
    """What failed runs left behind is gone, everything else is as it was sent."""
    ran = task(retries=3, traceback="t", requeue_timestamp=1, eta=2, pipe_ignore=True)

    assert json.loads(revived(decode(encode(ran, STORY, PLENTY))))["options"] == {
        "pipe_ignore": True
    }
    assert revived(decode(encode(b"?", STORY, PLENTY))) == b"?"

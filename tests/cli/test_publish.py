"""`eventpost publish` and `topic tail`: what is made, how much of it, and how it is followed."""

import json
import signal
import threading
from pathlib import Path

import pytest

from tests.cli.receiver import Receiver
from tests.cli.running import Program, until

pytestmark = pytest.mark.slow


def subscribed(grid: Program, topic: str, receiver: Receiver, *words: str) -> None:
    grid.ok("topic", "create", topic, *words)
    grid.ok("subscription", "create", "hook", "--topic", topic, "--endpoint", receiver.url)


def test_options_make_one_event(grid: Program, receiver: Receiver) -> None:
    """Type, subject and data come from the options; what is required beside them is filled in."""
    subscribed(grid, "one-event", receiver)

    done = grid.ok(
        *("publish", "one-event", "--event-type", "Radio.Song", "--subject", "genre/blues/1"),
        *("--data", '{"artist": "Ma Rainey"}', "--json"),
    )

    assert done.json["published"] == 1
    assert len(done.json["ids"]) == 1
    until(lambda: receiver.subjects == ["genre/blues/1"])
    assert receiver.handler.received[0].data == {"artist": "Ma Rainey"}


def test_a_cloudevents_topic_gets_cloudevents(grid: Program, receiver: Receiver) -> None:
    """The event is made in the topic's schema."""
    grid.ok("topic", "create", "cloud-events", "--input-schema", "cloudeventschemav1_0")

    assert grid.ok("publish", "cloud-events", "--data", "[1]", "--json").json["published"] == 1
    assert "1 event" in grid.ok("publish", "cloud-events").out


@pytest.mark.parametrize(
    "content",
    [
        b'[{"subject": "a/1"}, {"subject": "a/2"}]',
        b'{"subject": "a/1"}\n{"subject": "a/2"}\n',
    ],
)
def test_a_file_holds_many_events(
    grid: Program, receiver: Receiver, tmp_path: Path, content: bytes
) -> None:
    """An array and one event per line are both read, from a file and from standard input."""
    topic = f"file-{abs(hash(content)) % 10**6}"
    subscribed(grid, topic, receiver)
    (tmp_path / "events").write_bytes(content)

    assert grid.ok("publish", topic, "--file", str(tmp_path / "events")).code == 0
    assert grid.ok("publish", topic, "-", "--json", stdin=content).json["published"] == 2

    until(lambda: sorted(receiver.subjects) == ["a/1", "a/1", "a/2", "a/2"])


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (["--data", "{"], b"", "--data is not JSON"),
        (["--data", "@no-such-file"], b"", "no-such-file"),
        (["-"], b"{", "holds no events"),
        (["-"], b"[1]", "holds no events"),
        (["--count", "0"], b"", "--count is 0"),
        (["--in-flight", "0", "--count", "1"], b"", "--in-flight is 0"),
        (["--in-flight", "1025", "--count", "1"], b"", "--in-flight is 1025"),
        (["--count", "2", "--rate", "fast"], b"", "--rate"),
        (["--rate", "5/s"], b"", "--rate is given without --count"),
    ],
)
def test_what_cannot_be_published_is_a_usage_error(
    grid: Program, words: list[str], stdin: bytes, said: str
) -> None:
    """What cannot be made an event is exit code 2, and nothing is published."""
    grid.run("topic", "create", "usage-errors")

    done = grid.run("publish", "usage-errors", *words, stdin=stdin)

    assert done.code == 2, done
    assert said in done.err


def test_what_the_server_refuses_is_counted_by_its_status(grid: Program) -> None:
    """A refused event is exit code 1, with the status and the server's own words."""
    grid.ok("topic", "create", "refusals")

    done = grid.run("publish", "refusals", "-", "--json", stdin=b'{"eventTime": "yesterday"}')

    assert done.code == 1
    assert done.json["failures"] == {"400": 1}
    assert done.json["published"] == 0
    assert "eventTime" in done.err


def test_many_events_are_published_at_a_rate_and_counted(grid: Program, receiver: Receiver) -> None:
    """`--count` publishes that many, each with an id of its own, and tells how fast."""
    subscribed(grid, "many-events", receiver)

    done = grid.ok(
        *("publish", "many-events", "--count", "200", "--rate", "2000/s", "--in-flight", "8"),
        *("--subject", "n", "--json"),
    )

    assert done.json["published"] == 200
    assert done.json["failed"] == 0
    assert done.json["eventsPerS"] > 0
    until(lambda: len(receiver.subjects) == 200)


@pytest.mark.parametrize("in_flight", ["1", "1024"])
def test_any_number_in_flight_up_to_the_bound_is_taken(grid: Program, in_flight: str) -> None:
    """From one request at a time up to the bound, all events are published."""
    grid.run("topic", "create", "in-flight")

    done = grid.ok("publish", "in-flight", "--count", "1500", "--in-flight", in_flight, "--json")

    assert done.json["published"] == 1_500


def test_ctrl_c_ends_a_long_publish_with_its_summary(grid: Program) -> None:
    """Interrupted, `publish` still tells how many it published, without a traceback, code 130."""
    grid.ok("topic", "create", "interrupted")
    process = grid.start("publish", "interrupted", "--count", "1000000", "--rate", "50/s", "--json")
    grid.ok("topic", "tail", "interrupted", "--count", "1")  # returns once one is published

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)

    assert process.returncode == 130, (out, err)
    assert json.loads(out)["published"] >= 1
    assert b"Traceback" not in err


def test_tail_shows_events_as_they_come(grid: Program) -> None:
    """`topic tail` prints each event when it is published, `--data` with its data, until Ctrl-C."""
    grid.ok("topic", "create", "followed")
    process = grid.start("topic", "tail", "followed", "--data")
    stdout = process.stdout
    assert stdout is not None
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()))
    reader.start()

    def is_seen() -> bool:
        # Only what is published after the tail has begun is shown.
        grid.ok("publish", "followed", "--subject", "genre/\u001b[2Jblues", "--data", '{"a": 1}')
        return bool(lines)

    until(is_seen)
    reader.join()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)

    assert b'{"a":1}' in lines[0], (process.returncode, err)
    assert b"\x1b" not in lines[0]
    assert process.returncode == 130
    assert err == b""

"""Every noun and verb against the real server, as a user types them."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.receiver import Receiver
from tests.cli.running import Program, program, server, until

pytestmark = pytest.mark.slow


def subscribe(grid: Program, name: str, topic: str, receiver: Receiver, *words: str) -> None:
    grid.ok(
        *("subscription", "create", name, "--topic", topic, "--endpoint", receiver.url),
        *words,
    )


def test_a_topic_is_made_listed_shown_and_deleted(grid: Program) -> None:
    """The verbs of `topic` do what they say, and JSON has the names of the API."""
    made = grid.ok("topic", "create", "songs-1", "--input-schema", "CloudEventSchemaV1_0", "--json")
    assert made.json["name"] == "songs-1"
    assert made.json["inputSchema"] == "cloudeventschemav1_0"
    assert made.json["endpoint"].endswith("/topics/songs-1/api/events")

    listed = grid.ok("topic", "list", "--json").json
    assert {"songs-1", "eventpost.deadletters"} <= {each["name"] for each in listed}
    assert "songs-1" in grid.ok("topic", "list").out
    assert "songs-1" in grid.ok("topic", "show", "songs-1").out

    grid.ok("topic", "delete", "songs-1")
    gone = grid.run("topic", "show", "songs-1")
    assert gone.code == 1
    assert "songs-1" in gone.err
    assert gone.out == ""


def test_a_key_is_made_anew_and_the_other_one_stays(grid: Program) -> None:
    """`topic key regenerate` changes the key that is named and no other."""
    grid.ok("topic", "create", "songs-2")
    before = grid.ok("topic", "key", "list", "songs-2", "--json").json
    assert set(before) == {"key1", "key2"}

    after = grid.ok("topic", "key", "regenerate", "songs-2", "--key-name", "key1", "--json").json

    assert after["key1"] != before["key1"]
    assert after["key2"] == before["key2"]


def test_a_single_key_is_printed_bare(grid: Program) -> None:
    """With `--key-name` there is nothing but the key, so that a script can take it as it is."""
    grid.ok("topic", "create", "songs-2b")
    keys = grid.ok("topic", "key", "list", "songs-2b", "--json").json

    for name, key in keys.items():
        assert grid.ok("topic", "key", "list", "songs-2b", "--key-name", name).out == f"{key}\n"
    one = grid.ok("topic", "key", "list", "songs-2b", "--key-name", "key2", "--json").json
    assert one == {"key2": keys["key2"]}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["topic", "create", "x"], 2, "topic"),
        (["topic", "delete", "nothing-here"], 1, "nothing-here"),
        (["subscription", "show", "nothing-here"], 1, "nothing-here"),
        (
            ["subscription", "create", "abc", "--topic", "no-topic", "--endpoint", "http://a.b/c"],
            1,
            "no-topic",
        ),
        (["deadletter", "show", "1"], 1, "dead letter"),
        (["event", "trace", "no-such-event"], 1, "no-such-event"),
        (["explain", "EP9998"], 1, "EP9998"),
        (["publish", "nothing-here"], 1, "nothing-here"),
        (["subscription", "test", "abc", "no-such-file.json"], 2, "no-such-file.json"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_exit_code(
    grid: Program, words: list[str], code: int, said: str
) -> None:
    """1 for what does not exist or is refused, 2 for what is asked wrongly; the error names it."""
    done = grid.run(*words)

    assert done.code == code, done
    assert said in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_a_subscription_is_made_changed_held_and_deleted(grid: Program, receiver: Receiver) -> None:
    """The verbs of `subscription` do what they say; `update` keeps what is not given."""
    grid.ok("topic", "create", "songs-3")
    subscribe(
        *(grid, "hook-3", "songs-3", receiver, "--subject-begins-with", "genre/"),
        *("--advanced-filter", "data.year", "NumberGreaterThan", "1950"),
        *("--retry-schedule", "10ms,20ms", "--event-ttl", "90m"),
    )
    shown = grid.ok("subscription", "show", "hook-3", "--json").json
    assert shown["provisioningState"] == "Succeeded"
    assert shown["filter"]["advancedFilters"][0]["key"] == "data.year"
    assert shown["retry"]["schedule"] == ["10ms", "20ms"]

    grid.ok("subscription", "update", "hook-3", "--max-delivery-attempts", "5")
    changed = grid.ok("subscription", "update", "hook-3", "--advanced-filter", "--json").json
    assert changed["filter"]["advancedFilters"] == []
    assert changed["filter"]["subjectBeginsWith"] == "genre/"
    assert changed["retry"]["maxDeliveryAttempts"] == 5

    assert grid.ok("subscription", "pause", "hook-3", "--json").json["isPaused"] is True
    assert "hook-3" in grid.ok("subscription", "list", "--topic", "songs-3").out
    assert grid.ok("subscription", "resume", "hook-3", "--json").json["isPaused"] is False
    assert grid.ok("subscription", "rewind", "hook-3", "--to", "0", "--json").json["position"] == 0

    grid.ok("subscription", "delete", "hook-3")
    assert grid.run("subscription", "show", "hook-3").code == 1


def test_an_endpoint_that_does_not_answer_is_not_subscribed(grid: Program) -> None:
    """A refused handshake is exit code 1 with its finding, and nothing is kept."""
    grid.ok("topic", "create", "songs-4")

    refused = grid.run(
        *("subscription", "create", "hook-4", "--topic", "songs-4"),
        *("--endpoint", "http://127.0.0.1:9/"),
    )

    assert refused.code == 1
    assert refused.err.startswith("EP2")
    assert "  fix: " in refused.err
    assert grid.ok("subscription", "list", "--topic", "songs-4", "--json").json == []


def test_an_event_is_held_against_a_filter(
    grid: Program, receiver: Receiver, tmp_path: Path
) -> None:
    """`subscription test` is 0 for an event that matches, else 1 and the clause that says no."""
    grid.ok("topic", "create", "songs-5")
    subscribe(grid, "hook-5", "songs-5", receiver, "--subject-begins-with", "genre/blues")
    event = {
        "id": "1",
        "eventType": "T",
        "subject": "genre/blues/1",
        "eventTime": "2026-01-01T00:00:00Z",
        "dataVersion": "1",
    }
    (tmp_path / "blues.json").write_text(json.dumps(event))
    rock = json.dumps(event | {"subject": "genre/rock/1"}).encode()

    assert grid.ok("subscription", "test", "hook-5", str(tmp_path / "blues.json")).code == 0
    refused = grid.run("subscription", "test", "hook-5", "-", "--json", stdin=rock)

    assert refused.code == 1
    assert refused.json["isMatch"] is False
    assert [each["isMet"] for each in refused.json["clauses"]].count(False) == 1


def test_a_dead_letter_is_listed_shown_replayed_and_purged(
    grid: Program, receiver: Receiver
) -> None:
    """What is given up can be looked at, delivered again, and thrown away only when confirmed."""
    grid.ok("topic", "create", "songs-6")
    subscribe(grid, "hook-6", "songs-6", receiver, "--retry-schedule", "10ms")
    receiver.status = 400
    for subject in ("a/1", "a/2"):
        grid.ok("publish", "songs-6", "--subject", subject)
    select = ("--subscription", "hook-6")

    until(lambda: len(grid.ok("deadletter", "list", *select, "--json").json) == 2)
    letters = grid.ok("deadletter", "list", *select, "--json").json
    assert {each["subject"] for each in letters} == {"a/1", "a/2"}
    first = grid.ok("deadletter", "list", *select, "--limit", "1", "--json")
    assert len(first.json) == 1
    assert "--limit shows more" in first.err
    assert grid.ok("deadletter", "list", *select, "--limit", "2").err == ""
    shown = grid.ok("deadletter", "show", letters[0]["id"])
    assert "UndeliverableDueToHttpBadRequest" in shown.out
    assert '"subject": "a/1"' in shown.out

    counted = grid.ok("deadletter", "replay", *select, "--dry-run", "--json")
    assert counted.json == {"count": 2}
    receiver.status = 200
    assert grid.ok("deadletter", "replay", letters[0]["id"], "--json").json == {"count": 1}
    until(lambda: receiver.handler.accepted("a/1") == 1)

    unconfirmed = grid.run("deadletter", "purge", *select)
    assert unconfirmed.code == 2
    assert len(grid.ok("deadletter", "list", *select, "--json").json) == 1
    assert grid.ok("deadletter", "purge", *select, "--yes", "--json").json == {"count": 1}
    assert grid.ok("deadletter", "list", *select, "--json").json == []


def test_copies_are_replayed(grid: Program, receiver: Receiver, tmp_path: Path) -> None:
    """`deadletter replay --from` reads copies, below the directory of the command where the path is
    relative; what cannot be read is told with its finding."""
    here = program(tmp_path, EVENTPOST_DATA=str(grid.directory / "eventpost-data"))
    grid.ok("topic", "create", "songs-13")
    place = ("--deadletter-endpoint", f"folder:{tmp_path}/dead", "--retry-schedule", "10ms")
    subscribe(grid, "hook-13", "songs-13", receiver, *place)
    receiver.status = 400
    grid.ok("publish", "songs-13", "--subject", "a/1")
    until(lambda: bool(list((tmp_path / "dead").rglob("*.json"))))
    grid.ok("deadletter", "purge", "--subscription", "hook-13", "--yes")
    receiver.status = 200

    command = ("deadletter", "replay", "--from", "folder:dead", "--subscription", "hook-13")
    assert here.ok(*command, "--dry-run", "--json").json == {"count": 1}
    assert here.ok(*command).out == "1 dead letter put back on the ladder.\n"
    until(lambda: receiver.handler.accepted("a/1") == 1)
    missing = here.run("deadletter", "replay", "--from", "folder:nowhere")
    assert missing.code != 0
    assert "EP3302" in missing.err


def test_an_events_story_is_told(grid: Program, receiver: Receiver) -> None:
    """`event trace` tells for each subscription whether the event matched and where it is."""
    grid.ok("topic", "create", "songs-7")
    subscribe(grid, "hook-7a", "songs-7", receiver)
    subscribe(grid, "hook-7b", "songs-7", receiver, "--subject-ends-with", ".jpg")
    event = json.dumps({"id": "story-7", "subject": "pictures/1.png"}).encode()
    grid.ok("publish", "songs-7", "-", stdin=event)
    until(lambda: receiver.subjects == ["pictures/1.png"])

    def wheres() -> dict[str, str]:
        (story,) = grid.ok("event", "trace", "story-7", "--json").json
        return {each["subscription"]: each["where"] for each in story["deliveries"]}

    until(lambda: wheres() == {"hook-7a": "delivered", "hook-7b": "unmatched"})
    told = grid.ok("event", "trace", "story-7", "--topic", "songs-7").out
    assert "hook-7b: not matched" in told


def test_the_store_is_verified_copied_and_measured(grid: Program, tmp_path: Path) -> None:
    """`store verify` is 0 for a store that is intact; `backup` writes a file and never over one."""
    assert "intact" in grid.ok("store", "verify").out
    copy = tmp_path / "copy"

    assert grid.ok("store", "backup", str(copy), "--json").json["bytes"] > 0
    assert copy.exists()
    assert grid.run("store", "backup", str(copy)).code != 0
    assert grid.ok("store", "usage", "--json").json["bytesUsed"] > 0


def test_a_file_is_planned_applied_and_then_has_no_changes(
    grid: Program, receiver: Receiver, tmp_path: Path
) -> None:
    """`plan --check` is 1 while there are changes and 0 once `apply` has made them."""
    declared = tmp_path / "eventpost.yaml"
    declared.write_text(
        "topics: {songs-8: {}}\n"
        "subscriptions:\n  hook-8:\n    topic: songs-8\n"
        f"    endpoint: {receiver.url}?code=hush\n    filter: {{subject_begins_with: genre/}}\n"
    )

    planned = grid.run("plan", str(declared), "--check")
    assert planned.code == 1
    assert planned.out.splitlines()[:2] == [
        "+ topic songs-8",
        "+ subscription hook-8 of songs-8",
    ]
    grid.ok("apply", str(declared))
    assert grid.ok("plan", str(declared), "--check", "--json").json == []

    declared.write_text(declared.read_text().replace("genre/", "genre/blues"))
    (change,) = grid.ok("plan", str(declared), "--json").json
    assert change["action"] == "update"
    assert [each["field"] for each in change["differences"]] == ["filter.subjectBeginsWith"]
    grid.ok("apply", str(declared))
    declared.write_text(declared.read_text().replace("code=hush", "code=other"))
    (change,) = grid.ok("plan", str(declared), "--json").json
    assert [each["field"] for each in change["differences"]] == ["endpoint"]
    assert "hush" not in json.dumps(change)


def test_a_connection_is_made_shown_changed_and_deleted(grid: Program) -> None:
    """The verbs of `connection` do what they say; settings are read as the file reads them."""
    made = grid.ok(
        *("connection", "create", "loft-9", "--kind", "pigeon", "--json"),
        *("--set", "height_m=7", "--set", "whistle=env:WHISTLE", "--set", "loft="),
    ).json
    assert made["settings"] == {"height_m": 7, "whistle": "env:WHISTLE"}
    assert "pigeon" in grid.ok("connection", "list").out
    assert "env:WHISTLE" in grid.ok("connection", "show", "loft-9").out

    words = ("--set", "height_m=", "--set", "loft=barn", "--json")
    changed = grid.ok("connection", "update", "loft-9", *words).json

    assert changed["settings"] == {"loft": "barn", "whistle": "env:WHISTLE"}
    unwritten = grid.run("connection", "update", "loft-9", "--set", "hush")
    assert unwritten.code == 2
    assert "hush" not in unwritten.err
    grid.ok("connection", "delete", "loft-9")
    assert grid.run("connection", "show", "loft-9").code == 1


def test_a_source_is_made_shown_paused_changed_and_deleted(grid: Program) -> None:
    """The verbs of `source` do what they say."""
    grid.ok("topic", "create", "songs-9")
    made = grid.ok(
        *("source", "create", "letters-9", "--topic", "songs-9", "--kind", "pigeon"),
        *("--queue", "grey", "--option", "breed=racing", "--format", "raw", "--lease", "90s"),
        *("--input-mapping-fields", "eventType=data.kind", "--prefetch", "5", "--json"),
        *("--input-mapping-default-values", "subject=a=b", "--receives-max", "3"),
    ).json
    assert made["options"] == {"breed": "racing"}
    assert made["inputMappingFields"] == {"eventtype": "data.kind"}
    assert made["inputMappingDefaultValues"] == {"subject": "a=b"}
    assert (made["lease"], made["prefetch"], made["receivesMax"]) == ("90s", 5, 3)
    assert "letters-9" in grid.ok("source", "list", "--topic", "songs-9").out
    assert "breed=racing" in grid.ok("source", "show", "letters-9").out

    assert grid.ok("source", "pause", "letters-9", "--json").json["isPaused"] is True
    changed = grid.ok("source", "update", "letters-9", "--lease", "", "--json").json
    assert (changed["lease"], changed["isPaused"], changed["prefetch"]) == ("1m", True, 5)
    assert grid.ok("source", "resume", "letters-9", "--json").json["isPaused"] is False
    grid.ok("source", "delete", "letters-9")
    assert grid.run("source", "show", "letters-9").code == 1


def test_a_message_goes_round_and_poison_is_shown(grid: Program, tmp_path: Path) -> None:
    """An event goes out to a queue and comes in from it; what is no event is a dead letter of its
    source, whose bytes can be had, and which a repaired source publishes."""
    grid.ok("topic", "create", "out-11")
    grid.ok("topic", "create", "in-11")
    grid.ok(
        *("subscription", "create", "queue-11", "--topic", "out-11", "--endpoint-type", "pigeon"),
        *("--endpoint", "grey-11", "--message-format", "raw", "--message-property", "group"),
        *("dynamic", "subject", "--endpoint-option", "breed=racing"),
    )
    grid.ok(
        *("source", "create", "letters-11", "--topic", "in-11", "--kind", "pigeon"),
        *("--queue", "grey-11", "--format", "dramatiq"),
    )
    grid.ok("publish", "out-11", "--data", '{"song": "oops"}')
    select = ("--source", "letters-11")

    until(lambda: bool(grid.ok("deadletter", "list", *select, "--json").json))
    (letter,) = grid.ok("deadletter", "list", *select, "--json").json
    assert "letters-11" in grid.ok("deadletter", "list", *select).out
    shown = grid.ok("deadletter", "show", letter["id"]).out
    assert "EP4010" in shown
    assert '{"song": "oops"}' in shown
    file = tmp_path / "message.bin"
    grid.ok("deadletter", "show", letter["id"], "--body", str(file))
    assert json.loads(file.read_bytes()) == {"song": "oops"}
    unwritable = grid.run("deadletter", "show", letter["id"], "--body", str(tmp_path))
    assert unwritable.code == 2
    assert grid.ok("deadletter", "replay", *select, "--json").json == {"count": 0}

    grid.ok("source", "update", "letters-11", "--format", "raw")

    assert grid.ok("deadletter", "replay", *select, "--json").json == {"count": 1}
    shown = grid.ok("source", "show", "letters-11").out
    assert "dead letters" in shown
    until(lambda: "running" in grid.ok("source", "list").out)


def test_queues_are_planned_and_applied(grid: Program, tmp_path: Path) -> None:
    """Connections and sources of a file are made, and pruned, in the order in which they can be."""
    declared = tmp_path / "eventpost.yaml"
    declared.write_text(
        "connections:\n  loft-10: {kind: pigeon, height_m: 5}\n"
        "topics: {songs-10: {}}\n"
        "sources:\n  letters-10:\n    topic: songs-10\n    kind: pigeon\n    queue: grey\n"
        "    connection: loft-10\n    lease: 60s\n"
    )
    assert grid.ok("apply", str(declared)).out.splitlines()[:3] == [
        "+ connection loft-10",
        "+ topic songs-10",
        "+ source letters-10 into songs-10",
    ]
    assert grid.ok("plan", str(declared), "--check", "--json").json == []

    refused = grid.run("connection", "delete", "loft-10")
    assert refused.code == 1
    assert "source letters-10" in refused.err
    declared.write_text(declared.read_text().replace("height_m: 5", "height_m: 500"))
    wrong = grid.run("apply", str(declared))
    assert wrong.code == 2
    assert "higher than 100 m" in wrong.err


def test_a_file_is_held_to_the_limits_of_its_server(receiver: Receiver, tmp_path: Path) -> None:
    """A limit that the server's settings raise holds for `plan` and `apply` as well."""
    declared = tmp_path / "eventpost.yaml"
    with server(tmp_path, "--set", "limits.event_ttl_max=7d") as own:
        for event_ttl, code in (("6d", 0), ("8d", 2)):
            declared.write_text(
                "topics: {songs: {}}\nsubscriptions:\n  week:\n    topic: songs\n"
                f"    endpoint: {receiver.url}\n    retry: {{event_ttl: {event_ttl}}}\n"
            )
            assert own.run("apply", str(declared)).code == code

        assert "8640 min" in own.ok("subscription", "show", "week").out
        refused = own.run("plan", str(declared))
    assert refused.code == 2
    assert "eventpost.yaml:3" in refused.err
    assert "limits.event_ttl_max" in refused.err


def test_a_server_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    """Where nothing listens, every command says so and ends with 3."""
    alone = program(tmp_path, EVENTPOST_URL="http://127.0.0.1:9")

    for words in (["topic", "list"], ["publish", "songs"], ["store", "verify"]):
        done = alone.run(*words)
        assert done.code == 3, done
        assert "127.0.0.1:9" in done.err
        assert "  fix: " in done.err


def test_the_wrong_token_is_refused(grid: Program) -> None:
    """A wrong admin token is exit code 1 and says what to do; it is not printed."""
    done = grid.run("topic", "list", "--token", "wrong-and-secret")

    assert done.code == 1
    assert "wrong-and-secret" not in done.err
    assert "  fix: " in done.err


def test_a_subscription_that_is_pulled(grid: Program) -> None:
    """It needs no endpoint, is shown with its locks, and stays what it is."""
    grid.ok("topic", "create", "songs-pull", "--input-schema", "cloudeventschemav1_0")
    create = ("subscription", "create", "pulled-1", "--topic", "songs-pull")
    too_short = grid.run(*create, "--endpoint-type", "pull", "--receive-lock-duration", "59")
    assert (too_short.code, "60" in too_short.err) == (2, True)

    made = grid.ok(
        *(*create, "--endpoint-type", "pull", "--json"),
        *("--receive-lock-duration", "90", "--max-delivery-count", "3", "--event-ttl", "60"),
    ).json
    assert (made["receiveLockDurationInSeconds"], made["maxDeliveryCount"]) == (90, 3)
    shown = grid.ok("subscription", "show", "pulled-1").out
    assert "locked for" in shown
    assert "3 times at most" in shown
    grid.ok("subscription", "update", "pulled-1", "--receive-lock-duration", "120")

    refused = grid.run(
        *("subscription", "update", "pulled-1", "--endpoint-type", "webhook"),
        *("--endpoint", "https://example.com/"),
    )

    assert refused.code == 2
    assert "pull and push" in refused.err


def test_shorter_locks_for_tests(tmp_path: Path) -> None:
    """`serve --allow-short-locks` lowers the bound, and nothing else does."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    user = Program(tmp_path, environment)

    shown = user.ok("config", "--allow-short-locks", "--json").json
    plain = user.ok("config", "--json").json

    name = "limits.receive_lock_s_min"
    assert (shown[name]["value"], plain[name]["value"]) == (0.1, 60.0)

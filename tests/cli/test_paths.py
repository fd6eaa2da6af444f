"""Paths are those of whoever types them, not of the server's working directory."""

from pathlib import Path

import pytest

from eventpost.cli.local_paths import resolve
from eventpost.client.discovery import Place
from eventpost.core.errors import InvalidRequest
from tests.cli.receiver import Receiver
from tests.cli.running import Program, program

HERE = Place("http://127.0.0.1:7790", None, None)
ELSEWHERE = Place("https://events.example.com", None, None)


def resolved(place: Place, **declared: object) -> dict[str, object]:
    resolve(declared, place, against=Path("/radio/station"))
    return declared


def test_relative_paths_become_whole_for_a_server_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Folders and secrets' files are completed; variables and whole paths stay as they are."""
    monkeypatch.setenv("HOME", "/home/dj")

    assert resolved(HERE, deadletter="folder:dead")["deadletter"] == "folder:/radio/station/dead"
    assert resolved(HERE, deadletter="folder:../x")["deadletter"] == "folder:/radio/x"
    assert resolved(HERE, deadletter="folder:~/x")["deadletter"] == "folder:/home/dj/x"
    folder = resolved(HERE, endpoint="songs", endpointType="folder")
    assert folder["endpoint"] == "folder:/radio/station/songs"
    assert resolved(HERE, endpoint="songs", endpointType="s3")["endpoint"] == "songs"
    secrets: list[object] = ["file:key", "file:/key", "env:KEY"]
    assert resolved(HERE, signingSecrets=secrets, signing_secrets=["file:k"]) == {
        "signingSecrets": ["file:/radio/station/key", "file:/key", "env:KEY"],
        "signing_secrets": ["file:/radio/station/k"],
    }


@pytest.mark.parametrize("place", [HERE, ELSEWHERE])
@pytest.mark.parametrize("given", ["folder:/dead", "s3://bucket/x", "folder:", "dead", None, 5])
def test_what_is_no_relative_path_is_left_alone(place: Place, given: object) -> None:
    """Whole paths, other places, and mistakes go to the server as they are."""
    assert resolved(place, deadletter=given) == {"deadletter": given}


def test_a_relative_path_means_nothing_to_another_machine() -> None:
    """For a server elsewhere a relative path is refused, with what to write instead."""
    for declared in ({"deadletter": "folder:dead"}, {"signingSecrets": ["file:key"]}):
        with pytest.raises(InvalidRequest, match=r"events\.example\.com") as refused:
            resolve(dict(declared), ELSEWHERE)
        assert "absolute" in refused.value.fix


@pytest.mark.slow
def test_dead_letters_go_below_the_directory_of_the_command(
    grid: Program, receiver: Receiver, tmp_path: Path
) -> None:
    """`folder:dead` is a folder where the command was typed, and beside the file that declares
    it."""
    here = program(tmp_path, EVENTPOST_DATA=str(grid.directory / "eventpost-data"))
    grid.ok("topic", "create", "songs-11")
    made = here.ok(
        *("subscription", "create", "hook-11", "--topic", "songs-11", "--json"),
        *("--endpoint", receiver.url, "--deadletter-endpoint", "folder:dead"),
    ).json
    assert made["deadletter"] == f"folder:{tmp_path}/dead"

    (tmp_path / "conf").mkdir()
    file = tmp_path / "conf" / "eventpost.yaml"
    file.write_text(
        "subscriptions:\n  hook-11:\n    topic: songs-11\n"
        f"    endpoint: {receiver.url}\n    deadletter: folder:dead\n"
    )
    (change,) = grid.ok("plan", str(file), "--json").json
    assert change["differences"] == [
        {
            "field": "deadletter",
            "before": f"folder:{tmp_path}/dead",
            "after": f"folder:{tmp_path}/conf/dead",
        }
    ]
    changed = here.ok(
        *("subscription", "update", "hook-11", "--json"),
        *("--deadletter-endpoint", "folder:../x"),
    ).json
    assert changed["deadletter"] == f"folder:{tmp_path.parent}/x"

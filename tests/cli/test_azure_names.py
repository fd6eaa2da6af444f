"""Commands written for `az eventgrid` run with `eventpost` in its place."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from tests.cli.receiver import Receiver
from tests.cli.running import Program, server, until
from tests.services.azurite import ACCOUNT, Azurite

pytestmark = pytest.mark.slow

COMMANDS = Path(__file__).with_name("song_requests.sh")
STORAGE_ID = (
    "/subscriptions/5f750a97-50d9-4e36-8081-c9ee4c0210d4/resourceGroups/msdndemo/providers/"
    f"Microsoft.Storage/storageAccounts/{ACCOUNT}"
)
BAD_REQUEST = [
    {
        "id": "100",
        "subject": "genre/rock",
        "eventType": "Song.Requested",
        "eventTime": "2017-08-21T06:42:20Z",
        "data": {"title": "Paranoid"},
        "dataVersion": "1.0",
    }
]


@pytest.fixture
def program(tmp_path: Path, azurite: Azurite) -> Iterator[Program]:
    """The program beside a server that knows the storage account."""
    with server(tmp_path, STATION_STORAGE=azurite.connection_string) as found:
        setting = "connection_string=env:STATION_STORAGE"
        found.ok("connection", "create", ACCOUNT, "--kind", "azure-storage", "--set", setting)
        yield found


def test_the_song_request_tutorial(program: Program, receiver: Receiver, azurite: Azurite) -> None:
    """Every `az eventgrid` command of the tutorial runs with `eventpost` in its place, in a shell:
    the bad request is refused once and lies in the container as a dead letter."""
    receiver.status = 400
    container = f"deadletterevents-{uuid.uuid4().hex[:8]}"
    text = COMMANDS.read_text().replace(
        "containername=deadletterevents", f"containername={container}"
    )
    assert text.count("az eventgrid") == 4
    (program.directory / "badsongrequest.json").write_text(json.dumps(BAD_REQUEST))
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        client.create_container(container)

        done = run(program, text, functionurl=receiver.url)

        assert done.returncode == 0, done.stderr
        assert "Ignored: -g msdndemo, -l westus2" in done.stderr
        until(lambda: bool(receiver.subjects))
        found = client.get_container_client(container)
        until(lambda: bool(list(found.list_blob_names())))
        (name,) = found.list_blob_names()
        (letter,) = json.loads(found.download_blob(name).readall())
    assert name.startswith("SONG-REQUEST-SUB/")
    assert letter["deadLetterReason"] == "UndeliverableDueToHttpBadRequest"
    assert letter["deliveryAttempts"] == 1
    assert receiver.subjects == ["genre/rock"]
    shown = program.ok("event-subscription", "show", "song-request-sub", "-o", "json").json
    assert shown["retry"]["maxDeliveryAttempts"] == 2
    assert shown["retry"]["eventTtlMinutes"] == 1
    assert shown["deadletter"] == f"azureblob://{ACCOUNT}/{container}"


def run(program: Program, text: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The commands in bash: `az eventgrid` is `eventpost`, and what is left of `az` knows one
    thing, the account's id."""
    command = " ".join(program.command())
    script = "\n".join(
        [
            "set -eu",
            f'eventpost() {{ {command} "$@"; }}',
            f"az() {{ test \"$1 $2 $3\" = 'storage account show'; echo {STORAGE_ID}; }}",
            text.replace("az eventgrid", "eventpost"),
        ]
    )
    assert sys.executable in command
    return subprocess.run(
        ["bash", "-c", script],
        env={**program.environment, **variables, "PATH": os.environ["PATH"]},
        cwd=program.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_names_and_resources(grid: Program, receiver: Receiver) -> None:
    """A name may stand as `--name` before or behind other options, a topic be named by its resource
    id, and `All` is no filter."""
    resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/az-names"
    grid.ok("topic", "create", "--name", "az-names", "-l", "westus2", "-g", "rg")
    made = grid.ok(
        *("event-subscription", "create", "-n", "by-resource", "--source-resource-id", resource),
        *("--endpoint", receiver.url, "--included-event-types", "All", "--labels", "a", "b"),
        *("--endpoint-type", "webhook", "--json"),
    ).json

    assert made["topic"] == "az-names"
    assert made["filter"]["includedEventTypes"] is None
    assert made["labels"] == ["a", "b"]
    listed = grid.ok("event-subscription", "list", "--topic-name", "az-names", "--query", "[].name")
    assert listed.json == ["by-resource"]
    grid.ok("event-subscription", "delete", "--name", "by-resource", "-y", "-g", "rg")
    grid.ok("topic", "delete", "-n", "az-names", "--yes")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("topic", "create", "x-1", "--identity", "systemassigned"), "no managed identities"),
        (("topic", "create", "x-1", "--inbound-ip-rules", "10.0.0.0/8", "allow"), "a firewall"),
        (("topic", "create", "x-1", "--public-network-access", "disabled"), "a firewall"),
        (("topic", "create", "x-1", "--tags", "team=a"), "have --labels"),
        (("topic", "create", "--name", "x-1", "--sku", "basic"), "not bought here"),
        (
            ("topic", "list", "-g", "rg", "--odata-query", "Contains(name, 'x')"),
            "choose with --query",
        ),
        (
            ("event-subscription", "create", "x-1", "--delivery-identity", "systemassigned"),
            "a connection says who we are",
        ),
        (
            ("event-subscription", "create", "x-1", "--deadletter-identity-endpoint", "/x"),
            "a connection says who we are",
        ),
    ],
)
def test_options_that_cannot_mean_anything_here(
    grid: Program, words: tuple[str, ...], why: str
) -> None:
    """An option of `az eventgrid` that would change something and cannot is refused by its name,
    with the reason."""
    [option] = [each for each in words[2:] if each.startswith("--") and each != "--name"]
    refused = grid.run(*words)

    assert refused.code == 2
    assert f"{option} is not supported" in refused.err
    assert why in refused.err


def test_what_holds_anyway_is_ignored(grid: Program) -> None:
    """A topic is open to the network that the listener is open to: saying so changes nothing."""
    made = grid.ok("topic", "create", "az-open", "--public-network-access", "enabled")

    assert "Ignored: --public-network-access enabled" in made.err
    grid.ok("topic", "delete", "-n", "az-open", "--yes")


def test_waiting_is_not_asked_for(grid: Program) -> None:
    """What need not be waited for is done all the same, and a note says so."""
    grid.ok("topic", "create", "az-quick")

    deleted = grid.ok("topic", "delete", "-n", "az-quick", "--yes", "--no-wait")

    assert "Ignored: --no-wait" in deleted.err


def test_an_option_that_is_none_is_named(grid: Program) -> None:
    """The value of an option that is not known is not taken for a second name."""
    refused = grid.run("topic", "create", "--name", "az-typo", "--input-shema", "eventgridschema")

    assert refused.code == 2
    assert "Unrecognized arguments: --input-shema" in refused.err
    assert "did you mean `--input-schema`?" in refused.err
    twice = grid.run("topic", "create", "--name", "az-typo", "az-other")
    assert "not allowed with" in twice.err


def test_how_long_a_message_lives(grid: Program) -> None:
    """A storage queue's messages live as long as the option says, under both of its names."""
    grid.ok("topic", "create", "az-lives")
    settings = ("--kind", "azure-storage", "--set", "account=azlives")
    grid.ok("connection", "create", "azlives", *settings)
    queue = ("--topic-name", "az-lives", "--endpoint-type", "storagequeue", "--endpoint", "songs")
    for name, option, ttl_s in (
        ("a-day", "--storage-queue-msg-ttl", 86_400),
        ("ever", "--qttl", -1),
    ):
        made = grid.ok(
            *("event-subscription", "create", "-n", name, *queue, "--connection", "azlives"),
            *(option, str(ttl_s), "--json"),
        ).json
        assert made["endpointOptions"]["ttl_s"] == ttl_s
    grid.ok("topic", "delete", "az-lives", "--yes")


def test_the_whole_endpoint(grid: Program, receiver: Receiver) -> None:
    """What stands in the query of an endpoint is shown when it is asked for."""
    grid.ok("topic", "create", "az-url")
    url = f"{receiver.url}?code=secret"
    grid.ok("subscription", "create", "with-code", "--topic", "az-url", "--endpoint", url)
    show = ("event-subscription", "show", "-n", "with-code", "--query", "endpoint", "-o", "tsv")

    assert "secret" not in grid.ok(*show).out
    assert grid.ok(*show, "--include-full-endpoint-url", "true").out == f"{url}\n"
    assert grid.ok(*show, "--full-ed-url", "true").out == f"{url}\n"


def test_a_queue_by_its_resource(grid: Program) -> None:
    """A queue's resource id finds the connection of its account, by the account or by its name."""
    queue = STORAGE_ID.replace(ACCOUNT, "azstation") + "/queueservices/default/queues/songs"
    grid.ok("topic", "create", "az-queues")
    words = ("--topic-name", "az-queues", "--endpoint-type", "storagequeue", "--endpoint", queue)

    refused = grid.run("event-subscription", "create", "--name", "to-queue", *words)
    assert refused.code == 2
    assert "AccountNotConnected" in refused.err
    assert "eventpost connection create azstation" in refused.err
    settings = ("--kind", "azure-storage", "--set", "account=azstation")
    grid.ok("connection", "create", "storage-of-station", *settings)
    made = grid.ok("event-subscription", "create", "-n", "to-queue", *words, "--json").json

    assert made["endpoint"] == "songs"
    assert made["endpointType"] == "storagequeue"
    assert made["connection"] == "storage-of-station"
    grid.ok("subscription", "delete", "to-queue", "--yes")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("topic", "create"), "arguments are required: name"),
        (("topic", "show", "a-topic", "--name", "b-topic"), "not allowed with"),
        (
            ("event-subscription", "list", "--source-resource-id", STORAGE_ID),
            "no topic or domain of",
        ),
        (("topic", "list", "--query", "[?"), "InvalidQuery"),
        (("topic", "list", "--output", "xml"), "unknown value `xml`"),
        (
            ("subscription", "create", "x-1", "--topic", "t-1", "--endpoint", STORAGE_ID),
            "ResourceNotSupported",
        ),
        (
            (
                "subscription",
                "create",
                "x-1",
                "--topic",
                "t-1",
                "--deadletter-endpoint",
                STORAGE_ID,
            ),
            "InvalidDeadLetterEndpoint",
        ),
    ],
)
def test_what_is_refused(grid: Program, words: tuple[str, ...], says: str) -> None:
    """What cannot be meant is refused as usage, and says what would do."""
    done = grid.run(*words)

    assert done.code == 2
    assert says in done.err
    assert "fix:" in done.err


def test_an_import_that_is_applied(program: Program, receiver: Receiver) -> None:
    """What Azure's tools print is applied as a file, and what is left out is told."""
    topic = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/imported"
    listed = {
        "name": "from-azure",
        "type": "Microsoft.EventGrid/eventSubscriptions",
        "topic": topic,
        "destination": {"endpointType": "WebHook", "endpointBaseUrl": receiver.url},
        "retryPolicy": {"maxDeliveryAttempts": 3, "eventTimeToLiveInMinutes": 10},
    }
    skipped = {**listed, "name": "skipped", "destination": {"endpointType": "EventHub"}}
    (program.directory / "listed.json").write_text(json.dumps([listed, skipped]))

    imported = program.ok("az-import", "listed.json")

    assert "event subscription skipped: destination.endpointType" in imported.err
    assert "Carried over: 1 topic, 1 event subscription, 0 connections." in imported.err
    (program.directory / "imported.yaml").write_text(imported.out)
    program.ok("apply", "imported.yaml")
    shown = program.ok("subscription", "show", "from-azure", "--json").json
    assert (shown["topic"], shown["retry"]["maxDeliveryAttempts"]) == ("imported", 3)
    nothing = program.run("az-import", "-", stdin=json.dumps([skipped]).encode())
    assert nothing.code == 1
    assert program.run("az-import", "-", stdin=b"7").code == 2

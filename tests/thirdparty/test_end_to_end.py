"""A third party's package at work: its queues, its endpoint kind and its source, in a real server,
declared by the commands that its users type."""

import asyncio
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from eventpost.queues.interfaces import Message
from eventpost.testing.background import BackgroundLoop
from eventpost.testing.destination_conformance import Behaviour
from eventpost.testing.memory_queue import MemoryServer
from tests.cli.running import Program, program
from tests.server.running import Served, served, until
from tests.services.service import fresh_name
from tests.sources.station import QUICK
from tests.thirdparty.servers import Recipient

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("pigeon")]


@pytest.fixture
def loft() -> MemoryServer:
    server: MemoryServer = import_module("eventpost_pigeon").LOFTS[fresh_name("loft")]
    return server.create("grey").create("white")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "data", QUICK) as running:
        yield running


@pytest.fixture
def shell(server: Served, tmp_path: Path) -> Program:
    made = program(tmp_path, EVENTPOST_URL=server.url, EVENTPOST_TOKEN=server.token)
    made.ok("topic", "create", "songs")
    return made


@pytest.fixture
def recipient() -> Iterator[Recipient]:
    loop = BackgroundLoop("recipient", asyncio.new_event_loop)
    made = Recipient()
    loop.run(made.start())
    yield made
    loop.run(made.stop())
    loop.close()


def loft_name(loft: MemoryServer) -> str:
    lofts: dict[str, MemoryServer] = import_module("eventpost_pigeon").LOFTS
    return next(name for name, each in lofts.items() if each is loft)


def bodies(loft: MemoryServer, queue: str) -> list[bytes]:
    client = loft.queue(queue)
    page = client.receive(10, 0.0, 60.0)
    assert isinstance(page, list)
    return sorted(each.body for each in page)


def test_from_its_source_to_its_endpoint_kind_and_its_queue(
    shell: Program, tmp_path: Path, loft: MemoryServer, recipient: Recipient
) -> None:
    """A letter in the box is an event, which the courier carries and the pigeon gets; then the
    letter is gone."""
    box = tmp_path / "box"
    box.mkdir()
    shell.ok("connection", "create", "home", "--kind", "pigeon", "--set", f"loft={loft_name(loft)}")
    shell.ok(
        *("subscription", "create", "by-courier", "--topic", "songs"),
        *("--endpoint-type", "courier", "--endpoint", recipient.address),
    )
    shell.ok(
        *("subscription", "create", "by-pigeon", "--topic", "songs", "--message-format", "raw"),
        *("--endpoint-type", "pigeon", "--endpoint", "grey", "--connection", "home"),
    )
    shell.ok(
        *("source", "create", "box", "--topic", "songs", "--kind", "letterbox"),
        *("--queue", str(box), "--format", "raw"),
        *("--input-mapping-fields", "subject=attributes.name"),
    )

    post(box, "blues", b'{"title": "Love in Vain"}')

    until(lambda: len(recipient.events) == 1)
    (event,) = recipient.events
    assert (event["subject"], event["data"]) == ("blues", {"title": "Love in Vain"})
    until(lambda: loft.message_count("grey") == 1)
    assert bodies(loft, "grey") == [b'{"title": "Love in Vain"}']
    until(lambda: not list(box.iterdir()))
    shown = shell.ok("source", "show", "box", "--json").json
    assert (shown["state"], shown["counts"]["taken"]) == ("running", 1)


def test_its_queue_is_a_source(shell: Program, loft: MemoryServer, recipient: Recipient) -> None:
    """What is in the pigeon's queue comes into the topic, and is settled then."""
    shell.ok("connection", "create", "home", "--kind", "pigeon", "--set", f"loft={loft_name(loft)}")
    shell.ok(
        *("subscription", "create", "by-courier", "--topic", "songs"),
        *("--endpoint-type", "courier", "--endpoint", recipient.address),
    )
    loft.queue("grey").send([Message(body=b'"%d"' % n) for n in range(30)])

    shell.ok(
        *("source", "create", "letters", "--topic", "songs", "--kind", "pigeon"),
        *("--queue", "grey", "--connection", "home", "--format", "raw", "--option", "breed=fast"),
    )

    until(lambda: len(recipient.events) == 30)
    assert sorted(int(each["data"]) for each in recipient.events) == list(range(30))
    until(lambda: loft.message_count("grey") == 0)


def test_its_endpoint_kind_is_tried_again(shell: Program, recipient: Recipient) -> None:
    """What the courier's recipient refuses climbs the ladder like everything else, and arrives."""
    recipient.behaviour = Behaviour.REFUSE
    shell.ok(
        *("subscription", "create", "by-courier", "--topic", "songs", "--retry-schedule", "20ms"),
        *("--endpoint-type", "courier", "--endpoint", recipient.address),
    )
    shell.ok("publish", "songs", "--data", '"again"')
    until(lambda: len(recipient.events) >= 3)

    recipient.behaviour = Behaviour.ACCEPT

    books = ("subscription", "show", "by-courier", "--json")
    until(lambda: shell.ok(*books).json["books"]["delivered"] == 1)


def test_a_letter_that_cannot_be_deleted_is_taken_once(
    shell: Program, tmp_path: Path, recipient: Recipient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is committed with its event: however often it is found again, there is one event."""
    box = tmp_path / "box"
    box.mkdir()
    refusals = 0
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        nonlocal refusals
        if path.parent == box and refusals < 5:
            refusals += 1
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    shell.ok(
        *("subscription", "create", "by-courier", "--topic", "songs"),
        *("--endpoint-type", "courier", "--endpoint", recipient.address),
    )
    shell.ok(
        *("source", "create", "box", "--topic", "songs", "--kind", "letterbox"),
        *("--queue", str(box), "--format", "raw"),
    )

    post(box, "blues", b'"once"')

    until(lambda: not list(box.iterdir()))
    assert refusals == 5
    until(lambda: len(recipient.events) == 1)
    assert recipient.events[0]["data"] == "once"


def test_a_letter_that_is_no_event_is_a_dead_letter(shell: Program, tmp_path: Path) -> None:
    """Poison of a third party's source is kept with its bytes and its finding."""
    box = tmp_path / "box"
    box.mkdir()
    shell.ok(
        *("source", "create", "box", "--topic", "songs", "--kind", "letterbox"),
        *("--queue", str(box), "--format", "dramatiq"),
    )

    post(box, "blues", b"no message of Dramatiq")

    until(lambda: bool(shell.ok("deadletter", "list", "--source", "box", "--json").json))
    until(lambda: not list(box.iterdir()))


def test_a_folder_that_is_gone_is_told(shell: Program, tmp_path: Path) -> None:
    """A third party's source says what is wrong with it, and goes on when it is mended."""
    box = tmp_path / "box"
    shell.ok(
        *("source", "create", "box", "--topic", "songs", "--kind", "letterbox"),
        *("--queue", str(box), "--format", "raw"),
    )
    state = ("source", "show", "box", "--json")
    until(lambda: shell.ok(*state).json["state"] == "failing")

    box.mkdir()

    until(lambda: shell.ok(*state).json["state"] == "running")


def test_what_its_source_cannot_have_is_refused(shell: Program) -> None:
    """A third party checks what is declared, and the command says so."""
    done = shell.run(
        *("source", "create", "box", "--topic", "songs", "--kind", "letterbox"),
        *("--queue", "box", "--format", "raw"),
    )

    assert done.code == 2
    assert "is no absolute path" in done.err
    assert "Write --queue /FOLDER." in done.err


def test_its_queues_are_moved(shell: Program, tmp_path: Path, loft: MemoryServer) -> None:
    """A queue system that was added can be moved like any other."""
    loft.queue("grey").send([Message(body=b"%d" % n) for n in range(5)])
    connections = {"home": {"kind": "pigeon", "loft": loft_name(loft)}}
    (tmp_path / "eventpost.yaml").write_text(json.dumps({"connections": connections}))
    shell.environment["XDG_STATE_HOME"] = str(tmp_path / "state")

    done = shell.ok(
        *("move", "--config", "eventpost.yaml", "--from", "home/grey", "--to", "home/white"),
        "--json",
    )

    assert done.json["moved"] == 5
    assert bodies(loft, "white") == [b"%d" % n for n in range(5)]


def post(box: Path, name: str, body: bytes) -> None:
    """As its users are told to: written elsewhere, and renamed into the box."""
    made = box.parent / f"{name}.part"
    made.write_bytes(body)
    made.rename(box / name)

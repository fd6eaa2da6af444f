"""`eventpost move` as a user meets it: what it prints, what it refuses, how it is interrupted."""

import json
import signal
from importlib import import_module
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, AclPermissionType

from eventpost.cli import progress as cli_progress
from eventpost.queues.interfaces import Message
from eventpost.testing.fault_proxy import FaultProxy
from eventpost.testing.memory_queue import FORBIDDEN, MemoryServer
from eventpost.testing.service_refusals import AZURE_NO_ROLE, SQS_FORBIDDEN
from tests.cli.running import Program
from tests.moving import ends
from tests.server.running import until
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import PASSWORD, USER, Kafka
from tests.services.kafka_clients import add_rules, group_rule, make_topic, topic_rule
from tests.services.ports import free_ports
from tests.services.rabbitmq import READER, RabbitMQ
from tests.services.service import fresh_name

SONGS, JAZZ = "home/songs", "home/jazz"


@pytest.fixture
def loft(pigeon: None, tmp_path: Path) -> MemoryServer:
    """A third party's queue system in this process, with two queues, and the file that names it."""
    name = fresh_name("loft")
    server: MemoryServer = import_module("eventpost_pigeon").LOFTS[name]
    ends.config(tmp_path, home={"kind": "pigeon", "loft": name})
    return server.create("songs").create("jazz")


def fill(loft: MemoryServer, *bodies: bytes) -> None:
    loft.queue("songs").send([Message(body=each) for each in bodies])


def test_the_account_is_printed(loft: MemoryServer, shell: Program) -> None:
    """A person reads what came of it; the exit code says that all is moved."""
    fill(loft, b"a", b"b", b"c")

    done = shell.ok("move", "--from", SONGS, "--to", JAZZ)

    assert done.out.splitlines() == [
        "Moved home/songs to home/jazz.",
        "taken      3",
        "= moved    3",
        "+ skipped  0",
        "+ left     0",
    ]
    assert loft.message_count("jazz") == 3


def test_how_far_it_is_is_told(
    loft: MemoryServer, shell: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it runs it says on standard error how many of how many are done; where nobody watches,
    as a line now and then. `tests/cli/test_output.py` has the bar."""
    monkeypatch.setattr(cli_progress, "LINE_INTERVAL_S", 0.0)
    fill(loft, b"a", b"b", b"c")

    done = shell.ok("move", "--from", SONGS, "--to", JAZZ)

    assert done.err.splitlines()[-1] == "Move: 3 of 3 messages"
    assert "Move:" not in done.out


def test_the_account_is_json_for_programs(loft: MemoryServer, shell: Program) -> None:
    """`--json` prints every part of the sum."""
    fill(loft, b"a", b"b", b"c")

    done = shell.run("move", "--from", SONGS, "--to", JAZZ, "--json")

    found = done.json
    assert done.code == 0, done
    assert found["taken"] == found["moved"] == 3
    parts = ("moved", "movedBefore", "skipped", "left")
    assert found["taken"] == sum(found[each] for each in parts)
    assert (found["ended"], found["complete"], found["format"]) == ("empty", True, "raw")


def test_what_is_skipped_is_explained(loft: MemoryServer, shell: Program) -> None:
    """What stays in the source is told with its finding, its reason and where to read more."""
    fill(loft, b"no message of Dramatiq")

    done = shell.run("move", "--from", SONGS, "--to", JAZZ, "--format", "dramatiq")

    assert done.code == 1
    assert "+ skipped  1" in done.out
    assert "EP4082" in done.err
    assert "1 message left in the source" in done.err
    assert "neither a JSON object nor base64" in done.err
    assert loft.message_count("songs") == 1


def test_a_dry_run_touches_nothing(loft: MemoryServer, shell: Program) -> None:
    """It says how much there is, and takes and sends nothing."""
    fill(loft, b"a", b"b")

    done = shell.ok("move", "--from", SONGS, "--to", JAZZ, "--dry-run")
    as_json = shell.ok("move", "--from", SONGS, "--to", JAZZ, "--dry-run", "--json").json

    assert "home/songs holds about 2 messages." in done.out
    assert as_json["queues"] == [{"queue": "songs", "messages": 2}]
    assert loft.requests["receive"] == loft.requests["settle"] == 0
    assert loft.message_count("songs") == 2
    assert loft.message_count("jazz") == 0


def test_a_count_leaves_the_rest(loft: MemoryServer, shell: Program) -> None:
    """Some are moved to be looked at, and the command says that this was all it was to do."""
    fill(loft, b"a", b"b", b"c")

    found = shell.ok("move", "--from", SONGS, "--to", JAZZ, "--count", "2", "--json").json

    assert (found["moved"], found["ended"]) == (2, "counted")
    assert loft.message_count("songs") == 1


def test_a_target_that_refuses_is_told_with_its_finding(loft: MemoryServer, shell: Program) -> None:
    """After its patience the command ends with 1, cause and fix; everything is in the source."""
    fill(loft, b"a", b"b")
    loft.fail("send", FORBIDDEN)

    done = shell.run("move", "--from", SONGS, "--to", JAZZ, "--patience", "50ms")

    assert done.code == 1
    assert "The target refuses" in done.err
    assert "The target home/jazz cannot be used." in done.err
    assert "AccessDenied" in done.err
    assert "  fix: " in done.err
    assert "+ left     2" in done.out
    assert loft.message_count("songs") == 2


def test_a_right_is_asked_for_beforehand(loft: MemoryServer, shell: Program) -> None:
    """A right that is missing ends the command, the dry run too, before anything is taken; rights
    that a move does not need may be missing."""
    fill(loft, b"a")
    loft.rights = {"songs": {"settle": FORBIDDEN}, "jazz": {"receive": FORBIDDEN}}

    done = shell.run("move", "--from", SONGS, "--to", JAZZ)
    looked = shell.run("move", "--from", SONGS, "--to", JAZZ, "--dry-run")
    back = shell.run("move", "--from", JAZZ, "--to", SONGS)
    loft.rights = {"songs": {"send": FORBIDDEN}, "jazz": {"receive": FORBIDDEN}}
    right = shell.run("move", "--from", SONGS, "--to", JAZZ)

    for refused in (done, looked, back):
        assert refused.code == 1, refused
        assert "The source home/" in refused.err
        assert "AccessDenied" in refused.err
    assert (right.code, loft.message_count("jazz")) == (0, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "songs", "--to", JAZZ), "--from is 'songs', and names no queue"),
        (("--from", "home/", "--to", JAZZ), "names no queue"),
        (("--from", SONGS, "--to", "away/jazz"), "Declared there: home"),
        (("--from", SONGS, "--to", SONGS), "EP4084 home/songs and home/songs are the same queue"),
        (("--from", SONGS, "--to", JAZZ, "--format", "celery"), "format"),
        (("--from", SONGS, "--to", JAZZ, "--rate", "0"), "--rate is 0"),
        (("--from", SONGS, "--to", JAZZ, "--rate", "fast"), "not a rate"),
        (("--from", SONGS, "--to", JAZZ, "--count", "0"), "--count is 0"),
        (("--from", SONGS, "--to", JAZZ, "--to-option", "bread=1"), "The nearest one is breed"),
        (("--from", SONGS, "--to", JAZZ, "--to-option", "breed"), "KEY=VALUE"),
        (("--from", SONGS, "--to", JAZZ, "--queue-name", "x"), "are for messages of Dramatiq"),
        (("--from", SONGS, "--to", JAZZ, "--wait", "long"), "long"),
        (("--from", SONGS), "--to"),
    ],
)
def test_what_cannot_be_is_refused(
    loft: MemoryServer, shell: Program, words: tuple[str, ...], said: str
) -> None:
    """A mistake in the words is exit code 2, with what is wrong and a fix, and nothing is taken."""
    fill(loft, b"a")

    done = shell.run("move", *words)

    assert done.code == 2, done
    assert said in done.err
    assert "  fix: " in done.err
    assert loft.requests["receive"] == 0


def test_a_file_is_needed(shell: Program) -> None:
    """Without a file nobody says what the connections are."""
    shell.environment.pop("EVENTPOST_CONFIG")

    done = shell.run("move", "--from", SONGS, "--to", JAZZ)

    assert done.code == 2
    assert "ConfigMissing" in done.err


@pytest.mark.slow
def test_real_mistakes_are_explained(
    shell: Program, tmp_path: Path, rabbitmq: RabbitMQ, kafka: Kafka
) -> None:
    """A wrong queue, a server that is not there, and one topic under two groups: each with its
    finding, in seconds."""
    queue = fresh_name("songs")
    topic = ends.end(ends.kafka(kafka), queue)
    ends.send(topic, [b"a"])
    ends.config(
        tmp_path,
        radio=ends.rabbitmq(rabbitmq),
        nobody={"kind": "rabbitmq", "host": "127.0.0.1", "port": free_ports(1)[0]},
        stream=ends.kafka(kafka),
    )

    missing = shell.run("move", "--from", f"radio/{queue}", "--to", f"stream/{queue}")
    nobody = shell.run("move", "--from", f"stream/{queue}", "--to", "nobody/songs")
    same = shell.run(
        *("move", "--from", f"stream/{queue}", "--to", f"stream/{queue}"),
        *("--from-option", "group=movers"),
    )

    assert (missing.code, nobody.code, same.code) == (1, 1, 2)
    assert missing.err.startswith("EP4307 ")
    assert nobody.err.startswith("EP2004 ")
    assert same.err.startswith("EP4084 ")
    assert ends.counted(topic) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("right", "finding"), [("DeleteMessage", "EP4101"), ("send", "EP4101")])
def test_a_missing_right_of_sqs(
    shell: Program, tmp_path: Path, elasticmq: ElasticMQ, right: str, finding: str
) -> None:
    """A role that may not delete at the source, or not send to the target, is told right
    beforehand, with the statement that is missing; nothing is taken."""
    source = ends.end(ends.sqs(elasticmq), fresh_name("songs"))
    target = ends.end(ends.sqs(elasticmq), fresh_name("jazz"))
    ends.send(source, [b"a"])
    ends.send(target, [])
    with FaultProxy("127.0.0.1", elasticmq.ports["http"]) as proxy:
        operation = {"DeleteMessage": "DeleteMessageBatch", "send": "SendMessageBatch"}[right]
        proxy.when(operation, SQS_FORBIDDEN)
        limited = ends.sqs(elasticmq) | {"endpoint_url": f"http://127.0.0.1:{proxy.port}"}
        ends.config(tmp_path, radio=limited)

        done = shell.run(
            *("move", "--from", f"radio/{source.queue}", "--to", f"radio/{target.queue}"),
            *("--to-option", "create=true"),
        )

    assert done.code == 1, done
    assert done.err.startswith(finding), done
    assert ("The source" if right == "DeleteMessage" else "The target") in done.err
    assert f"sqs:{operation.removesuffix('Batch')}" in done.err
    assert ends.counted(source) == 1


@pytest.mark.slow
def test_a_missing_right_of_storage_queues(
    shell: Program, tmp_path: Path, azurite: Azurite
) -> None:
    """A role that may not delete is told beforehand, and as whom one may; so is one that may not
    send; nothing is taken."""
    source = ends.end(ends.azure(azurite), fresh_name("songs"))
    target = ends.end(ends.azure(azurite), fresh_name("jazz"))
    ends.send(source, [b"a"])
    ends.drained(target, 0)
    words = ("move", "--from", f"limited/{source.queue}", "--to", f"limited/{target.queue}")
    with FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy:
        shell.environment["MOVE_TEST_LIMITED"] = (
            f"AccountName={ACCOUNT};AccountKey={KEY};"
            f"QueueEndpoint=http://127.0.0.1:{proxy.port}/{ACCOUNT}"
        )
        limited: dict[str, object] = {
            "kind": "azure-storage",
            "connection_string": "env:MOVE_TEST_LIMITED",
        }
        ends.config(tmp_path, limited=limited)
        rule = proxy.when("DeleteMessage", AZURE_NO_ROLE)
        deleting = shell.run(*words)
        proxy.mend(rule)
        proxy.when("PutMessage", AZURE_NO_ROLE)
        sending = shell.run(*words)

    for done, side in ((deleting, "The source"), (sending, "The target")):
        assert done.code == 1, done
        assert done.err.startswith("EP4202"), done
        assert side in done.err
    assert ends.counted(source) == 1


@pytest.mark.slow
def test_a_missing_right_of_rabbitmq(shell: Program, tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    """A user who may read and not write is no target, and is told so with nothing taken."""
    source = ends.end(ends.rabbitmq(rabbitmq), fresh_name("songs"))
    target = ends.end(ends.rabbitmq(rabbitmq), fresh_name("jazz"))
    ends.send(source, [b"a"])
    ends.send(target, [])
    ends.drained(target, 0)
    shell.environment["MOVE_TEST_READER"] = READER
    reader = ends.rabbitmq(rabbitmq) | {"user": READER, "password": "env:MOVE_TEST_READER"}
    ends.config(tmp_path, radio=ends.rabbitmq(rabbitmq), reader=reader)

    done = shell.run("move", "--from", f"radio/{source.queue}", "--to", f"reader/{target.queue}")

    assert done.code == 1, done
    assert done.err.startswith("EP4306"), done
    assert "The target" in done.err
    assert ends.counted(source) == 1


@pytest.mark.slow
def test_a_missing_right_of_kafka(shell: Program, tmp_path: Path, kafka: Kafka) -> None:
    """Who may not commit for the group, or not write to the target, is told so beforehand; with
    the rights the same command moves."""
    source, target = make_topic(kafka), make_topic(kafka)
    group = fresh_name("movers")
    ends.send(ends.end(ends.kafka(kafka), source), [b"a"])
    shell.environment["MOVE_TEST_PASSWORD"] = PASSWORD
    singer = {
        "kind": "kafka",
        "bootstrap": [kafka.address("password")],
        "auth": "plain",
        "username": USER,
        "password": "env:MOVE_TEST_PASSWORD",
        "tls": True,
        "ca_file": str(kafka.ca_file),
    }
    ends.config(tmp_path, stream=singer)
    words = (
        *("move", "--from", f"stream/{source}", "--to", f"stream/{target}", "--json"),
        *("--from-option", f"group={group}"),
    )
    user, allow = f"User:{USER}", AclPermissionType.ALLOW
    add_rules(kafka, group_rule(group, user, allow, AclOperation.DESCRIBE))
    add_rules(kafka, topic_rule(target, user, allow, AclOperation.DESCRIBE))

    committing = shell.run(*words)
    add_rules(kafka, group_rule(group, user, allow, AclOperation.READ))
    writing = shell.run(*words)
    add_rules(kafka, topic_rule(target, user, allow, AclOperation.WRITE))
    done = shell.run(*words)

    assert (committing.code, writing.code) == (1, 1), (committing, writing)
    assert committing.err.startswith("EP4407"), committing
    assert f"READ on the group {group}" in committing.err
    assert writing.err.startswith("EP4406"), writing
    assert f"WRITE on the topic {target}" in writing.err
    assert done.code == 0, done
    assert done.json["moved"] == 1


@pytest.mark.slow
def test_ctrl_c_finishes_what_is_under_way(
    shell: Program, tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    """The account is printed and balances, both queues agree with it, the exit code is 130; the
    same command goes on, and in the end all has arrived once."""
    source = ends.end(ends.rabbitmq(rabbitmq), fresh_name("songs"))
    target = ends.end(ends.rabbitmq(rabbitmq), fresh_name("jazz"))
    ends.send(source, [b"song-%d" % n for n in range(300)])
    ends.send(target, [])
    ends.drained(target, 0)
    ends.config(tmp_path, radio=ends.rabbitmq(rabbitmq))
    words = ("move", "--from", f"radio/{source.queue}", "--to", f"radio/{target.queue}", "--json")

    moving = shell.start(*words, "--rate", "50/s")
    until(lambda: ends.counted(target) >= 20)
    moving.send_signal(signal.SIGINT)
    out, err = moving.communicate(timeout=120)

    account = json.loads(out)
    assert moving.returncode == 130, err
    assert account["ended"] == "stopped"
    assert account["taken"] == account["moved"] + account["left"]
    assert 20 <= account["moved"] < 300
    assert ends.counted(target) == account["moved"]
    assert ends.counted(source) == 300 - account["moved"]
    rest = shell.ok(*words).json
    assert rest["moved"] == 300 - account["moved"]
    assert len(set(ends.bodies(ends.drained(target, 300)))) == 300

"""What a real target cannot take stays in a real source, with a finding that says why."""

from pathlib import Path

import pytest

from eventpost.queues.interfaces import Message
from tests.cli.running import Program
from tests.moving import ends
from tests.services.azurite import Azurite
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

LARGER_THAN_64_KIB = Message(body=b"x" * 70_000)
NO_JSON = Message(body=b"Cross Road Blues")
WITH_HEADERS = Message(body=b"Love in Vain", attributes={"genre": "blues"})


@pytest.mark.parametrize(
    ("message", "form", "code", "says"),
    [
        (LARGER_THAN_64_KIB, "raw", "EP4081", "70,000 bytes"),
        (NO_JSON, "dramatiq", "EP4082", "neither a JSON object nor base64"),
        (WITH_HEADERS, "raw", "EP4083", "genre"),
    ],
)
def test_a_message_is_skipped(
    rabbitmq: RabbitMQ,
    azurite: Azurite,
    shell: Program,
    tmp_path: Path,
    message: Message,
    form: str,
    code: str,
    says: str,
) -> None:
    """From RabbitMQ to a Storage Queue: what is too large, of another format, or would lose its
    headers is told with its finding and stays where it is; what can go goes."""
    name = fresh_name("songs")
    there = {"rabbit": ends.rabbitmq(rabbitmq), "azure": ends.azure(azurite)}
    source, target = (ends.end(settings, name) for settings in there.values())
    ends.config(tmp_path, **there)
    shell.environment["MOVE_TEST_AZURITE"] = azurite.connection_string
    good = (
        b'{"queue_name":"songs","actor_name":"play","args":[],"kwargs":{},"options":{},'
        b'"message_id":"1","message_timestamp":1}'
    )
    ends.send(source, [message, Message(body=good)])
    ends.send(target, [])

    done = shell.run(
        "move",
        "--from",
        f"rabbit/{name}",
        "--to",
        f"azure/{name}",
        "--format",
        form,
        "--to-option",
        "create=auto",
    )

    assert done.code == 1, done
    assert code in done.err
    assert says in done.err
    assert [each.body for each in ends.drained(source, 1)] == [message.body]
    assert len(ends.drained(target, 1)) == 1

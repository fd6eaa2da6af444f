"""The two ends of a move in tests: real queues of every system, filled and looked at by their own
clients or by ours, and the file that declares their connections."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from eventpost.app.moving import End
from eventpost.core.outcomes import Delivered, Failed
from eventpost.core.sources import Connection
from eventpost.queues.interfaces import Message, Queue, Received
from eventpost.queues.kinds import Services
from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ

SECRETS = {
    "MOVE_TEST_KEY_ID": ACCESS_KEY_ID,
    "MOVE_TEST_SECRET": SECRET_ACCESS_KEY,
}
SYSTEMS = {
    "rabbitmq": "rabbitmq",
    "azure-storage": "storagequeue",
    "aws": "sqs",
    "kafka": "kafka",
    "pigeon": "pigeon",
}
CREATE: dict[str, dict[str, object]] = {
    "rabbitmq": {"create": True},
    "azure-storage": {"create": "auto"},
    "aws": {"create": True},
    "kafka": {"create": True},
}
"""What makes a queue that is not there."""
RECEIVE_S_MAX = 60.0


def rabbitmq(server: RabbitMQ) -> dict[str, object]:
    return {"kind": "rabbitmq", "host": "127.0.0.1", "port": server.ports["amqp"]}


def azure(server: Azurite) -> dict[str, object]:
    os.environ["MOVE_TEST_AZURITE"] = server.connection_string
    return {"kind": "azure-storage", "connection_string": "env:MOVE_TEST_AZURITE"}


def sqs(server: ElasticMQ) -> dict[str, object]:
    os.environ.update(SECRETS)
    return {
        "kind": "aws",
        "region": REGION,
        "endpoint_url": server.url,
        "access_key_id": "env:MOVE_TEST_KEY_ID",
        "secret_access_key": "env:MOVE_TEST_SECRET",
    }


def kafka(server: Kafka) -> dict[str, object]:
    return {"kind": "kafka", "bootstrap": [server.address("plain")]}


def config(directory: Path, **connections: dict[str, object]) -> Path:
    """A file that declares these."""
    path = directory / "eventpost.yaml"
    path.write_text(json.dumps({"connections": connections}))
    return path


def end(settings: dict[str, object], queue: str, name: str = "here", **options: object) -> End:
    """A queue over a connection; made when it is not there."""
    kind = str(settings["kind"])
    return End(
        connection=Connection(
            name=name,
            kind=kind,
            created_ms=0,
            settings={key: value for key, value in settings.items() if key != "kind"},
        ),
        system=SYSTEMS[kind],
        queue=queue,
        options={**CREATE.get(kind, {}), **options},
    )


@contextmanager
def opened(one: End) -> Iterator[Queue]:
    queue = one.opened(Services(client_id="tests"))
    try:
        yield queue
    finally:
        queue.close()


def send(one: End, messages: Sequence[Message | bytes]) -> None:
    """Put these into the queue, each of them for sure."""
    with opened(one) as queue:
        made = [Message(body=each) if isinstance(each, bytes) else each for each in messages]
        for start in range(0, len(made), 200):
            outcomes = queue.send(made[start : start + 200])
            assert all(isinstance(each, Delivered) for each in outcomes), outcomes


def drained(one: End, count: int, *, at_least: bool = False) -> list[Received]:
    """What the queue holds: taken out until there are `count`, and looked whether there are more.

    What is hidden in it is not waited for.
    """
    found: list[Received] = []
    quiet = 0
    with opened(one) as queue:
        while quiet < 2:
            page = queue.receive(100, 0.5 if len(found) >= count else RECEIVE_S_MAX / 2, 60.0)
            assert not isinstance(page, Failed), page
            quiet = 0 if page else quiet + 1
            queue.settle(page)
            found += page
    assert len(found) == count or (at_least and len(found) >= count), (len(found), count)
    return found


def bodies(received: Sequence[Received]) -> list[bytes]:
    return sorted(each.body for each in received)


def counted(one: End) -> int:
    """How many messages the queue says that it has."""
    with opened(one) as queue:
        found = queue.depth()  # type: ignore[attr-defined] # every system here can
        assert not isinstance(found, Failed), found
        total: int = found.total
        return total


def as_json(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


Make = Callable[[], End]

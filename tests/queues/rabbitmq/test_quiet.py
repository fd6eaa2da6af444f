"""What RabbitMQ's queues leave alone: the library until it is needed, and the user's log."""

import logging
import subprocess
import sys

import pytest

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Message
from eventpost.queues.rabbitmq import RabbitmqConnection
from tests.queues.rabbitmq.brokers import opened
from tests.services.ports import free_ports

CHECK = """
import sys
from eventpost.queues.kinds import connection_class, queue_system
connection_class("rabbitmq")(host="rabbit.example")
queue_system("rabbitmq")
loaded = {"aiormq", "pamqp", "yarl"} & set(sys.modules)
assert not loaded, loaded
"""


@pytest.mark.slow
def test_the_library_is_loaded_when_it_is_used() -> None:
    """Declaring connections and queues does not load the client library."""
    done = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_failures_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A failed connection is a value with evidence; the library's own lines about it are not
    logged besides, and those of somebody else's connections are."""
    [port] = free_ports(1)
    with caplog.at_level(logging.DEBUG):
        queue = opened(RabbitmqConnection(host="127.0.0.1", port=port), "songs")
        [outcome] = queue.send([Message(body=b"1")])
        queue.close()
        logging.getLogger("aiormq.connection").warning("somebody else's")

    assert isinstance(outcome, Failed)
    told = [each.message for each in caplog.records if each.name.startswith("aiormq")]
    assert told == ["somebody else's"]

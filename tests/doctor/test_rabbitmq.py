"""RabbitMQ's ladder on a real server: healthy over both entrances, and each fault by its name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eventpost.core.outcomes import DELIVERED
from eventpost.queues.interfaces import Depth, Measurable, Message
from tests.doctor.wards import connected, examined, refused_port, verdict
from tests.queues.rabbitmq.brokers import administer, opened
from tests.queues.rabbitmq.brokers import settings as administrator
from tests.services.rabbitmq import READER, STRANGER, USER, RabbitMQ
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow
Settings = dict[str, object]


def plain(rabbitmq: RabbitMQ, **more: object) -> Settings:
    return {"kind": "rabbitmq", "host": "127.0.0.1", "port": rabbitmq.ports["amqp"], **more}


def over_tls(rabbitmq: RabbitMQ, **more: object) -> Settings:
    port = rabbitmq.ports["amqps"]
    return {"kind": "rabbitmq", "host": "localhost", "port": port, "tls": True, **more}


def password(folder: Path, text: str) -> str:
    file = folder / "password"
    file.write_text(text)
    return f"file:{file}"


def pulled(connection: Settings, queue: str, **options: object) -> Settings:
    source: Settings = {
        "kind": "rabbitmq",
        "connection": "patient",
        "queue": queue,
        "topic": "songs",
    }
    if options:
        source["options"] = options
    return {
        "connections": {"patient": connection},
        "topics": {"songs": {}},
        "sources": {"jobs": source},
    }


@pytest.fixture
def some_queue(rabbitmq: RabbitMQ) -> str:
    """With one message."""
    name = fresh_name("queue")
    made = opened(administrator(rabbitmq), name, create=True)
    assert list(made.send([Message(body=b"a song")])) == [DELIVERED]
    made.close()
    return name


@pytest.fixture
def some_exchange(rabbitmq: RabbitMQ) -> str:
    name = fresh_name("exchange")
    administer(rabbitmq, lambda channel: channel.declare_exchange(name, durable=True))
    return name


def test_healthy(rabbitmq: RabbitMQ) -> None:
    """A server that can be used has no finding, with and without TLS."""
    assert verdict(connected(plain(rabbitmq))) == ("", "")
    assert verdict(connected(over_tls(rabbitmq, ca_file=str(rabbitmq.ca_file)))) == ("", "")


CASES: dict[str, tuple[tuple[str, str], Callable[[RabbitMQ, Path], Settings]]] = {
    "unknown authority": (("tls", "EP2105"), lambda server, _: over_tls(server)),
    "TLS to a plain port": (
        ("tls", "EP2109"),
        lambda server, _: over_tls(server, port=server.ports["amqp"]),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_connection(rabbitmq: RabbitMQ, tmp_path: Path, case: str) -> None:
    """Each fault ends the climb at its own rung."""
    wanted, new = CASES[case]

    assert verdict(connected(new(rabbitmq, tmp_path))) == wanted


def test_what_is_wrong_with_a_queue(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """A refused login, a virtual host and a queue that are not there are told apart."""
    queue = fresh_name("queue")
    wrong = plain(rabbitmq, user=USER, password=password(tmp_path, "wrong"))
    elsewhere = plain(rabbitmq, vhost="nowhere")

    assert verdict(examined(pulled(wrong, queue), "jobs")) == ("authentication", "EP4301")
    assert verdict(examined(pulled(elsewhere, queue), "jobs")) == ("vhost", "EP4303")
    assert verdict(examined(pulled(plain(rabbitmq), queue), "jobs")) == ("queue", "EP4307")


def test_a_stranger(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """Somebody who may log in and do nothing is refused at the queue, not at the login."""
    settings = plain(rabbitmq, user=STRANGER, password=password(tmp_path, STRANGER))

    found = examined(pulled(settings, fresh_name("queue")), "jobs")

    assert found.broken is not None
    assert found.broken.name == "queue"
    assert "authentication" in found.proven


def pushed(connection: Settings, address: str) -> Settings:
    out: Settings = {
        "endpoint_type": "rabbitmq",
        "endpoint": address,
        "connection": "patient",
        "topic": "songs",
    }
    return {
        "connections": {"patient": connection},
        "topics": {"songs": {}},
        "subscriptions": {"out": out},
    }


def test_each_permission_for_itself(rabbitmq: RabbitMQ, tmp_path: Path, some_queue: str) -> None:
    """Who may only read is well off as a source, and is told as a destination which permission on
    which exchange is missing; asking changes, takes and sends nothing."""
    reader = plain(rabbitmq, user=READER, password=password(tmp_path, READER))

    pulls = examined(pulled(reader, some_queue), "jobs")
    pushes = examined(pushed(reader, some_queue), "out")
    admin = examined(pulled(plain(rabbitmq), some_queue, create=True), "jobs")

    assert verdict(pulls) == ("", ""), pulls
    assert pulls.rungs[-1].detail == "send refused, receive allowed"
    assert verdict(pushes) == ("authorization", "EP4306"), pushes
    assert pushes.broken is not None
    assert "write on the exchange amq.default" in pushes.broken.detail
    assert verdict(admin) == ("", ""), admin
    assert admin.rungs[-1].detail == "send allowed, receive allowed, declare allowed"
    looking = opened(administrator(rabbitmq), some_queue)
    assert isinstance(looking, Measurable)
    assert looking.depth() == Depth(total=1)
    looking.close()


def test_an_exchange_that_may_not_be_written(
    rabbitmq: RabbitMQ, tmp_path: Path, some_exchange: str
) -> None:
    """The permission that is missing is told of the very exchange that is published to."""
    reader = plain(rabbitmq, user=READER, password=password(tmp_path, READER))

    found = examined(pushed(reader, f"{some_exchange}/blues"), "out")
    allowed = examined(pushed(plain(rabbitmq), f"{some_exchange}/blues"), "out")

    assert verdict(found) == ("authorization", "EP4306"), found
    assert found.broken is not None
    assert f"write on the exchange {some_exchange}" in found.broken.detail
    assert verdict(allowed) == ("", ""), allowed
    assert allowed.rungs[-1].detail == "send allowed"


def test_nobody_is_there() -> None:
    """A port where nobody listens is refused at the route."""
    with refused_port() as port:
        settings: Settings = {"kind": "rabbitmq", "host": "127.0.0.1", "port": port}
        assert verdict(connected(settings)) == ("route", "EP2004")

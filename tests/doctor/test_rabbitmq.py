"""RabbitMQ's ladder on a real server: healthy over both entrances, and each fault by its name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doctor.wards import connected, examined, refused_port, verdict
from tests.services.rabbitmq import STRANGER, USER, RabbitMQ
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


def test_nobody_is_there() -> None:
    """A port where nobody listens is refused at the route."""
    with refused_port() as port:
        settings: Settings = {"kind": "rabbitmq", "host": "127.0.0.1", "port": port}
        assert verdict(connected(settings)) == ("route", "EP2004")

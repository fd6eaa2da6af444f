"""The settings of a RabbitMQ connection: one server is meant, and half a set is an error."""

from pathlib import Path
from typing import Any

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.queues.kinds import connection_class, read_settings
from eventpost.queues.rabbitmq import RabbitmqConnection
from eventpost.queues.rabbitmq.settings import Server
from tests.services.certificates import Authority


def settings(**values: Any) -> RabbitmqConnection:
    return read_settings(values, RabbitmqConnection)


def test_the_kind_is_known() -> None:
    """A connection of the kind `rabbitmq` has these settings, and needs none of them."""
    assert connection_class("rabbitmq") is RabbitmqConnection
    assert settings().server() == Server(
        host="localhost", port=5672, vhost="/", user="guest", is_tls=False
    )
    assert settings().secret() == "guest"


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost", "user", "is_tls"),
    [
        ("amqp://rabbit.example", "rabbit.example", 5672, "/", "guest", False),
        ("amqp://rabbit.example/", "rabbit.example", 5672, "/", "guest", False),
        ("amqp://guest@rabbit.example:5673/%2F", "rabbit.example", 5673, "/", "guest", False),
        ("amqps://rabbit.example/radio", "rabbit.example", 5671, "radio", "guest", True),
        ("amqp://[::1]:5672/a%2Fb%25", "::1", 5672, "a/b%", "guest", False),
        ("amqp://gu%65st@rabbit.example", "rabbit.example", 5672, "/", "guest", False),
    ],
)
def test_a_url(url: str, host: str, port: int, vhost: str, user: str, is_tls: bool) -> None:
    """A URL says host, port, virtual host, user and TLS, as RabbitMQ's specification has it."""
    assert settings(url=url).server() == Server(
        host=host, port=port, vhost=vhost, user=user, is_tls=is_tls
    )


@pytest.mark.parametrize(
    "url", ["http://rabbit.example", "amqp://", "rabbit.example:5672", "amqp://rabbit.example:x"]
)
def test_a_url_of_something_else(url: str) -> None:
    """What is no URL of RabbitMQ's is refused, with an example of one."""
    with pytest.raises(InvalidRequest) as caught:
        settings(url=url)

    assert "amqp://USER@HOST:PORT/VHOST" in caught.value.fix


def test_a_password_in_a_url() -> None:
    """A URL that holds a password is refused, and the password is not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        settings(url="amqp://dj:crossroads@rabbit.example")

    assert "password: env:NAME" in caught.value.fix
    assert "crossroads" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"user": "dj"}, "password"),
        ({"url": "amqp://dj@rabbit.example"}, "password"),
        ({"password": "env:PASSWORD"}, "user"),
        ({"auth": "external", "tls": True}, "certificate_file"),
        ({"tls": True, "key_file": "key.pem"}, "certificate_file"),
    ],
)
def test_half_a_set(values: dict[str, Any], missing: str) -> None:
    """Half a set of credentials is an error that names the other half, never a guess."""
    with pytest.raises(InvalidRequest) as caught:
        settings(**values)

    assert caught.value.what.startswith(f"{missing} is missing")


@pytest.mark.parametrize(
    "values",
    [
        {"url": "amqp://rabbit.example", "host": "other.example"},
        {"url": "amqp://rabbit.example", "tls": True},
        {"ca_file": "ca.pem"},
        {"insecure": True},
        {"server_name": "rabbit"},
        {"auth": "external", "tls": True, "certificate_file": "me.pem", "user": "dj"},
    ],
)
def test_settings_that_contradict(values: dict[str, Any]) -> None:
    """What would be ignored is refused instead: a certificate without TLS protects nobody."""
    with pytest.raises(InvalidRequest) as caught:
        settings(**values)

    assert caught.value.code == "SettingsConflict"


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [("heartbeat_s", 1, 600), ("connect_timeout_s", 0.001, 60.0), ("port", 0, 65_535)],
)
def test_bounds(name: str, lowest: float, highest: float) -> None:
    """Every number has its bounds, and they are meant to be reached."""
    for good in (lowest, highest):
        settings(**{name: good})
    for bad in (lowest - 1, highest + 1):
        with pytest.raises(InvalidRequest):
            settings(**{name: bad})


def test_the_longest_virtual_host() -> None:
    """A virtual host's name may have 127 characters."""
    assert settings(vhost="v" * 127).server().vhost == "v" * 127
    with pytest.raises(InvalidRequest, match="vhost"):
        settings(vhost="v" * 128)


def test_the_password_is_read_anew(tmp_path: Path) -> None:
    """A password in a file is read at every use, and its absence names the file."""
    file = tmp_path / "password"
    file.write_text("crossroads\n")
    connection = settings(user="dj", password=f"file:{file}")
    assert connection.secret() == "crossroads"

    file.write_text("hellhound\n")
    assert connection.secret() == "hellhound"
    assert "hellhound" not in repr(connection)

    file.unlink()
    with pytest.raises(InvalidRequest, match=str(file)):
        connection.secret()


def test_the_identity_has_no_user() -> None:
    """The same queue has the same identity for every user, however the server is written."""
    one = settings(url="amqp://RABBIT.example/%2F").server()
    other = settings(host="rabbit.example", user="dj", password="env:P").server()

    assert one.identity == other.identity == "rabbit.example:5672/%2F"
    assert settings(vhost="radio").server().identity != one.identity


def test_tls_files(tmp_path: Path) -> None:
    """Files for TLS that can be used are; one that cannot is named, with the reason."""
    authority = Authority(tmp_path)
    mine = str(authority.issue(file_name="mine.pem"))
    settings(tls=True, ca_file=str(authority.ca_file), certificate_file=mine).tls_context()
    assert settings().tls_context() is None

    for name in ("ca_file", "certificate_file"):
        connection = settings(tls=True, **{name: str(tmp_path / "none.pem")})
        with pytest.raises(InvalidRequest, match=r"none\.pem"):
            connection.tls_context()

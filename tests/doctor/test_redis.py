"""The ladder of a Redis server, and of actors whose messages go there, against a real one."""

from pathlib import Path

import pytest

from tests.doctor.wards import connected, examined, refused_port, verdict
from tests.services.redis import PASSWORD, USER, Redis

pytestmark = pytest.mark.slow
Settings = dict[str, object]


def password(folder: Path, text: str) -> str:
    (folder / "password").write_text(text)
    return f"file:{folder / 'password'}"


def plain(redis: Redis, **more: object) -> Settings:
    return {"kind": "redis", "host": "127.0.0.1", "port": redis.ports["plain"], **more}


def over_tls(redis: Redis, **more: object) -> Settings:
    return {"kind": "redis", "host": "localhost", "port": redis.ports["tls"], "tls": True, **more}


def calling(connection: Settings, **endpoint: object) -> Settings:
    """A subscription whose events call an actor over that connection."""
    return {
        "connections": {"station": connection},
        "topics": {"songs": {}},
        "subscriptions": {
            "work": {
                "topic": "songs",
                "endpoint_type": "dramatiq",
                "endpoint": "default",
                "connection": "station",
                **endpoint,
            }
        },
    }


def test_healthy(redis: Redis, tmp_path: Path) -> None:
    """A server that can be used has no finding, with and without TLS and a login."""
    login = {"user": USER, "password": password(tmp_path, PASSWORD)}
    assert verdict(connected(plain(redis))) == ("", "")
    assert verdict(connected(over_tls(redis, ca_file=str(redis.ca_file), **login))) == ("", "")
    assert verdict(examined(calling(plain(redis)), "work")) == ("", "")


def test_what_is_wrong(redis: Redis, tmp_path: Path) -> None:
    """Each fault ends the climb at its own rung, of the connection and of who uses it."""
    wrong = plain(redis, user=USER, password=password(tmp_path, "wrong"))

    assert verdict(connected(wrong)) == ("authentication", "EP5031")
    assert verdict(connected(over_tls(redis))) == ("tls", "EP2105")
    with refused_port() as nobody:
        assert verdict(connected(plain(redis, port=nobody)))[0] == "route"
    assert verdict(examined(calling(wrong), "work")) == ("server", "EP5031")
    refused = calling(plain(redis), endpoint_options={"actor": "play", "args": [""]})
    assert verdict(examined(refused, "work"))[0] == "settings"

"""Redis behaves as tests of it need it."""

import ssl

import pytest
from redis import Redis as Client
from redis import exceptions

from tests.services.fixtures import OwnServices
from tests.services.redis import READER, USER, ForgetfulRedis, Redis
from tests.services.running import Running
from tests.services.service import fresh_name


@pytest.mark.slow
def test_what_is_written_is_read(redis: Redis) -> None:
    """What one client writes another reads, over TLS too, where its certificate is checked."""
    name = fresh_name("song")
    trusting = {"ssl_ca_certs": str(redis.ca_file), "ssl_min_version": ssl.TLSVersion.TLSv1_2}
    with Client.from_url(redis.url) as writing, Client.from_url(redis.tls_url, **trusting) as safe:
        writing.set(name, "blues")

        assert safe.get(name) == b"blues"
    with (
        Client.from_url(redis.tls_url) as strict,
        pytest.raises(exceptions.ConnectionError, match="CERT"),
    ):
        strict.get(name)


@pytest.mark.slow
def test_permissions_count(redis: Redis) -> None:
    """One user may only read, and a wrong password opens nothing."""
    with Client.from_url(redis.url_for(READER, READER)) as reading:
        assert reading.get(fresh_name("song")) is None
        with pytest.raises(exceptions.NoPermissionError):
            reading.set(fresh_name("song"), "blues")
    stranger = Client.from_url(redis.url_for(USER, "wrong"))
    with stranger, pytest.raises(exceptions.AuthenticationError):
        stranger.ping()


@pytest.mark.slow
def test_it_keeps_what_it_answered(own_redis: Running[Redis]) -> None:
    """What was written is there after a kill, and after a stop, on the same port."""
    with Client.from_url(own_redis.service.url) as client:
        client.set("song", "blues")
        own_redis.kill()
        with pytest.raises(exceptions.ConnectionError):
            client.get("song")
        own_redis.start()
        assert client.get("song") == b"blues"
        own_redis.restart()
        assert client.get("song") == b"blues"


@pytest.mark.slow
def test_when_it_syncs(redis: Redis, own_service: OwnServices) -> None:
    """One syncs each write, another once a second, as it comes."""
    forgetful = own_service(ForgetfulRedis)

    assert b"always" in redis.control("CONFIG", "GET", "appendfsync")
    assert b"everysec" in forgetful.service.control("CONFIG", "GET", "appendfsync")

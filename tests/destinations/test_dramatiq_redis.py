"""Tasks to a real Redis: what its broker finds there, and a finding for whatever goes wrong."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Delivered, Evidence, Failed, Outcome
from eventpost.credentials.redis import RedisConnection
from eventpost.destinations.dramatiq_redis import RedisSender, probe
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message
from tests.services.ports import free_ports
from tests.services.redis import PASSWORD, READER, USER, Redis
from tests.services.running import Running
from tests.services.service import fresh_name

Secret = Callable[[str], str]


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Secret:
    """A secret, by reference."""

    def refer(value: str) -> str:
        monkeypatch.setenv("REDIS_TEST_SECRET", value)
        return "env:REDIS_TEST_SECRET"

    return refer


def settings(port: int, **words: Any) -> RedisConnection:
    return RedisConnection(**{"host": "127.0.0.1", "port": port, **words})


def message(queue: str = "default") -> Message:
    task: dramatiq.Message[None] = dramatiq.Message(
        queue_name=queue, actor_name="play", args=("Stones in My Passway",), kwargs={}, options={}
    )
    return Message(body=task.encode())


def send(connection: RedisConnection, namespace: str = "", count: int = 1) -> list[Outcome]:
    sender = RedisSender(connection, namespace)
    try:
        return list(sender.send([message() for _ in range(count)]))
    finally:
        sender.close()


def evidence(outcome: Outcome) -> Evidence:
    assert isinstance(outcome, Failed), outcome
    assert outcome.evidence.system == "redis"
    assert not outcome.final
    return outcome.evidence


def finding(connection: RedisConnection) -> str | None:
    """What sending comes to; a probe sees the same where the way or the login is at fault."""
    return classify(evidence(send(connection)[0]))


@pytest.mark.slow
class TestRealServer:
    """Against a real Redis."""

    def test_tasks_are_where_the_stock_broker_looks(self, redis: Redis) -> None:
        """Each task is one message of Dramatiq's own broker, with an id of that broker's."""
        namespace = fresh_name("n")

        outcomes = send(settings(redis.ports["plain"]), namespace, count=3)

        broker = RedisBroker(url=redis.url, namespace=namespace, middleware=[])
        broker.declare_queue("default")
        consumer = broker.consume("default", prefetch=10)
        found = [next(consumer) for _ in range(3)]
        assert all(isinstance(one, Delivered) for one in outcomes)
        assert {one.args for one in found if one is not None} == {("Stones in My Passway",)}
        assert len({one.options["redis_message_id"] for one in found if one is not None}) == 3
        broker.close()

    def test_over_tls_with_a_login(self, redis: Redis, secret: Secret) -> None:
        """Over TLS, with a user and a password, to a server whose authority is named."""
        connection = settings(
            redis.ports["tls"],
            host="localhost",
            tls=True,
            ca_file=str(redis.ca_file),
            user=USER,
            password=secret(PASSWORD),
        )

        assert isinstance(send(connection, fresh_name("n"))[0], Delivered)
        assert [each.failed for each in probe(connection)] == [None]

    def test_an_unknown_authority(self, redis: Redis) -> None:
        """A certificate of an authority that nobody named is told as such."""
        connection = settings(redis.ports["tls"], host="localhost", tls=True)

        found = evidence(send(connection)[0])

        assert found.stage == "tls"
        assert classify(found) == "EP2105"

    def test_a_wrong_password(self, redis: Redis, secret: Secret) -> None:
        """A refused login is told as such, and by the probe as well."""
        connection = settings(redis.ports["plain"], user=USER, password=secret("wrong"))

        (rung,) = probe(connection)
        assert finding(connection) == "EP5031"
        assert rung.failed is not None
        assert classify(rung.failed.evidence) == "EP5031"

    def test_a_user_who_may_only_read(self, redis: Redis, secret: Secret) -> None:
        """Who may log in and not enqueue is told that it is a permission."""
        connection = settings(redis.ports["plain"], user=READER, password=secret(READER))

        assert finding(connection) == "EP5032"

    def test_what_a_server_refuses(self, own_redis: Running[Redis]) -> None:
        """A key of another kind, no memory, a replica, a replica without its primary: each has its
        finding, and after each the same connection works again."""
        server = own_redis.service
        connection = settings(server.ports["plain"])
        assert isinstance(send(connection)[0], Delivered)
        cases = [
            ("EP5033", ["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
            ("EP5034", ["REPLICAOF 127.0.0.1 1"], ["REPLICAOF NO ONE"]),
            (
                "EP5035",
                ["CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"],
                ["REPLICAOF NO ONE"],
            ),
            (
                "EP5030",
                ["DEL dramatiq:default", "SET dramatiq:default x"],
                ["DEL dramatiq:default"],
            ),
        ]
        for code, before, after in cases:
            for command in before:
                server.control(*command.split())
            assert finding(connection) == code
            for command in after:
                server.control(*command.split())
            assert isinstance(send(connection)[0], Delivered)


@contextmanager
def answering(answer: bytes, peers: list[socket.socket] | None = None) -> Iterator[int]:
    """A server that says this to whatever it is asked first; b"" says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = [] if peers is None else peers

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                held.append(peer)
                if answer:
                    peer.recv(65_536)
                    peer.sendall(answer)
                    peer.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for peer in held:
            peer.close()


def test_a_server_that_reads_its_data() -> None:
    """While it loads, a server is told to be not ready yet."""
    with answering(b"-LOADING Redis is loading the dataset in memory\r\n" * 4) as port:
        assert finding(settings(port)) == "EP5035"


def test_nobody_listens() -> None:
    """A refused connection is told as one, with its address."""
    [port] = free_ports(1)

    found = evidence(send(settings(port))[0])

    assert (found.stage, found.fault, found.address) == ("connect", "refused", f"127.0.0.1:{port}")


def test_a_silent_server() -> None:
    """Who never answers is waited for as long as the connection says, and no longer."""
    with answering(b"") as port:
        found = evidence(send(settings(port, request_timeout_s=0.1))[0])

    assert (found.stage, found.fault) == ("wait", "timed_out")


def test_nothing_is_repeated_below_the_grid() -> None:
    """A request that broke is not sent again by the client: it may have arrived, and the grid's own
    schedule says when it is tried again."""
    peers: list[socket.socket] = []
    with answering(b"-ERR no\r\n", peers) as port:
        outcome = send(settings(port))[0]

    assert isinstance(outcome, Failed)
    assert len(peers) == 1


def test_a_name_that_does_not_exist() -> None:
    """A host without an address is told as one."""
    found = evidence(send(settings(1, host="nowhere.invalid"))[0])

    assert found.stage == "name"


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"user": "dj"}, "password is missing"),
        ({"host": ""}, "host"),
        ({"ca_file": "/ca.pem"}, "tls: true"),
        ({"insecure": True}, "tls: true"),
        ({"tls": True, "key_file": "/key.pem"}, "certificate_file"),
    ],
)
def test_settings_that_cannot_be_used(words: dict[str, Any], told: str) -> None:
    """Half a login, and certificates without TLS, are refused before anything is tried."""
    with pytest.raises((InvalidRequest, ValueError), match=told):
        RedisConnection(**words)


def test_a_file_or_a_secret_that_is_not_there() -> None:
    """Nothing is tried without the certificates and the secret that are named."""
    with pytest.raises(InvalidRequest, match="ca_file"):
        RedisSender(settings(1, tls=True, ca_file="/nowhere/ca.pem"), "")
    with pytest.raises(InvalidRequest, match="REDIS_NO_SUCH_SECRET"):
        RedisSender(settings(1, password="env:REDIS_NO_SUCH_SECRET"), "")

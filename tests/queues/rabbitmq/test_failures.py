"""Whatever is wrong with a RabbitMQ server or our settings is a value with a finding, in seconds.

Against the real server; a local socket speaks where the real one cannot be made to.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.outcomes import Delivered, Evidence, Failed, Fault, Stage
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.classify import classify
from eventpost.diagnosis.services.rabbitmq import FINDINGS
from eventpost.queues.interfaces import Message, Queue
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.failures import reply_code
from eventpost.queues.rabbitmq.settings import REQUEST_S_MAX
from tests.queues.rabbitmq.brokers import RabbitmqHarness, administer, opened, settings
from tests.services.certificates import Authority
from tests.services.ports import free_ports
from tests.services.rabbitmq import READER, STRANGER, RabbitMQ
from tests.services.service import fresh_name

SONG = Message(body=b"Cross Road Blues")


def check_all(queue: Queue, rung: str, finding: str) -> Evidence:
    """Sending, receiving and probing fail, alike, with the finding; raising nothing."""
    [outcome] = queue.send([SONG])
    page = queue.receive(1, 0.1, 0)
    *good, bad = queue.probe()
    queue.close()

    failed = bad.failed
    assert isinstance(outcome, Failed)
    assert isinstance(page, Failed)
    assert failed is not None
    assert [each.failed for each in good] == [None] * len(good)
    assert bad.name == rung
    for each, operation in ((outcome, "send"), (page, "receive"), (failed, "probe")):
        assert (each.evidence.system, each.evidence.operation) == ("rabbitmq", operation)
        assert classify(each.evidence) == finding, each.evidence
        assert not each.final
    return outcome.evidence


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A secret, by reference."""

    def refer(secret: str) -> str:
        name = f"RABBITMQ_TEST_SECRET_{secret}"
        monkeypatch.setenv(name, secret)
        return f"env:{name}"

    return refer


# --- on the way -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_name_that_does_not_exist(rabbitmq: RabbitMQ) -> None:
    """A host that nobody knows is told as one."""
    queue = opened(settings(rabbitmq, host="rabbit.invalid"), "jobs")

    assert check_all(queue, "name", "EP2001").stage is Stage.NAME


def test_nobody_listens() -> None:
    """A port where nobody listens is refused, with its address."""
    [port] = free_ports(1)
    queue = opened(from_port(port), "jobs")

    assert check_all(queue, "connect", "EP2004").address == f"127.0.0.1:{port}"


def from_port(port: int, **more: Any) -> Any:
    from eventpost.queues.rabbitmq import RabbitmqConnection

    return RabbitmqConnection(host="127.0.0.1", port=port, **more)


@contextmanager
def peer(answer: bytes, *, closes: bool = True) -> Iterator[int]:
    """Somebody who reads a little, says this to everyone, and hangs up or falls silent."""
    is_over = threading.Event()
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not is_over.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                kept.append(client)
                client.recv(8)
                client.sendall(answer)
                if closes:
                    client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            is_over.set()
            thread.join()
            for client in kept:
                client.close()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x03\x01\x00\x00", b"SSH-2.0-OpenSSH_9.2\r\n"],
)
def test_somebody_else_listens(answer: bytes) -> None:
    """Who speaks something else is told apart from a server that fails, with his first bytes."""
    with peer(answer) as port:
        evidence = check_all(opened(from_port(port), "jobs"), "protocol", "EP4321")

    assert repr(answer[:8]) in evidence.detail


def test_hanging_up() -> None:
    """Who closes without a word has closed."""
    with peer(b"") as port:
        evidence = check_all(opened(from_port(port), "jobs"), "protocol", "EP2205")

    assert evidence.fault is Fault.CLOSED


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"", b"\x01\x00\x00\x00\x00\x02\x00\x00\x0a"])
def test_a_silent_peer(answer: bytes) -> None:
    """A peer that never answers, or never to the end, costs the connect timeout and no more."""
    with peer(answer, closes=False) as port:
        timeouts = {"connect_timeout_s": 0.5, "request_timeout_s": REQUEST_S_MAX}
        queue = opened(from_port(port, **timeouts), "jobs")
        evidence = check_all(queue, "protocol", "EP2203")

    assert evidence.fault is Fault.TIMED_OUT
    assert evidence.elapsed_ms >= 500


# --- TLS ------------------------------------------------------------------------------------------


def tls(server: RabbitMQ, **more: Any) -> Any:
    given = {"host": "localhost", "port": server.ports["amqps"], "tls": True}
    return settings(server, **(given | more))


@pytest.mark.slow
def test_over_tls(rabbitmq: RabbitMQ) -> None:
    """With the authority named, and the server's name where it differs, TLS just works."""
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        harness.settings = tls(rabbitmq, ca_file=str(rabbitmq.ca_file))
        queue = harness.new_queue()
        assert isinstance(queue.send([SONG])[0], Delivered)
        assert [rung.name for rung in queue.probe() if rung.failed is None] == [
            *("credentials", "name", "connect", "tls", "protocol", "authentication", "vhost"),
            "queue",
        ]
        harness.settings = tls(rabbitmq, host="127.0.0.1", insecure=True)
        assert isinstance(harness.new_queue().send([SONG])[0], Delivered)


@pytest.mark.slow
def test_plaintext_to_a_tls_port(rabbitmq: RabbitMQ) -> None:
    """A plain greeting to a TLS port is told as that, and not as a fault of the server."""
    queue = opened(settings(rabbitmq, port=rabbitmq.ports["amqps"]), "jobs")

    check_all(queue, "protocol", "EP4319")


@pytest.mark.slow
def test_tls_to_a_plain_port(rabbitmq: RabbitMQ) -> None:
    """TLS to the plain port is told as that."""
    queue = opened(tls(rabbitmq, port=rabbitmq.ports["amqp"]), "jobs")

    assert check_all(queue, "tls", "EP4320").fault is Fault.NOT_TLS


@pytest.mark.slow
def test_an_unknown_authority(rabbitmq: RabbitMQ) -> None:
    """A certificate of an authority that is not trusted is refused, and named as that."""
    check_all(opened(tls(rabbitmq), "jobs"), "tls", "EP2105")


@pytest.mark.slow
def test_a_wrong_name(rabbitmq: RabbitMQ) -> None:
    """A certificate for somebody else is refused, and named as that."""
    ca_file = str(rabbitmq.ca_file)
    queue = opened(tls(rabbitmq, ca_file=ca_file, server_name="rabbit.example"), "jobs")

    check_all(queue, "tls", "EP2106")


@pytest.mark.slow
def test_a_tls_file_that_is_gone(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """A file that cannot be read is named; it is looked for anew at every connecting."""
    file = tmp_path / "ca.pem"
    connection = tls(rabbitmq, ca_file=str(file))

    assert str(file) in check_all(opened(connection, "jobs"), "tls", "EP4326").detail

    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        harness.settings = connection
        queue = harness.new_queue()
        assert isinstance(queue.send([SONG])[0], Failed)
        file.write_bytes(rabbitmq.ca_file.read_bytes())
        assert isinstance(queue.send([SONG])[0], Delivered)


def test_a_certificate_of_the_client(authority: Authority) -> None:
    """The client's certificate is shown to a server that asks for one."""
    mine = authority.issue("client.example", file_name="client.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca_file)
    context.load_cert_chain(authority.issue(file_name="asks.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    shown: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with context.wrap_socket(client, server_side=True) as session:
                session.recv(8)
                shown.append(session.getpeercert())

        thread = threading.Thread(target=serve)
        thread.start()
        queue = opened(
            from_port(
                listener.getsockname()[1],
                tls=True,
                auth="external",
                ca_file=str(authority.ca_file),
                certificate_file=str(mine),
            ),
            "jobs",
        )
        queue.send([SONG])
        thread.join()
        queue.close()

    assert ("DNS", "client.example") in shown[0]["subjectAltName"]


# --- the login ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("user", [READER, "nobody"])
def test_a_wrong_password(rabbitmq: RabbitMQ, reference: Callable[[str], str], user: str) -> None:
    """A wrong password, or no such user, is a refused login, and no secret is told."""
    queue = opened(settings(rabbitmq, user=user, password=reference("hellhound")), "jobs")

    assert "hellhound" not in repr(check_all(queue, "authentication", "EP4301"))


def test_a_password_that_is_not_set() -> None:
    """A reference to nothing is told before anything is tried."""
    queue = opened(from_port(1, user="dj", password="env:RABBITMQ_NOT_SET_ANYWHERE"), "jobs")

    evidence = check_all(queue, "credentials", FINDINGS["SECRET_MISSING"])

    assert evidence.stage is Stage.CREDENTIALS
    assert "RABBITMQ_NOT_SET_ANYWHERE" in evidence.detail


@pytest.mark.slow
def test_a_password_that_is_changed(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """A password in a file is read anew at every attempt: putting it right is enough."""
    secret = tmp_path / "password"
    secret.write_text("wrong")
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        harness.new_queue().send([SONG])
        connection = settings(rabbitmq, user=READER, password=f"file:{secret}")
        queue = opened(connection, harness.name)

        assert isinstance(queue.receive(1, 0, 0), Failed)
        secret.write_text(READER)
        page = queue.receive(1, 10, 0)

        queue.close()
        assert isinstance(page, list)
        assert len(page) == 1


@pytest.mark.slow
def test_a_way_to_log_in_that_is_not_offered(rabbitmq: RabbitMQ, authority: Authority) -> None:
    """Without its plugin RabbitMQ takes no certificate for a login, and says what it takes."""
    mine = str(authority.issue("client.example", file_name="me.pem"))
    ca_file = str(rabbitmq.ca_file)
    connection = tls(rabbitmq, auth="external", certificate_file=mine, ca_file=ca_file)

    assert "PLAIN" in check_all(opened(connection, "jobs"), "authentication", "EP4302").detail


@pytest.mark.slow
def test_no_such_virtual_host(rabbitmq: RabbitMQ) -> None:
    """A virtual host that is not there is told as that: the library says "invalid frame"."""
    evidence = check_all(opened(settings(rabbitmq, vhost="radio"), "jobs"), "vhost", "EP4303")

    assert "radio" in evidence.detail


@pytest.mark.slow
def test_virtual_hosts_that_are_closed(rabbitmq: RabbitMQ, reference: Callable[[str], str]) -> None:
    """A virtual host that is closed to the user, or full, is told as that."""
    vhost = fresh_name("host")
    rabbitmq.control("add_vhost", vhost)
    try:
        stranger = settings(rabbitmq, vhost=vhost, user=STRANGER, password=reference(STRANGER))
        check_all(opened(stranger, "jobs"), "vhost", "EP4304")

        rabbitmq.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        rabbitmq.control("set_vhost_limits", "-p", vhost, '{"max-connections": 0}')
        full = settings(rabbitmq, vhost=vhost)
        assert "limit" in check_all(opened(full, "jobs"), "vhost", "EP4305").detail
    finally:
        rabbitmq.control("delete_vhost", vhost)


# --- queues and exchanges -------------------------------------------------------------------------


@pytest.mark.slow
def test_no_such_queue(rabbitmq: RabbitMQ) -> None:
    """A queue that is not there is named, by sending as well as by receiving."""
    name = fresh_name("missing")

    assert name in check_all(opened(settings(rabbitmq), name), "queue", "EP4307").detail


@pytest.mark.slow
def test_no_such_exchange(rabbitmq: RabbitMQ) -> None:
    """An exchange that is not there is named."""
    queue = opened(settings(rabbitmq), "no-such-exchange/a")

    [outcome] = queue.send([SONG])
    probed = queue.probe()[-1]
    queue.close()

    assert isinstance(outcome, Failed)
    assert probed.failed is not None
    for failed in (outcome, probed.failed):
        assert classify(failed.evidence) == "EP4308"
        assert "no-such-exchange" in failed.evidence.detail


@pytest.mark.slow
def test_a_queue_of_another_make(rabbitmq: RabbitMQ) -> None:
    """A queue that was declared otherwise is left as it is, and the difference is told."""
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        harness.new_queue().send([SONG])
        queue = harness.new_queue(queue_type="quorum")

        [outcome] = queue.send([SONG])
        page = queue.receive(1, 0, 0)

        for failed in (outcome, page):
            assert isinstance(failed, Failed)
            assert classify(failed.evidence) == "EP4311"
            assert "x-queue-type" in failed.evidence.detail
        assert isinstance(harness.new_queue(create=False).send([SONG])[0], Delivered)


@pytest.mark.slow
def test_permissions(rabbitmq: RabbitMQ, reference: Callable[[str], str]) -> None:
    """What a user may not do fails with the permission that is missing; what he may goes on."""
    with RabbitmqHarness(rabbitmq, queue_type="classic") as harness:
        harness.new_queue().send([SONG])
        reader = settings(rabbitmq, user=READER, password=reference(READER))
        queue = opened(reader, harness.name)

        [outcome] = queue.send([SONG])
        page = queue.receive(1, 10, 0)
        assert isinstance(outcome, Failed)
        assert classify(outcome.evidence) == "EP4306"
        assert isinstance(page, list)
        assert [each.body for each in page] == [SONG.body]
        queue.settle(page)
        queue.close()

        harness.new_queue().send([SONG])
        stranger = settings(rabbitmq, user=STRANGER, password=reference(STRANGER))
        queue = opened(stranger, harness.name)
        for _ in range(2):
            refused = queue.receive(1, 0, 0)
            assert isinstance(refused, Failed)
            assert classify(refused.evidence) == "EP4306"
        queue.close()

        queue = opened(reader, fresh_name("own"), create=True)
        [outcome] = queue.send([SONG])
        queue.close()
        assert isinstance(outcome, Failed)
        assert classify(outcome.evidence) == "EP4306"


@pytest.mark.slow
def test_a_permission_that_comes(rabbitmq: RabbitMQ) -> None:
    """After a permission was given the next receive works: no old refusal is told again."""
    user, secret = fresh_name("user"), "s"
    rabbitmq.control("add_user", user, secret)
    rabbitmq.control("set_permissions", user, "^$", "^$", "^$")
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            RabbitmqHarness(rabbitmq, queue_type="classic") as harness,
        ):
            patch.setenv("RABBITMQ_TEST_SECRET", secret)
            harness.new_queue().send([SONG])
            connection = settings(rabbitmq, user=user, password="env:RABBITMQ_TEST_SECRET")
            queue = opened(connection, harness.name)
            assert isinstance(queue.receive(1, 0, 0), Failed)

            rabbitmq.control("set_permissions", user, "^$", "^$", ".*")
            page = queue.receive(1, 10, 0)

            queue.close()
            assert isinstance(page, list), page
            assert len(page) == 1
    finally:
        rabbitmq.control("delete_user", user)


@pytest.mark.slow
def test_somebody_elses_queue(rabbitmq: RabbitMQ) -> None:
    """A queue that another connection has for itself is told as that."""
    name = fresh_name("exclusive")

    async def hold(channel: Any) -> Evidence:
        import asyncio

        await channel.declare_queue(name, exclusive=True)
        queue = opened(settings(rabbitmq), name)
        return await asyncio.to_thread(check_all, queue, "queue", "EP4310")

    assert name in administer(rabbitmq, hold).detail


@pytest.mark.slow
def test_nothing_to_receive_from(rabbitmq: RabbitMQ) -> None:
    """From an exchange alone nothing can be received, and that is said without asking."""
    queue = opened(settings(rabbitmq), "amq.topic/a")

    page = queue.receive(1, 5, 0)
    queue.close()

    assert isinstance(page, Failed)
    assert classify(page.evidence) == "EP4325"
    assert not page.is_counted


# --- what cannot be had from one server in a test -------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("NOT_FOUND - queue 'jobs' in vhost '/' process is stopped by supervisor", "QUEUE_DOWN"),
        ("NOT_FOUND - home node 'b' of durable queue 'j' is down or inaccessible", "QUEUE_DOWN"),
        ("INTERNAL_ERROR - failed to perform operation due to timeout", "INTERNAL_ERROR"),
        (
            "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out.",
            "CONSUMER_TIMEOUT",
        ),
        ("PRECONDITION_FAILED - unknown delivery tag 7", "PRECONDITION_FAILED"),
        ("RESOURCE_ERROR - no more room", "RESOURCE_ERROR"),
        ("something in no form at all", "UNKNOWN"),
    ],
)
def test_recorded_sentences(sentence: str, code: str) -> None:
    """RabbitMQ's sentences, as its source has them, become codes that have findings."""
    assert reply_code(sentence) == code
    evidence = failures.failed(failures.answered(code, sentence), "send", 0.0).evidence
    assert classify(evidence) == FINDINGS.get(code, FINDINGS[""])


def test_every_code_of_ours_has_its_finding() -> None:
    """Every name that we give to a failure leads to a finding that exists, and to its own."""
    ours = {value for name, value in vars(failures).items() if name.isupper() and name == value}

    assert ours
    assert ours <= set(FINDINGS)
    assert set(FINDINGS.values()) <= set(catalogue.all_codes())

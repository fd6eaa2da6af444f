"""What stands between us and SQS: each failure on the way, through the real client."""

import ssl
import time

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Failed, Stage
from eventpost.credentials.aws_settings import CONNECT_S_MAX, REQUEST_S_MAX
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Address, Message
from eventpost.queues.kinds import Services, connection_class, open_queue, read_settings
from eventpost.queues.sqs import SqsQueue
from tests.queues.sqs.answering import QUEUE, AnsweringServer, connection, queue
from tests.queues.sqs.raw import (
    Behaviour,
    RawServer,
    closing,
    hanging_up,
    resetting,
    saying,
    silent,
)
from tests.services.certificates import Authority

pytestmark = pytest.mark.slow

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"


def quick(endpoint_url: str) -> SqsQueue:
    """For a peer that never answers."""
    return within(endpoint_url, 0.5)


def within(endpoint_url: str, seconds_max: float) -> SqsQueue:
    bounds = {"connect_timeout_s": seconds_max, "request_timeout_s": seconds_max}
    settings = connection(endpoint_url, **bounds)
    opened = open_queue("sqs", settings, Address(name=QUEUE), Services())
    assert isinstance(opened, SqsQueue)
    return opened


def evidence(endpoint_url: str, *, seconds_max: float = CONNECT_S_MAX) -> Evidence:
    (outcome,) = within(endpoint_url, seconds_max).send([Message(body=b"x")])
    assert isinstance(outcome, Failed)
    assert outcome.evidence.system == "sqs"
    assert outcome.evidence.operation == "send"
    assert not outcome.final
    return outcome.evidence


def test_a_name_that_does_not_exist() -> None:
    """A misspelt host is told as one."""
    assert classify(evidence("http://sqs.nowhere.invalid")) == "EP2001"


def test_a_port_where_nobody_listens() -> None:
    """A refused connection names the address that was asked."""
    with RawServer(silent) as server:
        port = server.port
    found = evidence(f"http://127.0.0.1:{port}")

    assert classify(found) == "EP2004"
    assert found.address == f"127.0.0.1:{port}"


WAYS: dict[str, tuple[Behaviour, str, str]] = {
    "no answer": (silent, "http", "EP2203"),
    "no handshake": (silent, "https", "EP2101"),
    "closed": (closing, "http", "EP2205"),
    "reset": (resetting, "http", "EP2204"),
    "closed in the handshake": (hanging_up, "https", "EP2102"),
    "plain text on a port for TLS": (saying(b"\x15\x03\x01\x00\x02\x02\x46"), "http", "EP2211"),
    "another protocol": (saying(b"220 mail.station.example ESMTP\r\n"), "http", "EP2208"),
    "TLS on a port for plain text": (saying(b"HTTP/1.1 400 Bad\r\n\r\n"), "https", "EP2109"),
    "a broken answer": (saying(JSON_HEAD + b'Content-Length: 100\r\n\r\n{"a"'), "http", "EP2207"),
    "an answer that is no JSON": (
        saying(JSON_HEAD + b"Content-Length: 5\r\n\r\nhello"),
        "http",
        "EP2208",
    ),
}


@pytest.mark.parametrize(("behave", "scheme", "finding"), WAYS.values(), ids=WAYS.keys())
def test_each_failure_on_the_way(behave: Behaviour, scheme: str, finding: str) -> None:
    """How far a request came, and what happened there, leads to the finding of its own."""
    with RawServer(behave) as server:
        url = f"{scheme}://127.0.0.1:{server.port}"
        found = evidence(url, seconds_max=0.5 if behave is silent else CONNECT_S_MAX)

    assert classify(found) == finding, found


def test_an_unknown_authority(authority: Authority) -> None:
    """A certificate of an authority that this machine does not know is told as that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue())
    with RawServer(silent, context) as server:
        found = evidence(f"https://localhost:{server.port}")

    assert classify(found) == "EP2105"
    assert found.stage is Stage.TLS


def test_a_certificate_of_another_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of another name is told as that, and not as an unknown authority."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("sqs.station.example", file_name="other.pem"))
    with RawServer(silent, context) as server:
        found = evidence(f"https://127.0.0.1:{server.port}")

    assert classify(found) == "EP2106"


def test_an_endpoint_that_is_none() -> None:
    """An endpoint that cannot be one is a setting of ours to mend, and nothing is tried."""
    found = evidence("http://")

    assert found.stage is Stage.SETTINGS
    assert classify(found) == "EP2704"


def test_half_a_set_of_keys() -> None:
    """Half a set of keys is refused when it is declared, and names what is missing."""
    wanted = connection_class("aws")
    with pytest.raises(InvalidRequest, match="secret_access_key"):
        read_settings({"access_key_id": "AKIATESTSTATION00000"}, wanted)


def test_a_poll_waits_longer_than_a_request(server: AnsweringServer) -> None:
    """The time for an answer is counted beside the wait of a long poll: a quiet queue is no
    failure."""
    with RawServer(silent) as peer:
        began_s = time.monotonic()
        page = quick(f"http://127.0.0.1:{peer.port}").receive(1, 1, 60)
        elapsed_s = time.monotonic() - began_s

    assert isinstance(page, Failed)
    assert elapsed_s > 1.4
    assert page.evidence.elapsed_ms >= 1_400


def test_a_call_is_tried_once_more(server: AnsweringServer) -> None:
    """Unless the connection says otherwise a call is tried a second time, and not again: it ends
    before its time is over, and whoever called tries later."""
    with RawServer(closing) as peer:
        settings = connection(
            f"http://127.0.0.1:{peer.port}", attempts_max=0, request_timeout_s=REQUEST_S_MAX
        )
        (outcome,) = open_queue("sqs", settings, Address(name=QUEUE), Services()).send(
            [Message(body=b"x")]
        )

    assert isinstance(outcome, Failed)
    assert peer.accepted_count == 2


def test_a_probe_tells_how_far_it_came() -> None:
    """A probe shows what held on the way, and stops where it broke."""
    with RawServer(silent) as server:
        port = server.port
    rungs = list(quick(f"http://127.0.0.1:{port}").probe())

    assert [rung.name for rung in rungs] == ["credentials", "name", "connect"]
    assert [rung.failed is None for rung in rungs] == [True, True, False]


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither evidence nor a probe nor a queue shows a secret key."""
    monkeypatch.setenv("SQS_TEST_SECRET", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    with RawServer(closing) as server:
        one = quick(f"http://127.0.0.1:{server.port}")
        shown = f"{one.send([Message(body=b'x')])} {one.probe()} {one.identity} {one!r}"

    assert "wJalrXUtnFEMI" not in shown


def test_the_endpoint_of_a_url() -> None:
    """A URL of another host than the region's is where requests go, unless the connection says."""
    with RawServer(closing) as server:
        endpoint = f"127.0.0.1:{server.port}"
        url = f"http://{endpoint}/123456789012/jobs"
        opened = open_queue("sqs", connection(""), Address(name=url), Services())
        (outcome,) = opened.send([Message(body=b"x")])

    assert isinstance(outcome, Failed)
    assert outcome.evidence.address == endpoint
    assert queue("http://127.0.0.1:1", url).identity == opened.identity

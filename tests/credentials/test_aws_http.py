"""What is sent to SQS goes through kept sockets of our own; all else stays with botocore."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from eventpost.credentials import aws
from eventpost.credentials.aws_settings import AwsConnection, Keys
from tests.credentials.conftest import Surround
from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY

KEYS = Keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
BODY = json.dumps({"QueueUrls": ["songs"]}).encode()


class Service:
    """Answers every request alike, and knows over which connections they came."""

    def __init__(self) -> None:
        self.peers: list[object] = []
        self.signatures: list[str] = []
        self.closes_silently = False
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                service.peers.append(self.client_address)
                service.signatures.append(self.headers["Authorization"])
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(BODY)))
                self.end_headers()
                self.wfile.write(BODY)
                self.close_connection = service.closes_silently

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    aws.close_all()
    made.close()


def ask(session: aws.Session, times: int) -> None:
    for _ in range(times):
        assert session.request("sqs", "list_queues")["QueueUrls"] == ["songs"]


def test_a_connection_is_kept(service: Service) -> None:
    """Requests one after the other go over one connection of ours, each with its signature."""
    session = aws.session(AwsConnection(region=REGION, endpoint_url=service.url), KEYS)
    ask(session, 3)

    assert len(session._direct) == 1
    assert len(service.peers) == 3
    assert len(set(service.peers)) == 1
    assert all(each.startswith("AWS4-HMAC-SHA256 ") for each in service.signatures)


def test_a_connection_that_the_service_closed(service: Service) -> None:
    """A connection that was closed after an answer costs nothing but another one."""
    service.closes_silently = True
    session = aws.session(AwsConnection(region=REGION, endpoint_url=service.url), KEYS)
    ask(session, 3)

    assert len(set(service.peers)) == 3


def test_a_session_that_was_closed_opens_anew(service: Service) -> None:
    """Closing lets go of the connections; a later request has another."""
    session = aws.session(AwsConnection(region=REGION, endpoint_url=service.url), KEYS)
    ask(session, 1)
    session.close()
    ask(session, 1)

    assert len(set(service.peers)) == 2


def test_a_proxy_is_botocores_matter(service: Service, surround: Surround) -> None:
    """Where the environment names a proxy botocore sends itself, through it."""
    surround(HTTP_PROXY=service.url)
    elsewhere = "http://sqs.example.invalid"
    session = aws.session(AwsConnection(region=REGION, endpoint_url=elsewhere), KEYS)
    ask(session, 1)

    assert session._direct == []
    assert len(service.peers) == 1


def test_other_services_are_botocores_matter(service: Service) -> None:
    """Only what sends many small requests goes another way."""
    session = aws.session(AwsConnection(region=REGION, endpoint_url=service.url), KEYS)
    session.client("lambda")

    assert session._direct == []

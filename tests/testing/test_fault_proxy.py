"""The proxy that lets go wrong what it is told to, between real clients and real servers."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.exceptions import ConnectionClosedError as BotoClosedError

from eventpost.testing import Answer, Receiver
from eventpost.testing.fault_proxy import (
    HANG,
    HANG_AFTER,
    RESET_AFTER,
    RESET_BEFORE,
    FaultProxy,
    Slow,
)
from eventpost.testing.proxied_http import Asked
from eventpost.testing.service_refusals import (
    AZURE_BUSY,
    AZURE_FORBIDDEN,
    SQS_FORBIDDEN,
    SQS_THROTTLED,
    aws_refusal,
    sqs_entries_refused,
)
from tests.patience import PATIENCE_S
from tests.services.azurite import Azurite
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY, Moto
from tests.services.service import fresh_name

LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
def proxy(receiver: Receiver) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", receiver.port) as proxy:
        yield proxy


def ask(
    http: httpx.Client, proxy: FaultProxy, operation: str = "DeleteMessage", **more: Any
) -> httpx.Response:
    headers = {"X-Amz-Target": f"AmazonSQS.{operation}"}
    return http.post(f"http://127.0.0.1:{proxy.port}/hook", headers=headers, **more)


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


# --- HTTP, by request -----------------------------------------------------------------------------


def test_it_passes_on_what_no_rule_concerns(
    http: httpx.Client, proxy: FaultProxy, receiver: Receiver
) -> None:
    """Requests and answers go through byte for byte, many over one connection."""
    receiver.always = Answer(201, b"\x00\xff" * 50_000, {"X-Seen": "yes"})
    body = bytes(range(256)) * 400

    answers = [ask(http, proxy, content=body) for _ in range(3)]

    assert [one.status_code for one in answers] == [201] * 3
    assert answers[0].content == b"\x00\xff" * 50_000
    assert answers[0].headers["X-Seen"] == "yes"
    assert [one.body for one in receiver.requests] == [body] * 3
    assert proxy.connection_count == 1


def test_one_operation_alone_is_refused(
    http: httpx.Client, proxy: FaultProxy, receiver: Receiver
) -> None:
    """A rule concerns one operation; the others, and this one after `mend`, go through."""
    rule = proxy.when("DeleteMessage", Answer(403, b"no"))

    refused, passed = ask(http, proxy), ask(http, proxy, "ReceiveMessage")

    assert (refused.status_code, refused.content) == (403, b"no")
    assert passed.status_code == 200
    assert len(receiver.requests) == 1
    assert len(rule.hits) == 1
    proxy.mend(rule)
    assert ask(http, proxy).status_code == 200
    assert [one.operation for one in proxy.requests] == [
        "DeleteMessage",
        "ReceiveMessage",
        "DeleteMessage",
    ]
    assert len(proxy.asked_for("DeleteMessage")) == 2


def test_a_rule_is_bounded(http: httpx.Client, proxy: FaultProxy) -> None:
    """A rule holds after so many requests, for so many of them, and no longer than it may."""
    proxy.when("DeleteMessage", Answer(503), skip=1, times=2)
    proxy.when("SendMessage", Answer(503), for_s=0.0)

    assert [ask(http, proxy).status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    assert ask(http, proxy, "SendMessage").status_code == 200


def test_the_latest_rule_decides(http: httpx.Client, proxy: FaultProxy) -> None:
    """Of several rules the latest that matches decides; functions match, and choose."""
    proxy.when("DeleteMessage", Answer(500))
    proxy.when(lambda asked: b"bad" in asked.body, lambda asked: Answer(400, asked.body))

    assert ask(http, proxy, content=b"good").status_code == 500
    assert ask(http, proxy, content=b"bad").content == b"bad"


@pytest.mark.parametrize(("reaction", "arrivals"), [(RESET_BEFORE, 0), (RESET_AFTER, 1)])
def test_a_reset(
    http: httpx.Client, proxy: FaultProxy, receiver: Receiver, reaction: Any, arrivals: int
) -> None:
    """A reset comes before the server knows, or after it has acted; then all goes on."""
    proxy.when("DeleteMessage", reaction, times=1)

    with pytest.raises(httpx.ReadError):
        ask(http, proxy)

    assert len(receiver.requests) == arrivals
    assert ask(http, proxy).status_code == 200


@pytest.mark.parametrize(("reaction", "arrivals"), [(HANG, 0), (HANG_AFTER, 1)])
def test_silence(
    http: httpx.Client, proxy: FaultProxy, receiver: Receiver, reaction: Any, arrivals: int
) -> None:
    """A request that hangs ends with the client's patience, and with its connection alone."""
    rule = proxy.when("DeleteMessage", reaction)

    with pytest.raises(httpx.ReadTimeout):
        ask(http, proxy, timeout=0.1)

    assert len(proxy.wait_for_hits(rule)) == 1
    assert len(receiver.requests) == arrivals
    assert ask(http, proxy, "SendMessage").status_code == 200


def test_latency(http: httpx.Client, proxy: FaultProxy, receiver: Receiver) -> None:
    """Latency lies before or after the deed of the server, or on every request."""
    proxy.when("DeleteMessage", Slow(before_s=0.05, after_s=0.05), times=1)
    begin_s = time.monotonic()
    assert ask(http, proxy).status_code == 200
    assert time.monotonic() - begin_s >= 0.1

    proxy.latency_s = 0.05
    begin_s = time.monotonic()
    assert ask(http, proxy).status_code == 200
    assert time.monotonic() - begin_s >= 0.05
    assert len(receiver.requests) == 2


def test_it_is_frozen(http: httpx.Client, proxy: FaultProxy, receiver: Receiver) -> None:
    """While it is frozen nothing goes through and nothing ends; what waited then goes on."""
    ask(http, proxy)
    proxy.freeze()
    with pytest.raises(httpx.ReadTimeout):
        ask(http, proxy, timeout=0.1)
    assert len(receiver.requests) == 1

    proxy.thaw()

    assert ask(http, proxy).status_code == 200
    until(lambda: len(receiver.requests) == 3)


def test_it_is_cut_and_refuses(http: httpx.Client, proxy: FaultProxy) -> None:
    """A cut ends what is under way; while it refuses nobody connects; then it is back there."""
    port = proxy.port
    proxy.when("DeleteMessage", HANG)
    errors: list[Exception] = []

    def hang() -> None:
        with pytest.raises(httpx.ReadError) as caught:
            ask(http, proxy)
        errors.append(caught.value)

    thread = threading.Thread(target=hang)
    thread.start()
    proxy.wait_for("DeleteMessage")
    proxy.cut()
    thread.join(PATIENCE_S)
    assert len(errors) == 1
    proxy.refuse()
    with pytest.raises(httpx.ConnectError):
        ask(http, proxy, "SendMessage")
    proxy.listen()

    assert proxy.port == port
    assert ask(http, proxy, "SendMessage").status_code == 200


def test_chunked_both_ways(http: httpx.Client) -> None:
    """Chunked bodies go through as they are, and rules see them whole."""
    with (
        Scripted(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        ) as server,
        FaultProxy("127.0.0.1", server.port) as proxy,
    ):
        assert ask(http, proxy, content=iter([b"one", b"two"])).content == b"abcde"
        assert ask(http, proxy).status_code == 204
        assert ask(http, proxy).content == b"until the end"

    assert proxy.requests[0].body == b"onetwo"
    assert b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n" in proxy.requests[0].raw


def test_a_client_that_waits_with_its_body(proxy: FaultProxy, receiver: Receiver) -> None:
    """`Expect: 100-continue` is answered, so that the body comes."""
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as client:
        client.sendall(b"POST /hook HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")

    assert receiver.requests[0].body == b"body"
    assert "expect" not in receiver.requests[0].headers


def test_a_server_that_is_gone(http: httpx.Client, proxy: FaultProxy, receiver: Receiver) -> None:
    """When the server takes no connections, clients of the proxy are reset."""
    receiver.refuse()

    with pytest.raises(httpx.TransportError):
        ask(http, proxy)


class Scripted:
    """A server that gives its answers one after the other, and closes after the last."""

    def __init__(self, *answers: bytes) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._answers = answers
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            for answer in self._answers:
                self._read_request(connection)
                connection.sendall(answer)

    def _read_request(self, connection: socket.socket) -> None:
        read = b""
        while b"\r\n\r\n" not in read or (b"chunked" in read and not read.endswith(LAST_CHUNK)):
            piece = connection.recv(4096)
            assert piece
            read += piece

    def __enter__(self) -> "Scripted":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._listening.close()


# --- TCP ------------------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while piece := connection.recv(4096):
                connection.sendall(piece)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(PATIENCE_S)


def test_plain_tcp(echo: int) -> None:
    """Bytes of any protocol go through, held up while it is frozen, and cut as a reset."""
    with (
        FaultProxy("127.0.0.1", echo, speaks="tcp") as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as client,
    ):
        client.sendall(b"\x00AMQP")
        assert client.recv(100) == b"\x00AMQP"

        proxy.freeze()
        client.sendall(b"held")
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(100)
        client.settimeout(PATIENCE_S)
        proxy.thaw()
        assert client.recv(100) == b"held"

        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        assert proxy.connection_count == 0


def test_stranded(echo: int) -> None:
    """What was open goes silent for good, its end included, and is not closed; new connections are
    as ever."""
    with (
        FaultProxy("127.0.0.1", 1, speaks="tcp") as proxy,
    ):
        proxy.lead_to("127.0.0.1", echo)
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as client:
            client.sendall(b"before")
            assert client.recv(100) == b"before"

            proxy.strand()
            client.sendall(b"after")
            client.shutdown(socket.SHUT_WR)
            client.settimeout(0.1)
            with pytest.raises(TimeoutError):
                client.recv(100)
            with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as other:
                other.sendall(b"anew")
                assert other.recv(100) == b"anew"
            proxy.cut()


def test_plain_tcp_ends_in_order(echo: int) -> None:
    """A half that ends is passed on as such: the other half goes on to its own end."""
    with (
        FaultProxy("127.0.0.1", echo, speaks="tcp") as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as client,
    ):
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)

        assert client.recv(100) == b"last words"
        assert client.recv(100) == b""
        until(lambda: proxy.connection_count == 0)


def test_it_ends_without_a_word(
    http: httpx.Client, proxy: FaultProxy, echo: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that are reset, and those that have just come when it is closed, leave nothing in
    the log."""
    proxy.when("DeleteMessage", RESET_BEFORE)
    with pytest.raises(httpx.ReadError):
        ask(http, proxy)
    for _ in range(20):
        with FaultProxy("127.0.0.1", echo, speaks="tcp") as passing:
            clients = [socket.create_connection(("127.0.0.1", passing.port)) for _ in range(5)]
        for client in clients:
            client.close()
    proxy.close()

    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


# --- real services and their clients --------------------------------------------------------------


def error_code(error: HttpResponseError) -> object:
    """What the storage library adds to the class of `azure.core`."""
    return vars(error)["error_code"]


@pytest.mark.slow
def test_azure_storage(azurite: Azurite) -> None:
    """Azure's own client names what is refused, and only the delete is; the message stays."""
    with FaultProxy("127.0.0.1", azurite.ports["queue"]) as proxy:
        url = azurite.queue_url.replace(str(azurite.ports["queue"]), str(proxy.port))
        queue = QueueClient(
            url, fresh_name("queue"), credential=azurite.key, retry_total=0, logging_enable=False
        )
        with queue:
            queue.create_queue()
            queue.send_message("hello")
            message = next(queue.receive_messages(messages_per_page=1, visibility_timeout=1))
            proxy.when("DeleteMessage", AZURE_FORBIDDEN)
            with pytest.raises(HttpResponseError) as forbidden:
                queue.delete_message(message)
            proxy.when("DeleteMessage", AZURE_BUSY)
            with pytest.raises(HttpResponseError) as busy:
                queue.delete_message(message)
            proxy.mend()
            message = queue.update_message(message, visibility_timeout=0)
            assert queue.peek_messages()[0].content == "hello"
            queue.get_queue_properties()
            queue.delete_queue()

    assert forbidden.value.status_code == 403
    assert error_code(forbidden.value) == "AuthorizationFailure"
    assert "not authorized" in str(forbidden.value)
    assert error_code(busy.value) == "ServerBusy"
    operations = [one.operation for one in proxy.requests]
    assert operations == [
        *("CreateQueue", "PutMessage", "GetMessages", "DeleteMessage", "DeleteMessage"),
        *("UpdateMessage", "PeekMessages", "GetQueueMetadata", "DeleteQueue"),
    ]


@pytest.mark.slow
def test_sqs(moto: Moto) -> None:
    """AWS's own client names what is refused, entry by entry in a batch."""
    with FaultProxy("127.0.0.1", moto.ports["http"]) as proxy:
        sqs = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{proxy.port}",
            region_name=moto.region,
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
        )
        url = sqs.create_queue(QueueName=fresh_name("queue"))["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        [message] = sqs.receive_message(QueueUrl=url)["Messages"]
        arguments = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        codes = []
        for refusal in (SQS_FORBIDDEN, SQS_THROTTLED, aws_refusal("InternalError", 500)):
            proxy.when("DeleteMessage", refusal)
            with pytest.raises(ClientError) as caught:
                sqs.delete_message(**arguments)
            codes.append(caught.value.response["Error"]["Code"])
        proxy.when("DeleteMessage", RESET_AFTER)
        with pytest.raises(BotoClosedError):
            sqs.delete_message(**arguments)
        proxy.when("DeleteMessageBatch", sqs_entries_refused(ids=["b"]))
        answer = sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": name, "ReceiptHandle": "any"} for name in ("a", "b")],
        )
        proxy.mend()
        sqs.close()

    assert codes == ["AccessDenied", "RequestThrottled", "InternalError"]
    assert [one["Id"] for one in answer["Successful"]] == ["a"]
    assert [(one["Id"], one["Code"]) for one in answer["Failed"]] == [("b", "InternalError")]


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "operation"),
    [
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"Action=X&a=b", "X"),
        ("POST", "/2015-03-31/functions/f/invocations?Qualifier=1", {}, b"{}", "Invoke"),
        ("DELETE", "/a/q/messages", {"x-ms-version": "1"}, b"", "ClearMessages"),
        ("PUT", "/a/q?comp=metadata", {"x-ms-version": "1"}, b"", "SetQueueMetadata"),
        ("GET", "/healthz", {}, b"", ""),
    ],
)
def test_operations(
    method: str, target: str, headers: dict[str, str], body: bytes, operation: str
) -> None:
    """An operation is known by what each service's protocol puts it into."""
    assert Asked(method, target, headers, body, b"").operation == operation


def test_a_refusal_in_the_query_protocol() -> None:
    """Whoever asks in the query protocol is refused in XML."""
    reaction = SQS_FORBIDDEN(Asked("POST", "/", {}, b"", b""))

    assert reaction.status == 403
    assert b"<Code>AccessDenied</Code>" in reaction.body

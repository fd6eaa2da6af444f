"""The connections to Azure Storage: how far a request came, in time, and as nobody else."""

import base64
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from eventpost.core.outcomes import Delivered, Evidence, Failed, Fault, Stage
from eventpost.credentials.azure import Session
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message, Timeouts
from eventpost.queues.storagequeue import StorageQueue
from eventpost.queues.storagequeue.account import leave, take
from eventpost.testing.receiver import CLOSE, HANG, RESET, Answer
from tests.patience import NEVER_S, PATIENCE_S
from tests.queues.storagequeue.azure import (
    HELD,
    NO_MESSAGES,
    STORAGE_HEADERS,
    AzureHarness,
    Storage,
    queue_at,
    session_on,
    settings,
)
from tests.services.azurite import KEY, OTHER_KEY, Azurite, AzuriteWithTokens, token

pytestmark = pytest.mark.slow
SHORT = Timeouts(connect_s=0.5, request_s=0.8)


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage(NO_MESSAGES) as storage:
        yield storage


@pytest.fixture
def opened() -> Iterator[Callable[..., StorageQueue]]:
    """Makes queues, and closes them when the test is over."""
    with contextlib.ExitStack() as stack:

        def open_queue(session: Session, name: str = "jobs", **options: Any) -> StorageQueue:
            queue = queue_at(session, name, **options)
            stack.callback(queue.close)
            return queue

        yield open_queue


Opened = Callable[..., StorageQueue]


def failing(queue: StorageQueue) -> Evidence:
    """The evidence of a receive that fails."""
    answer = queue.receive(1, 0.0, 30.0)
    assert isinstance(answer, Failed), answer
    return answer.evidence


# --- how far it came ------------------------------------------------------------------------------


def test_nobody_listens(storage: Storage, opened: Opened) -> None:
    """A refused connection names the address that refused it."""
    session = storage.session()
    storage.refuse()

    found = failing(opened(session))

    assert classify(found) == "EP2004"
    assert found.address == f"127.0.0.1:{storage.port}"
    assert found.system == "storagequeue"


def test_a_name_that_does_not_exist(storage: Storage, opened: Opened) -> None:
    """A misspelt account is told as a name that is not found."""
    found = failing(opened(storage.session(queue_url="http://nosuch.invalid/station")))

    assert (found.stage, classify(found)) == (Stage.NAME, "EP2001")


def test_a_reset_without_an_answer(storage: Storage, opened: Opened) -> None:
    """On a fresh connection a reset is a failure: the service may have acted, and nothing is sent
    twice behind anybody's back."""
    storage.always = RESET

    found = failing(opened(storage.session()))

    assert (found.stage, found.fault, classify(found)) == (Stage.WAIT, Fault.RESET, "EP2204")
    assert found.reconnect_count == 0
    assert len(storage.asked) == 1


def test_a_kept_connection_that_was_closed(storage: Storage, opened: Opened) -> None:
    """A connection that was kept and is found closed is no failure: the request goes out again."""
    queue = opened(storage.session())
    assert queue.receive(1, 0.0, 30.0) == []
    storage.script(CLOSE)

    assert queue.receive(1, 0.0, 30.0) == []

    assert len(storage.asked) == 3


def test_a_kept_connection_and_a_fresh_one(storage: Storage, opened: Opened) -> None:
    """When the fresh connection fails too, that is told, and that there were two."""
    queue = opened(storage.session())
    assert queue.receive(1, 0.0, 30.0) == []
    storage.always = CLOSE

    found = failing(queue)

    assert (found.fault, found.reconnect_count) == (Fault.CLOSED, 1)
    assert len(storage.asked) == 3


def test_an_answer_that_is_no_xml(storage: Storage, opened: Opened) -> None:
    """A success that cannot be read is none."""
    storage.always = Answer(200, b"<QueueMessagesList><", STORAGE_HEADERS)

    found = failing(opened(storage.session()))

    assert (found.stage, found.fault) == (Stage.READ, Fault.MALFORMED)
    assert classify(found) == "EP2208"


@pytest.mark.parametrize("status", [200, 201, 204])
@pytest.mark.parametrize("content", [{"Content-Type": "text/html"}, {}], ids=["a page", "bare"])
def test_a_page_instead_of_a_queue(
    storage: Storage, opened: Opened, status: int, content: dict[str, str]
) -> None:
    """A captive portal that says that all is well is not taken for an empty queue, and what was
    sent to it is not taken for stored, nor what was deleted there for deleted."""
    storage.always = Answer(status, b"<p>Log in</p>" if status == 200 else b"", content)
    queue = opened(storage.session())

    answers: list[object] = [queue.receive(1, 0.0, 30.0), queue.send([Message(body=b"")])[0]]
    answers += [queue.settle([HELD])[0], queue.extend([HELD], 30.0)[0]]

    for answer in answers:
        assert isinstance(answer, Failed), answer
        assert classify(answer.evidence) == "EP4260"


# --- in time --------------------------------------------------------------------------------------


class Peer:
    """Listens, and does with each connection what it is told, on threads of its own."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._script = script
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._connections.append(connection)
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._script(connection)

    def close(self) -> None:
        self._listening.close()
        for connection in self._connections:
            connection.close()


@pytest.fixture
def peers() -> Iterator[Callable[[Callable[[socket.socket], None]], Peer]]:
    with contextlib.ExitStack() as stack:

        def make(script: Callable[[socket.socket], None]) -> Peer:
            return stack.enter_context(contextlib.closing(Peer(script)))

        yield make


Peers = Callable[[Callable[[socket.socket], None]], Peer]


def silent(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


def trickling(connection: socket.socket) -> None:
    """An answer of which each byte comes in time, and whose end never comes."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    beat = threading.Event()
    while not beat.wait(0.1):
        connection.sendall(b" ")


@pytest.mark.parametrize(
    ("scheme", "script", "stage", "finding"),
    [
        ("http", silent, Stage.WAIT, "EP2203"),
        ("https", silent, Stage.TLS, "EP2101"),
        ("http", trickling, Stage.READ, "EP2206"),
    ],
    ids=["no answer", "no TLS", "an answer that trickles"],
)
def test_a_call_ends_in_time(
    storage: Storage,
    opened: Opened,
    peers: Peers,
    scheme: str,
    script: Callable[[socket.socket], None],
    stage: Stage,
    finding: str,
) -> None:
    """Whatever hangs for good, a call ends by its timeouts, and says where it hung."""
    peer = peers(script)
    endpoint = f"{scheme}://{peer.authority}/station"

    began_s = time.monotonic()
    found = failing(opened(storage.session(queue_url=endpoint, timeouts=SHORT)))
    elapsed_s = time.monotonic() - began_s

    assert (found.stage, found.fault) == (stage, Fault.TIMED_OUT)
    assert classify(found) == finding
    assert found.address == peer.authority
    assert elapsed_s >= 0.4
    assert found.elapsed_ms <= elapsed_s * 1000 + 1


def test_more_calls_than_requests_at_once(storage: Storage, opened: Opened) -> None:
    """When requests hang for good, one that finds no place is answered all the same: it was not
    sent, does not count as an attempt, and names the bound."""
    storage.always = HANG
    queue = opened(storage.session(timeouts=Timeouts(connect_s=0.3, request_s=0.6)), requests_max=1)

    first, second, third = queue.send([Message(body=b"")] * 3)

    assert isinstance(first, Failed)
    assert isinstance(second, Failed)
    assert isinstance(third, Failed)
    assert [one.evidence.stage for one in (first, second)] == [Stage.WAIT] * 2
    assert (third.evidence.stage, classify(third.evidence)) == (Stage.SETTINGS, "EP2705")
    assert [one.is_counted for one in (first, second, third)] == [True, True, False]
    assert "requests_max" in third.evidence.detail
    assert len(storage.asked) == 2
    storage.release()


def test_closing_answers_whoever_waits(storage: Storage, opened: Opened) -> None:
    """When a queue is closed, a call that hangs is answered at once."""
    storage.always = HANG
    queue = opened(storage.session(timeouts=Timeouts(request_s=NEVER_S)))
    answers: list[object] = []
    caller = threading.Thread(target=lambda: answers.append(queue.receive(1, 0.0, 30.0)))
    caller.start()
    storage.wait_for(1)

    queue.close()

    caller.join(PATIENCE_S)
    assert not caller.is_alive()
    [answer] = answers
    assert isinstance(answer, Failed)
    assert answer.evidence.fault is Fault.CLOSED
    storage.release()


# --- TLS and tokens -------------------------------------------------------------------------------


class Token:
    """A credential that gives the same token again and again."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken(self._text, int(time.time()) + 3600)


class NoToken:
    """A credential that finds nobody to be."""

    def get_token(self, *_: str, **__: object) -> AccessToken:
        from azure.identity import CredentialUnavailableError

        raise CredentialUnavailableError(message="no managed identity endpoint found.")


@pytest.fixture
def trusted(
    azurite_with_tokens: AzuriteWithTokens, monkeypatch: pytest.MonkeyPatch
) -> AzuriteWithTokens:
    """Azurite over TLS, with its authority among those that the system trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(azurite_with_tokens.ca_file))
    return azurite_with_tokens


def with_token(azurite: Azurite, credential: object) -> Session:
    return Session(settings(account_url=azurite.queue_url), credential)


def test_tokens_over_tls(trusted: AzuriteWithTokens, opened: Opened) -> None:
    """A token credential works over TLS with an authority of one's own, and the probe sees each
    rung."""
    queue = opened(with_token(trusted, Token(token())), "tokens", create="auto")

    assert isinstance(queue.send([Message(body=b"a song")])[0], Delivered)
    rungs = queue.probe()

    assert [rung.name for rung in rungs if rung.failed] == []
    assert [rung.name for rung in rungs] == [
        *("credentials", "name", "connect", "tls", "authentication", "properties", "peek"),
    ]
    told = {rung.name: rung.detail for rung in rungs}
    assert told["credentials"].startswith("Token (")
    assert ", valid until 20" in told["credentials"]
    assert told["name"] == "127.0.0.1 is 127.0.0.1 (private)"
    assert told["tls"].startswith("TLSv1.")


@pytest.mark.parametrize(
    ("wrong", "finding"),
    [
        ({"audience": "https://vault.azure.net"}, "EP4207"),
        ({"issuer": "https://login.example/"}, "EP4207"),
        ({"expires_s": -60}, "EP4204"),
        ({"not_before_s": 600}, "EP4207"),
    ],
)
def test_a_token_that_is_refused(
    trusted: AzuriteWithTokens, opened: Opened, wrong: dict[str, Any], finding: str
) -> None:
    """A token for another service, an old one and one of the future are refused by the service, and
    the probe stops at authentication."""
    queue = opened(with_token(trusted, Token(token(**wrong))))

    found = failing(queue)
    *_, last = queue.probe()

    assert found.stage is Stage.ANSWER
    assert classify(found) == finding, found.detail
    assert last.name == "authentication"
    assert last.failed is not None
    assert last.failed.evidence.status == 403


def test_no_token_is_to_be_had(trusted: AzuriteWithTokens, opened: Opened) -> None:
    """When the chain finds nobody, nothing is sent, and the first rung says so."""
    queue = opened(with_token(trusted, NoToken()))

    found = failing(queue)
    [rung] = queue.probe()

    assert found.stage is Stage.CREDENTIALS
    assert "no managed identity endpoint found" in found.detail
    assert classify(found).startswith("EP46")
    assert rung.name == "credentials"
    assert rung.failed is not None


def test_a_token_never_travels_in_the_clear(azurite: Azurite, opened: Opened) -> None:
    """Over plain http a token is not sent at all."""
    found = failing(opened(with_token(azurite, Token(token()))))

    assert (found.stage, classify(found)) == (Stage.SETTINGS, "EP4611")


def test_an_unknown_authority(azurite_with_tokens: AzuriteWithTokens, opened: Opened) -> None:
    """A certificate of an authority that we do not know is told as that, by the probe too."""
    queue = opened(session_on(azurite_with_tokens))

    found = failing(queue)
    *good, last = queue.probe()

    assert (found.stage, classify(found)) == (Stage.TLS, "EP2105")
    assert [rung.name for rung in good] == ["credentials", "name", "connect"]
    assert last.name == "tls"
    assert last.failed is not None
    assert classify(last.failed.evidence) == "EP2105"


def test_plain_http_to_a_tls_port(azurite_with_tokens: AzuriteWithTokens, opened: Opened) -> None:
    """An endpoint that should begin with https is told as such."""
    endpoint = azurite_with_tokens.queue_url.replace("https:", "http:")

    found = failing(opened(session_on(azurite_with_tokens, queue_url=endpoint)))

    assert found.stage in (Stage.WAIT, Stage.READ)
    assert classify(found) in {"EP2211", "EP2205", "EP2204"}


def test_tls_to_a_plain_port(azurite: Azurite, opened: Opened) -> None:
    """An endpoint that should begin with http is told as such."""
    endpoint = azurite.queue_url.replace("http:", "https:")

    found = failing(opened(session_on(azurite, queue_url=endpoint)))

    assert classify(found) == "EP2109"


# --- as nobody else, and by which way -------------------------------------------------------------


def test_the_environment_does_not_change_who_we_are(
    storage: Storage, opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A `.netrc` does not replace the credential, although the library below would let it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))

    assert opened(storage.session()).receive(1, 0.0, 30.0) == []

    [asked] = storage.asked
    assert asked.headers["authorization"].startswith("SharedKey station:")


def test_through_a_proxy(storage: Storage, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go through the proxy of the environment, with its credentials; failures name it and
    not its password."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pa%20ss@127.0.0.1:{storage.port}")
    queue = opened(storage.session(queue_url="http://station.example/station"))

    assert queue.receive(1, 0.0, 30.0) == []
    storage.refuse()
    found = failing(queue)

    [asked] = storage.asked
    assert asked.path.startswith("http://station.example/station/jobs/messages")
    expected = base64.b64encode(b"user:pa ss").decode()
    assert asked.headers["proxy-authorization"] == f"Basic {expected}"
    assert found.proxy == f"127.0.0.1:{storage.port}"
    assert classify(found) == "EP2010"
    rungs = {rung.name: rung for rung in queue.probe()}
    assert "tls" not in rungs
    assert rungs["connect"].failed is not None


def test_a_proxy_that_asks_who_we_are(
    opened: Opened, storage: Storage, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses the tunnel with 407 is told apart from the account."""

    def asking(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        connection.close()

    peer = peers(asking)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{peer.authority}")
    session = storage.session(queue_url="https://station.example/station")

    found = failing(opened(session))

    assert (found.stage, found.status, classify(found)) == (Stage.PROXY, 407, "EP2011")
    assert found.proxy == peer.authority


# --- one session for a connection -----------------------------------------------------------------


def test_queues_of_a_connection_share_its_session(storage: Storage) -> None:
    """All queues of one connection use one session, until the last of them is closed."""
    session = storage.session()
    first, second = queue_at(session, "first"), queue_at(session, "second")
    assert first.receive(1, 0.0, 30.0) == []
    shared = take(session)
    assert second.receive(1, 0.0, 30.0) == []

    first.close()
    first.close()
    assert second.receive(1, 0.0, 30.0) == []
    assert take(session) is shared
    second.close()
    leave(session)
    leave(session)
    leave(session)  # nobody has it any more: nothing happens
    fresh = take(session)
    assert fresh is not shared
    leave(session)


def test_a_secret_that_comes_later(
    storage: Storage, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that cannot be read is a failure that names its reference; once it is there, the
    same queue works."""
    session = Session(settings(connection_string="env:KEY_OF_THE_STATION"))
    queue = opened(session)
    found = failing(queue)
    assert found.stage is Stage.CREDENTIALS
    assert "KEY_OF_THE_STATION is not set" in found.detail
    assert queue.identity == "storagequeue:env:KEY_OF_THE_STATION/jobs"

    known = os.environ[storage.session().settings.connection_string.removeprefix("env:")]
    monkeypatch.setenv("KEY_OF_THE_STATION", known)

    assert queue.receive(1, 0.0, 30.0) == []
    assert queue.identity == f"storagequeue:{storage.url}/station/jobs"


def test_a_key_that_is_rotated(
    azurite: Azurite, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is replaced where its reference points is used by the next request."""
    with AzureHarness(azurite) as harness:
        reference = session_on(azurite).settings.connection_string.removeprefix("env:")
        good = os.environ[reference]
        monkeypatch.setenv("ROTATED", good.replace(KEY, OTHER_KEY))
        queue = harness.at(Session(settings(connection_string="env:ROTATED")))
        assert classify(failing(queue)) == "EP4203"

        monkeypatch.setenv("ROTATED", good)

        assert queue.receive(1, 0.0, 30.0) == []


FORKING = """
import os, sys
sys.path.insert(0, os.getcwd())
from eventpost.credentials.azure import AzureStorageConnection
from eventpost.queues.interfaces import Address, Message
from eventpost.queues.kinds import Services
from eventpost.queues.storagequeue import new_queue

def make():
    connection = AzureStorageConnection(connection_string="env:STATION")
    return new_queue(connection, Address(name=sys.argv[1]), Services())

mine = make()
print(mine.send([Message(body=b"parent")]), flush=True)
child = os.fork()
if child == 0:
    print(make().send([Message(body=b"child")]), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(mine.send([Message(body=b"parent again")]), flush=True)
"""


def test_a_forked_child_has_its_own_session(azurite: Azurite) -> None:
    """A child opens connections of its own, and its parent's go on."""
    with AzureHarness(azurite) as harness:
        told = subprocess.run(
            [sys.executable, "-c", FORKING, harness.name],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={
                **os.environ,
                "PYTHONWARNINGS": "ignore",
                "STATION": azurite.connection_string,
            },
        )
        bodies = {
            base64.b64decode(message.content)
            for message in harness.plain.peek_messages(max_messages=5)
        }

    assert told.returncode == 0, told.stderr
    assert bodies == {b"parent", b"child", b"parent again"}

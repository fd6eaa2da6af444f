"""The namespaces protocol over HTTP: what it takes, what it answers, what it refuses."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from eventpost.config.settings import PullSettings, Settings
from eventpost.core.limits import Limits
from eventpost.formats import sas
from eventpost.grid.limits import GridLimits
from eventpost.testing import Receiver
from tests.server.running import Served, served, until

TOPIC, NAME = "songs", "blues"
BATCH = "application/cloudevents-batch+json; charset=utf-8"
STRUCTURED = "application/cloudevents+json; charset=utf-8"
DECLARED = {"name": NAME, "topic": TOPIC, "endpointType": "pull"}
VERSION = "api-version=2024-06-01"
WAIT_S = 110
"""Longer than whoever is told something waits for that."""
OPERATIONS = ("acknowledge", "release", "reject", "renewLock")


def cloud_event(number: int, **more: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/station",
        "type": "song.requested",
        "data": {"number": number},
        **more,
    }


class Namespace:
    """A consumer and publisher of one server."""

    def __init__(self, server: Served, http: httpx.Client) -> None:
        self.server = server
        self.http = http
        self.key = server.key(TOPIC)

    def post(
        self, path: str, content: bytes = b"", *, media_type: str = "", **headers: str
    ) -> httpx.Response:
        given = {"Authorization": f"SharedAccessKey {self.key}"} | headers
        if media_type:
            given["Content-Type"] = media_type
        return self.http.post(path, content=content, headers=given)

    def publish(self, *events: dict[str, object], topic: str = TOPIC) -> httpx.Response:
        body = msgspec.json.encode(list(events))
        return self.post(f"/topics/{topic}:publish?{VERSION}", body, media_type=BATCH)

    def path(self, operation: str, query: str = "", *, topic: str = TOPIC, name: str = NAME) -> str:
        return f"/topics/{topic}/eventsubscriptions/{name}:{operation}?{VERSION}{query}"

    def receive(self, count: int = 100, wait_s: int = 0) -> list[dict[str, Any]]:
        answer = self.post(self.path("receive", f"&maxEvents={count}&maxWaitTime={wait_s}"))
        assert answer.status_code == 200, answer.text
        value: list[dict[str, Any]] = answer.json()["value"]
        return value

    def tokens(self, count: int = 100) -> list[str]:
        return [each["brokerProperties"]["lockToken"] for each in self.receive(count)]

    def settle(self, operation: str, tokens: list[str], query: str = "") -> dict[str, Any]:
        body = msgspec.json.encode({"lockTokens": tokens})
        answer = self.post(self.path(operation, query), body, media_type="application/json")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert list(found) == ["succeededLockTokens", "failedLockTokens"]
        return found


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Event Grid's error body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-ms-request-id"]
    found: dict[str, Any] = answer.json()["error"]
    assert found["details"][0]["message"] == found["message"]
    return found


@pytest.fixture
def namespace(admin: httpx.Client, server: Served, http: httpx.Client) -> Namespace:
    """A CloudEvents topic with one subscription that is pulled."""
    schema = "cloudeventschemav1_0"
    assert admin.post("/topics", json={"name": TOPIC, "inputSchema": schema}).status_code == 201
    created = admin.post("/subscriptions", json=DECLARED)
    assert created.status_code == 201, created.text
    return Namespace(server, http)


# --- publish --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_published_events_are_received_as_they_were(namespace: Namespace, count: int) -> None:
    """A batch is answered with 200 and a JSON body; events come out byte for byte."""
    events = [
        cloud_event(number, subject="s", station="kbl", time="2026-01-01T00:00:00Z")
        for number in range(count)
    ]

    answer = namespace.publish(*events)

    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["api-supported-versions"].startswith("2024-06-01")
    received = namespace.receive()
    assert [each["event"] for each in received] == events
    assert [each["brokerProperties"]["deliveryCount"] for each in received] == [1] * count


def test_one_event_alone_and_in_binary_mode(namespace: Namespace) -> None:
    """A structured event and one in headers are taken; data that is no JSON is base64."""
    path = f"/topics/{TOPIC}:publish?{VERSION}"
    event = cloud_event(1)
    headers = {"ce-id": "2", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}

    one = namespace.post(path, msgspec.json.encode(event), media_type=STRUCTURED)
    two = namespace.post(path, b"\x00\x01", media_type="image/png", **headers)

    assert (one.status_code, two.status_code) == (200, 200), two.text
    first, second = (each["event"] for each in namespace.receive())
    assert first == event
    assert second["data_base64"] == "AAE="


def test_attributes_that_are_null_are_left_out(namespace: Namespace) -> None:
    """Clients lose a whole batch to a null attribute, so none is sent."""
    namespace.publish(cloud_event(1, subject=None, data=None))

    (received,) = namespace.receive()

    assert "subject" not in received["event"]


def test_a_topic_of_the_other_schema(namespace: Namespace, admin: httpx.Client) -> None:
    """CloudEvents cannot be published to a topic of Event Grid's schema; what is published to it
    in its own way is received as CloudEvents."""
    admin.post("/topics", json={"name": "grid"})
    admin.post("/subscriptions", json=DECLARED | {"topic": "grid"})
    namespace.key = namespace.server.key("grid")
    refused = namespace.publish(cloud_event(1), topic="grid")
    event = {"id": "1", "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z"}
    admin.post("/topics/grid/publish", json=[event | {"data": [1], "dataVersion": "2"}])

    found = error(refused, 400)
    answer = namespace.post(namespace.path("receive", topic="grid"))

    assert "eventgridschema" in found["message"]
    (received,) = answer.json()["value"]
    assert received["event"]["specversion"] == "1.0"
    assert received["event"]["data"] == [1]


def test_a_built_in_topic_takes_no_events(namespace: Namespace) -> None:
    """Only eventpost publishes to its own topics, and they can be pulled from."""
    namespace.key = namespace.server.key("eventpost.deadletters")

    assert error(namespace.publish(topic="eventpost.deadletters"), 403)["code"] == "Forbidden"


def test_invalid_events_are_refused_as_a_whole(namespace: Namespace) -> None:
    """One bad event in a batch: 400, and none is kept."""
    answer = namespace.publish(cloud_event(1), {"specversion": "1.0"})

    assert error(answer, 400)["details"][0]["code"] == "InputJsonInvalid"
    assert namespace.receive() == []


# --- who may --------------------------------------------------------------------------------------


def credentials(namespace: Namespace) -> dict[str, dict[str, str]]:
    url = f"{namespace.server.url}/topics/{TOPIC}"
    token = sas.generate(url, namespace.key, 4_000_000_000_000)
    return {
        "SharedAccessKey": {"Authorization": f"SharedAccessKey {namespace.key}"},
        "key header": {"aeg-sas-key": namespace.key},
        "token header": {"aeg-sas-token": token},
        "signature": {"Authorization": f"SharedAccessSignature {token}"},
    }


@pytest.mark.parametrize("kind", ["SharedAccessKey", "key header", "token header", "signature"])
def test_each_credential_opens_each_operation(namespace: Namespace, kind: str) -> None:
    """Keys and tokens, in every header, publish, receive and acknowledge."""
    headers = credentials(namespace)[kind]
    path = f"/topics/{TOPIC}:publish?{VERSION}"
    body = msgspec.json.encode([cloud_event(1)])

    published = namespace.http.post(path, content=body, headers=headers | {"Content-Type": BATCH})
    received = namespace.http.post(namespace.path("receive"), headers=headers)
    (one,) = received.json()["value"]
    tokens = {"lockTokens": [one["brokerProperties"]["lockToken"]]}
    settled = namespace.http.post(namespace.path("acknowledge"), json=tokens, headers=headers)

    assert [each.status_code for each in (published, received, settled)] == [200] * 3
    assert settled.json()["failedLockTokens"] == []


def test_the_key_may_be_in_the_query(namespace: Namespace) -> None:
    """As Event Grid has it for publishing."""
    path = f"/topics/{TOPIC}:publish?{VERSION}&aeg-sas-key={quote(namespace.key, safe='')}"
    body = msgspec.json.encode([cloud_event(1)])

    answer = namespace.http.post(path, content=body, headers={"Content-Type": BATCH})

    assert answer.status_code == 200


@pytest.mark.parametrize("operation", ["publish", "receive", *OPERATIONS])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "SharedAccessKey bm90aGluZw=="},
        {"aeg-sas-key": "bm90aGluZw=="},
        {"Authorization": "Bearer nobody"},
        {"Authorization": "SharedAccessSignature r=a&e=2099-01-01&s=bm90aGluZw=="},
    ],
)
def test_nobody_else_gets_in(namespace: Namespace, operation: str, headers: dict[str, str]) -> None:
    """Without a key of the topic nothing can be published, received or settled: 401."""
    path = f"/topics/{TOPIC}:publish" if operation == "publish" else namespace.path(operation)

    found = error(namespace.http.post(path, headers=headers), 401)

    assert found["code"] == "Unauthorized"
    assert namespace.key not in found["message"]


def test_the_admin_token_opens_nothing_here(namespace: Namespace) -> None:
    """It is for management only."""
    headers = {"Authorization": f"SharedAccessKey {namespace.server.token}"}

    error(namespace.http.post(namespace.path("receive"), headers=headers), 401)


# --- receive --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 99, 100])
def test_so_many_events_at_most(namespace: Namespace, count: int) -> None:
    """`maxEvents` bounds a receive; 100 is allowed."""
    namespace.publish(*map(cloud_event, range(101)))

    assert len(namespace.receive(count)) == count


def test_one_event_is_the_default(namespace: Namespace) -> None:
    """Without `maxEvents` one event comes, at once."""
    namespace.publish(*map(cloud_event, range(3)))

    answer = namespace.post(namespace.path("receive"))

    assert len(answer.json()["value"]) == 1


def test_nothing_is_an_empty_array(namespace: Namespace) -> None:
    """Clients need `value` even when there is nothing."""
    answer = namespace.post(namespace.path("receive", "&maxWaitTime=0"))

    assert (answer.status_code, answer.content) == (200, b'{"value":[]}')


def test_a_receive_waits_for_an_event(namespace: Namespace) -> None:
    """A long poll is answered as soon as something is published."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(namespace.receive, 10, WAIT_S)
        until(lambda: waiting_count(namespace) == 1)

        namespace.publish(cloud_event(1))

        assert [each["event"]["id"] for each in waiting.result(60)] == ["event-1"]


def waiting_count(namespace: Namespace) -> int:
    app = namespace.server.app
    return namespace.server.call(lambda: len(app.pulled(app.topic(TOPIC), NAME).waiters))


@pytest.mark.parametrize("is_half_closed", [True, False])
def test_a_consumer_that_hung_up_gets_nothing(namespace: Namespace, is_half_closed: bool) -> None:
    """An event is not handed to a connection whose client has gone; the next one gets it."""
    host, port = namespace.server.url.removeprefix("http://").split(":")
    request = (
        f"POST {namespace.path('receive', '&maxWaitTime=60')} HTTP/1.1\r\nHost: {host}\r\n"
        f"aeg-sas-key: {namespace.key}\r\nContent-Length: 0\r\n\r\n"
    )
    connection = socket.create_connection((host, int(port)))
    try:
        connection.sendall(request.encode())
        until(lambda: waiting_count(namespace) == 1)
        if is_half_closed:
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.close()
        with namespace.server.http() as other:  # the server has read on since
            assert other.get("/healthz").status_code == 200

        namespace.publish(cloud_event(1))

        assert [each["event"]["id"] for each in namespace.receive()] == ["event-1"]
    finally:
        connection.close()


def test_too_many_who_wait(tmp_path: Path) -> None:
    """Beyond the bound of waiting receives the next one is refused for now: 503, with the time to
    come again; settling goes on."""
    settings = Settings(grid=GridLimits(receives_waiting_max=1))
    with (
        ThreadPoolExecutor(1) as pool,
        served(tmp_path / "data", settings) as server,
        server.admin() as admin,
        server.http() as http,
    ):
        admin.post("/topics", json={"name": TOPIC, "inputSchema": "cloudeventschemav1_0"})
        admin.post("/subscriptions", json=DECLARED)
        namespace = Namespace(server, http)
        waiting = pool.submit(namespace.receive, 10, WAIT_S)
        until(lambda: waiting_count(namespace) == 1)

        refused = namespace.post(namespace.path("receive"))

        assert "Too many receives" in error(refused, 503)["message"]
        assert int(refused.headers["retry-after"]) >= 1
        assert namespace.settle("acknowledge", ["a"])["succeededLockTokens"] == []
        namespace.publish(cloud_event(1))
        assert len(waiting.result(60)) == 1


def test_a_stop_answers_who_waits(tmp_path: Path) -> None:
    """A server that stops answers waiting receives at once, with nothing."""
    with ThreadPoolExecutor(1) as pool, served(tmp_path / "data") as server:
        with server.admin() as admin:
            admin.post("/topics", json={"name": TOPIC})
            admin.post("/subscriptions", json=DECLARED)
        with server.http() as http:
            namespace = Namespace(server, http)
            waiting = pool.submit(namespace.receive, 10, WAIT_S)
            until(lambda: waiting_count(namespace) == 1)

            server.call(server.data_plane.stop_waiting)

            assert waiting.result(60) == []
            assert namespace.receive(1, WAIT_S) == []


def test_who_waits_is_told_that_the_subscription_is_gone(
    namespace: Namespace, admin: httpx.Client
) -> None:
    """A subscription that is deleted ends the waiting with 404."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(namespace.post, namespace.path("receive"))
        until(lambda: waiting_count(namespace) == 1)

        admin.delete(f"/subscriptions/{NAME}")

        assert error(waiting.result(60), 404)["code"] == "NotFound"


# --- settle ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_tells_each_token(namespace: Namespace, operation: str) -> None:
    """Succeeded tokens are listed in their order; lost and bad ones with code and message; all of
    them with 200."""
    namespace.publish(*map(cloud_event, range(3)))
    lost, *good = namespace.tokens()
    namespace.settle("acknowledge", [lost])

    found = namespace.settle(operation, [good[0], "nonsense", lost, good[1]])

    assert found["succeededLockTokens"] == good
    told = [(each["lockToken"], each["error"]["code"]) for each in found["failedLockTokens"]]
    assert told == [("nonsense", "BadToken"), (lost, "TokenLost")]
    assert all(each["error"]["message"] for each in found["failedLockTokens"])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_only_failed_tokens_are_no_error(namespace: Namespace, operation: str) -> None:
    """When every token failed the answer is 200 all the same."""
    found = namespace.settle(operation, ["a", "b"])

    assert found["succeededLockTokens"] == []
    assert [each["error"]["code"] for each in found["failedLockTokens"]] == ["BadToken"] * 2


def spoiled(token: str) -> list[str]:
    """Tokens that were never given out, made from one that was."""
    middle = len(token) // 2
    other = "A" if token[middle] != "A" else "B"
    return [
        "",
        token[:-1] + "!",
        token[:middle] + other + token[middle + 1 :],
        token[1:],
        token[:32],
        token[:31],
        token + "." + "f" * 17,
        token + ".",
        token + "é",
        "é" * 40,
        token.swapcase(),
        token * 50,
        "\x00" * 40,
    ]


def test_a_spoiled_token_is_a_bad_token(namespace: Namespace) -> None:
    """Whatever is changed in a token makes it void, and does no harm to the good one."""
    namespace.publish(cloud_event(1))
    (token,) = namespace.tokens()
    bad = spoiled(token)

    found = namespace.settle("acknowledge", [*bad, token])

    assert found["succeededLockTokens"] == [token]
    assert [each["error"]["code"] for each in found["failedLockTokens"]] == ["BadToken"] * len(bad)


def test_another_event_of_the_lock_only(namespace: Namespace) -> None:
    """A token names an event of its own lock or none: one made up for another event is lost."""
    namespace.publish(*map(cloud_event, range(2)))
    (token,) = namespace.tokens(1)

    (failed,) = namespace.settle("acknowledge", [token[:32] + "1"])["failedLockTokens"]

    assert failed["error"]["code"] == "TokenLost"


def test_a_token_is_of_its_subscription_only(namespace: Namespace, admin: httpx.Client) -> None:
    """A token of one subscription is a bad token for another, of the same topic too."""
    admin.post("/subscriptions", json=DECLARED | {"name": "other"})
    namespace.publish(cloud_event(1))
    (token,) = namespace.tokens()
    body = msgspec.json.encode({"lockTokens": [token]})

    answer = namespace.post(namespace.path("acknowledge", name="other"), body)

    assert answer.json()["failedLockTokens"][0]["error"]["code"] == "BadToken"
    assert namespace.settle("acknowledge", [token])["succeededLockTokens"] == [token]


def test_a_token_outlives_its_server(tmp_path: Path) -> None:
    """Another process on the same data knows the tokens of the one before."""
    with served(tmp_path / "data") as server, server.admin() as admin, server.http() as http:
        admin.post("/topics", json={"name": TOPIC, "inputSchema": "cloudeventschemav1_0"})
        admin.post("/subscriptions", json=DECLARED)
        namespace = Namespace(server, http)
        namespace.publish(cloud_event(1), cloud_event(2))
        tokens = namespace.tokens()
        namespace.settle("renewLock", tokens[:1])
    with served(tmp_path / "data") as server, server.http() as http:
        namespace = Namespace(server, http)

        assert namespace.receive() == []
        assert namespace.settle("acknowledge", tokens)["succeededLockTokens"] == tokens


@pytest.mark.parametrize("delay_s", [0, 10, 60, 600, 3600])
def test_each_delay_of_a_release(namespace: Namespace, delay_s: int) -> None:
    """The five delays are taken; an event that is released at once comes with a higher count."""
    namespace.publish(cloud_event(1))
    tokens = namespace.tokens()

    query = f"&releaseDelayInSeconds={delay_s}"
    found = namespace.settle("release", tokens, query)

    assert found["succeededLockTokens"] == tokens
    again = namespace.receive()
    assert [each["brokerProperties"]["deliveryCount"] for each in again] == ([] if delay_s else [2])


def test_a_rejected_event_is_a_dead_letter(namespace: Namespace, admin: httpx.Client) -> None:
    """Reject makes a dead letter with its own finding, whether or not a place for it is named."""
    namespace.publish(cloud_event(1))

    namespace.settle("reject", namespace.tokens())

    (letter,) = admin.get("/deadletters").json()["value"]
    assert (letter["deadLetterReason"], letter["finding"]) == ("Rejected", "EP3052")


def test_where_dead_letters_of_pulled_events_lie(
    namespace: Namespace, admin: httpx.Client, tmp_path: Path
) -> None:
    """Their files lie as those of a namespace: by topic and subscription, case kept."""
    folder = tmp_path / "letters"
    declared = DECLARED | {"name": "Kept", "deadletter": f"folder:{folder}"}
    assert admin.post("/subscriptions", json=declared).status_code == 201
    namespace.publish(cloud_event(1))
    received = namespace.post(namespace.path("receive", name="kept")).json()["value"]
    tokens = [each["brokerProperties"]["lockToken"] for each in received]
    body = msgspec.json.encode({"lockTokens": tokens})
    namespace.post(namespace.path("reject", name="kept"), body)

    until(lambda: bool(list(folder.rglob("*.json"))))

    (file,) = folder.rglob("*.json")
    assert file.relative_to(folder).parts[:3] == ("eventpost", TOPIC, "Kept")
    (letter,) = msgspec.json.decode(file.read_bytes())
    assert (letter["id"], letter["deadletterreason"]) == ("event-1", "Rejected")
    assert letter["deliveryattempts"] == 1


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        *("&maxEvents=0", "&maxEvents=101", "&maxEvents=-1", "&maxEvents=1.5", "&maxEvents="),
        *("&maxEvents=ten", "&maxEvents=9999999999", "&maxEvents=%D9%A1", "&maxWaitTime=-1"),
        *("&maxWaitTime=121", "&maxWaitTime=soon", "&api-version=2024-06-01" * 100),
    ],
)
def test_a_receive_out_of_bounds(namespace: Namespace, query: str) -> None:
    """What is no number, or out of its bounds, is refused by its name: 400."""
    found = error(namespace.post(namespace.path("receive", query)), 400)

    assert found["code"] == "BadRequest"
    name = query[1:].partition("=")[0]
    assert name in found["message"] or "100 fields" in found["message"]


@pytest.mark.parametrize("query", ["maxEvents=1&maxWaitTime=0", "maxEvents=100&maxWaitTime=120"])
def test_a_receive_at_its_bounds(namespace: Namespace, query: str) -> None:
    """The least and the most are taken."""
    namespace.publish(cloud_event(1))

    assert namespace.post(namespace.path("receive", f"&{query}")).status_code == 200


@pytest.mark.parametrize("delay", ["1", "-10", "11", "3601", "7200", "ten", "10.0"])
def test_other_delays_are_refused(namespace: Namespace, delay: str) -> None:
    """A release takes the five delays and no other: 400, and the lock holds on."""
    namespace.publish(cloud_event(1))
    tokens = namespace.tokens()
    body = msgspec.json.encode({"lockTokens": tokens})
    path = namespace.path("release", f"&releaseDelayInSeconds={delay}")

    assert "releaseDelayInSeconds" in error(namespace.post(path, body), 400)["message"]

    assert namespace.settle("acknowledge", tokens)["succeededLockTokens"] == tokens


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'{"lockTokens":null}', b'{"lockTokens":"a"}', b"\xff"),
        *(b'{"lockTokens":[]}', b'{"lockTokens":[1]}', b'{"lockTokens":[null]}'),
        b'{"locktokens":["a"]}',
    ],
)
def test_a_body_without_tokens(namespace: Namespace, operation: str, body: bytes) -> None:
    """What holds no list of lock tokens is refused: 400."""
    found = error(namespace.post(namespace.path(operation), body), 400)

    assert found["code"] == "BadRequest"
    assert "lock" in found["message"]


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Namespace]:
    """A server whose bounds of pulling are narrower."""
    settings = Settings(pull=PullSettings(events_max=5, wait_s_max=9, lock_tokens_max=2))
    with (
        served(tmp_path / "narrow", settings) as server,
        server.admin() as admin,
        server.http() as http,
    ):
        admin.post("/topics", json={"name": TOPIC, "inputSchema": "cloudeventschemav1_0"})
        admin.post("/subscriptions", json=DECLARED)
        yield Namespace(server, http)


@pytest.mark.parametrize(("count", "status"), [(1, 200), (2, 200), (3, 400)])
def test_so_many_tokens_at_once(narrow: Namespace, count: int, status: int) -> None:
    """The bound of lock tokens is a setting, and is kept at its edge."""
    body = msgspec.json.encode({"lockTokens": ["a"] * count})

    assert narrow.post(narrow.path("acknowledge"), body).status_code == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        *(("maxEvents=5&maxWaitTime=0", 200), ("maxEvents=6", 400)),
        *(("maxEvents=1&maxWaitTime=9", 200), ("maxWaitTime=10", 400)),
    ],
)
def test_bounds_of_a_receive_are_settings(narrow: Namespace, query: str, status: int) -> None:
    """So are those of a receive."""
    narrow.publish(cloud_event(1))

    assert narrow.post(narrow.path("receive", f"&{query}")).status_code == status


@pytest.mark.parametrize(
    "version", ["2024-06-01", "2023-11-01", "2023-10-01-preview", "2023-06-01-preview", None]
)
def test_versions_that_are_spoken(namespace: Namespace, version: str | None) -> None:
    """Every published version of the protocol is taken, and none at all."""
    query = "maxWaitTime=0" + (f"&api-version={version}" if version else "")
    path = f"/topics/{TOPIC}/eventsubscriptions/{NAME}:receive?{query}"

    assert namespace.post(path).status_code == 200


def test_another_version_is_refused(namespace: Namespace) -> None:
    """A version that is not known is named, and those that are."""
    path = f"/topics/{TOPIC}:publish?api-version=2018-01-01"

    found = error(namespace.post(path), 400)

    assert "2018-01-01" in found["message"]
    assert "2024-06-01" in found["message"]


@pytest.mark.parametrize("operation", ["receive", *OPERATIONS])
def test_what_is_not_there(namespace: Namespace, operation: str) -> None:
    """An unknown topic or subscription is 404, and says which."""
    for missing in ({"topic": "nosuch"}, {"name": "nosuch"}):
        answer = namespace.post(namespace.path(operation, **missing))
        assert "nosuch" in error(answer, 404)["message"]


def test_publishing_to_what_is_not_there(namespace: Namespace) -> None:
    """The same of publishing."""
    assert "nosuch" in error(namespace.publish(cloud_event(1), topic="nosuch"), 404)["message"]


def test_a_push_subscription_cannot_be_received_from(
    namespace: Namespace, admin: httpx.Client, webhook: Receiver
) -> None:
    """A subscription with an endpoint is not pulled: 400, and what to do instead."""
    declared = {"name": "pushed", "topic": TOPIC, "endpoint": webhook.url}
    assert admin.post("/subscriptions", json=declared).status_code == 201

    found = error(namespace.post(namespace.path("receive", name="pushed")), 400)

    assert "--endpoint-type pull" in found["message"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("operation", ["publish", "receive"])
def test_only_post(namespace: Namespace, method: str, operation: str) -> None:
    """Other methods are 405, with what is allowed."""
    path = f"/topics/{TOPIC}:publish" if operation == "publish" else namespace.path(operation)

    answer = namespace.http.request(method, path)

    error(answer, 405)
    assert answer.headers["allow"] == "OPTIONS, POST"
    assert namespace.http.options(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        f"/topics/{TOPIC}/eventsubscriptions/{NAME}:forget",
        f"/topics/{TOPIC}/eventsubscriptions/{NAME}",
        f"/topics/{TOPIC}/eventsubscriptions:receive",
        f"/topics/{TOPIC}:receive",
        "/topics/:publish",
    ],
)
def test_other_paths_are_not_of_the_protocol(namespace: Namespace, path: str) -> None:
    """What is no operation is 404."""
    assert namespace.post(path).status_code == 404


@pytest.mark.parametrize("path", [f"/TOPICS/{TOPIC}/EventSubscriptions/{NAME}:RenewLock"])
def test_paths_in_any_case(namespace: Namespace, path: str) -> None:
    """Paths and names are the same in any case, as Azure has them."""
    body = msgspec.json.encode({"lockTokens": ["a"]})

    assert namespace.post(path, body).status_code == 200
    assert namespace.post(path.replace(NAME, NAME.upper()), body).status_code == 200


# --- declaring ------------------------------------------------------------------------------------


def test_what_is_declared_is_shown(namespace: Namespace, admin: httpx.Client) -> None:
    """Lock duration and delivery count are shown and can be changed."""
    shown = admin.get(f"/subscriptions/{NAME}").json()
    assert (shown["endpointType"], shown["receiveLockDurationInSeconds"]) == ("pull", 60)
    assert shown["maxDeliveryCount"] == 10

    changed = admin.patch(
        f"/subscriptions/{NAME}",
        json={"receiveLockDurationInSeconds": 90, "maxDeliveryCount": 3},
    )

    assert changed.status_code == 200, changed.text
    assert changed.json()["receiveLockDurationInSeconds"] == 90
    assert changed.json()["maxDeliveryCount"] == 3


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        *(({"receiveLockDurationInSeconds": each}, True) for each in (60, 300)),
        *(({"receiveLockDurationInSeconds": each}, False) for each in (59, 301, 0)),
        *(({"maxDeliveryCount": each}, True) for each in (1, 10)),
        *(({"maxDeliveryCount": each}, False) for each in (0, 11)),
        ({"endpoint": "https://example.com"}, False),
        ({"signingSecrets": ["env:X"]}, False),
        ({"rate": "5/s"}, False),
        ({"deliveryAttributeMappings": [{"name": "x", "value": "y"}]}, False),
        ({"eventDeliverySchema": "eventgridschema"}, False),
        ({"eventDeliverySchema": "cloudeventschemav1_0"}, True),
    ],
)
def test_bounds_of_what_is_declared(
    namespace: Namespace, admin: httpx.Client, given: dict[str, object], is_taken: bool
) -> None:
    """Durations and counts outside of Event Grid's bounds are refused, and what only sending
    needs."""
    answer = admin.post("/subscriptions", json=DECLARED | {"name": "another"} | given)

    assert answer.status_code == (201 if is_taken else 400), answer.text


def test_short_locks_where_they_are_allowed(tmp_path: Path) -> None:
    """`--allow-short-locks` lowers the bound, for tests."""
    settings = Settings(limits=Limits(receive_lock_s_min=0.1))
    with served(tmp_path / "data", settings) as server, server.admin() as admin:
        admin.post("/topics", json={"name": TOPIC})
        taken = DECLARED | {"receiveLockDurationInSeconds": 0.1}
        refused = DECLARED | {"name": "shorter", "receiveLockDurationInSeconds": 0.09}

        assert admin.post("/subscriptions", json=taken).status_code == 201
        assert admin.post("/subscriptions", json=refused).status_code == 400


def test_pull_stays_pull(namespace: Namespace, admin: httpx.Client) -> None:
    """An update does not make a subscription push that is pulled, nor the other way."""
    answer = admin.patch(
        f"/subscriptions/{NAME}",
        json={"endpointType": "webhook", "endpoint": "https://example.com/"},
    )

    assert answer.status_code == 400
    assert answer.json()["code"] == "DeliveryModeFixed"

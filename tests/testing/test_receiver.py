"""The webhook for tests, spoken to over plain sockets."""

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from eventpost.testing import CLOSE, HANG, RESET, Answer, Received, Receiver
from eventpost.testing import receiver as module


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False, timeout=60) as client:
        yield client


def deliver(http: httpx.Client, receiver: Receiver, event_id: str = "1") -> httpx.Response:
    headers = {"aeg-event-type": "Notification", "aeg-delivery-count": "2"}
    return http.post(receiver.url, json=[{"id": event_id}], headers=headers)


def test_it_answers_by_its_script(http: httpx.Client, receiver: Receiver) -> None:
    """Scripted answers come in their order, then the one for always."""
    receiver.script(500, Answer(429, b"later", {"Retry-After": "7"}))
    receiver.always = 202

    first, second, third = (deliver(http, receiver) for _ in range(3))

    assert [first.status_code, third.status_code] == [500, 202]
    assert (second.status_code, second.content, second.headers["Retry-After"]) == (
        429,
        b"later",
        "7",
    )


def test_it_decides_on_each(http: httpx.Client, receiver: Receiver) -> None:
    """A function decides on each delivery from what it holds."""

    def choose(request: Received) -> int:
        return 500 if request.event["id"] == "bad" else 200

    receiver.choose = choose

    assert deliver(http, receiver, "good").status_code == 200
    assert deliver(http, receiver, "bad").status_code == 500


@pytest.mark.parametrize("fault", [RESET, CLOSE])
def test_it_breaks_connections(http: httpx.Client, receiver: Receiver, fault: module.Fault) -> None:
    """A reset and a close leave the request without an answer, and remembered."""
    receiver.script(fault)

    with pytest.raises(httpx.TransportError):
        deliver(http, receiver)

    assert len(receiver.requests) == 1
    assert deliver(http, receiver).status_code == 200


def test_it_hangs_until_released(http: httpx.Client, receiver: Receiver) -> None:
    """A hanging request is answered by `release`, and only those that hang are counted."""
    receiver.script(HANG)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(deliver(http, receiver)))
    thread.start()
    receiver.wait_for_held(1)
    assert (receiver.held_count, answers) == (1, [])

    assert receiver.release(201) == 1

    thread.join()
    assert answers[0].status_code == 201
    assert (receiver.held_count, receiver.release()) == (0, 0)


def test_it_refuses_and_listens(http: httpx.Client, receiver: Receiver) -> None:
    """A closed port refuses; the same port is open again afterwards."""
    port = receiver.port
    receiver.refuse()
    with pytest.raises(httpx.ConnectError):
        deliver(http, receiver)

    receiver.listen()

    assert receiver.port == port
    assert deliver(http, receiver).status_code == 200


def test_it_tells_handshakes_from_deliveries(http: httpx.Client, receiver: Receiver) -> None:
    """Handshakes are answered and kept apart, in both schemas."""
    data = {"validationCode": "c", "validationUrl": "http://u"}
    validation = {"aeg-event-type": "SubscriptionValidation"}

    answer = http.post(receiver.url, json=[{"data": data}], headers=validation)

    assert answer.json() == {"validationResponse": "c"}
    assert receiver.validation_url == "http://u"
    headers = {"WebHook-Request-Origin": "o", "WebHook-Request-Callback": "http://v"}
    allowed = http.options(receiver.url, headers=headers)
    assert allowed.headers["WebHook-Allowed-Origin"] == "o"
    assert receiver.validation_url == "http://v"
    assert (len(receiver.handshakes), receiver.requests) == (2, [])


def test_it_remembers_what_came(http: httpx.Client, receiver: Receiver) -> None:
    """A request is kept with its headers, its body and the number of attempts before it."""
    deliver(http, receiver, "7")

    [request] = receiver.wait_for(1)
    assert (request.method, request.path, request.attempt) == ("POST", "/hook", 2)
    assert json.loads(request.body) == request.events == receiver.events == [{"id": "7"}]


def test_waiting_in_vain_is_told(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that ends in vain says what was waited for and what came instead."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)

    with pytest.raises(TimeoutError, match=r"waited 0\.01 s for 2 deliveries and got 0"):
        receiver.wait_for(2)

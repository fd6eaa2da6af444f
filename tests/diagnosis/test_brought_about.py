"""Findings of deliveries and of who we are, brought about by real handlers, servers and brokers."""

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from eventpost.core.outcomes import Failed
from eventpost.diagnosis.classify import classify
from eventpost.diagnosis.history import Attempt
from eventpost.diagnosis.ranking import Circumstances, rank
from eventpost.queues.interfaces import Message
from eventpost.testing.destination_conformance import delivery
from tests.destinations.test_webhook import deliver
from tests.doctor.wards import connected, examined, peer, resetting, verdict
from tests.queues.storagequeue.azure import queue_at, session_to
from tests.services.azurite import KEY
from tests.services.kafka import Kafka

STATUSES = {
    300: "EP2300",
    307: "EP2300",
    400: "EP2400",
    401: "EP2401",
    403: "EP2403",
    404: "EP2404",
    405: "EP2405",
    408: "EP2408",
    410: "EP2410",
    413: "EP2413",
    415: "EP2415",
    418: "EP2499",
    429: "EP2429",
    500: "EP2500",
    502: "EP2502",
    503: "EP2503",
    504: "EP2504",
    507: "EP2599",
    207: "EP2210",
}


@pytest.mark.parametrize(("status", "code"), STATUSES.items())
def test_a_handler_that_answers_with_a_status(status: int, code: str) -> None:
    """Each status of a real handler leads to its finding, over a real connection."""
    answer = f"HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n".encode()

    _, outcome = deliver([delivery(1)], answer=answer)

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == code


def test_a_connection_that_was_closed_while_idle() -> None:
    """A reset that follows a pause, while the tries around it work, is an idle connection."""
    with peer(resetting) as port:
        declared: dict[str, object] = {
            "topics": {"songs": {}},
            "subscriptions": {"blues": {"topic": "songs", "endpoint": f"http://127.0.0.1:{port}/"}},
        }
        found = examined(declared, "blues")
    assert found.broken is not None
    assert found.broken.evidence is not None
    ended = found.broken.evidence

    paused = (
        Attempt(at_ms=0, operation=""),
        Attempt(at_ms=600_000, operation="", evidence=ended),
        Attempt(at_ms=600_100, operation=""),
    )

    assert rank(ended, Circumstances(attempts=paused)).code == "EP6014"


@pytest.mark.slow
def test_credentials_that_were_good_and_are_not(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that took us, and refuses us once the key is withdrawn, is told as credentials that
    were not renewed, and not as ones that never were good."""
    key = kafka.add_key()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret_access_key)
    settings: dict[str, object] = {
        "kind": "kafka",
        "bootstrap": [kafka.address("iam")],
        "auth": "msk-iam",
        "region": kafka.region,
        "ca_file": str(kafka.ca_file),
    }

    before = connected(settings)
    kafka.revoke(key)
    after = connected(settings)

    assert verdict(before) == ("", ""), before
    assert verdict(after) == ("authentication", "EP4402"), after
    assert after.broken is not None
    assert after.broken.evidence is not None
    refused = after.broken.evidence
    operation = refused.operation or ""
    attempts = (
        Attempt(at_ms=0, operation=operation),
        Attempt(at_ms=1_000, operation=operation, evidence=refused),
        Attempt(at_ms=2_000, operation=operation, evidence=refused),
    )
    assert rank(refused, Circumstances(attempts=attempts)).code == "EP6015"


@pytest.mark.slow
def test_somebody_else_answers_for_the_account() -> None:
    """A server that is no storage account is told as such, whatever it answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/bluesradio"
        queue = queue_at(session_to(url, url, account="bluesradio", key=KEY), "jobs")
        [outcome] = queue.send([Message(body=b"x")])
        queue.close()
        server.shutdown()
        thread.join()

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP4260"

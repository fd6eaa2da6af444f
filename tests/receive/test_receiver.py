"""One request in, events or an answer out: handshakes, secrets, signatures, bounds."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from eventpost.core.errors import InvalidRequest
from eventpost.formats import delivery, standardwebhooks
from eventpost.receive import Answer, EventGridReceiver, Received

NOW_S = 1_767_225_600
NOW = datetime.fromtimestamp(NOW_S, UTC)
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"old secret, being rotated").decode()
EVENT = {
    "id": "1",
    "topic": "/topics/songs",
    "subject": "genre/blues",
    "eventType": "Song.Requested",
    "eventTime": "2026-01-01T00:00:00.1234567Z",
    "data": {"title": "Dust My Broom"},
    "dataVersion": "1.0",
    "metadataVersion": "1",
}
BODY = json.dumps([EVENT]).encode()
JSON = {"Content-Type": "application/json; charset=utf-8"}
NOTIFICATION = {**JSON, "aeg-event-type": "Notification"}
VALIDATION = {**JSON, "aeg-event-type": "SubscriptionValidation"}


def signed(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW) -> dict[str, str]:
    """The headers of a delivery, signed by the official library."""
    return {
        **NOTIFICATION,
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }


def receiver(**settings: Any) -> EventGridReceiver:
    settings.setdefault("signing_secrets", [SECRET])
    return EventGridReceiver(now_s=lambda: NOW_S, **settings)


def unverified(**settings: Any) -> EventGridReceiver:
    return EventGridReceiver(is_unverified=True, **settings)


def answer_of(received: Received) -> Answer:
    assert received.answer is not None
    assert received.events == ()
    return received.answer


# --- who may be made ------------------------------------------------------------------------------


def test_a_receiver_without_any_secret_is_made_on_purpose_only() -> None:
    """Nobody opens a handler to all by leaving something out."""
    with pytest.raises(InvalidRequest) as refused:
        EventGridReceiver()

    assert refused.value.code == "ReceiverUnverified"
    assert unverified().receive("POST", NOTIFICATION, BODY).answer is None


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"secrets": ["k"]}, "SecretPlaceMissing"),
        ({"secrets": [""], "secret_header": "x-key"}, "SecretEmpty"),
        ({"signing_secrets": ["whsec_!"]}, "SigningSecretInvalid"),
        ({"signing_secrets": ["env:NO_SUCH_VARIABLE_HERE"]}, "SecretMissing"),
        ({"signing_secrets": SECRET}, "NotAList"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], code: str) -> None:
    """What would verify nothing, or never anything, is refused at once and not repeated."""
    with pytest.raises(InvalidRequest) as refused:
        EventGridReceiver(**settings)

    assert refused.value.code == code
    assert "whsec_!" not in str(refused.value)


def test_secrets_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret may be named where it is kept."""
    (tmp_path / "old").write_text(f"{OLD_SECRET}\n")
    monkeypatch.setenv("STATION_SECRET", SECRET)
    both = receiver(signing_secrets=["env:STATION_SECRET", f"file:{tmp_path / 'old'}"])

    assert both.receive("POST", signed(), BODY).answer is None
    assert both.receive("POST", signed(secret=OLD_SECRET), BODY).answer is None


# --- signatures -----------------------------------------------------------------------------------


def test_a_signed_delivery() -> None:
    """What the official library signed is taken, and nothing else of it is changed."""
    received = receiver().receive("POST", signed(), BODY)

    (event,) = received.events
    assert event.id == "1"
    assert event.data == {"title": "Dust My Broom"}


def test_two_secrets_are_valid_at_once() -> None:
    """While a secret is rotated, deliveries signed with either, or with both, are taken."""
    both = receiver(signing_secrets=[SECRET, OLD_SECRET])
    keys = [standardwebhooks.key(secret) for secret in (SECRET, OLD_SECRET)]
    signature = standardwebhooks.sign(keys, "msg_1", NOW_S, BODY).decode()

    assert both.receive("POST", signed(), BODY).answer is None
    assert both.receive("POST", signed(secret=OLD_SECRET), BODY).answer is None
    headers = {**signed(), "webhook-signature": signature}
    assert receiver(signing_secrets=[OLD_SECRET]).receive("POST", headers, BODY).answer is None


@pytest.mark.parametrize(
    "headers",
    [
        NOTIFICATION,
        signed(secret=OLD_SECRET),
        signed(b"[]"),
        {**signed(), "webhook-id": "msg_2"},
        {**signed(), "webhook-timestamp": str(NOW_S + 1)},
        {**signed(), "webhook-timestamp": "now"},
        {**signed(), "webhook-timestamp": "9" * 100},
        {**signed(), "webhook-timestamp": "\u0661"},
        {**signed(), "webhook-signature": "v1,"},
        {**signed(), "webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")},
    ],
)
def test_an_unverified_delivery(headers: dict[str, str]) -> None:
    """No signature, another secret's, another body's, another message's: 401, and no events."""
    assert answer_of(receiver().receive("POST", headers, BODY)).status == 401


@pytest.mark.parametrize(
    ("age_s", "is_taken"), [(300, True), (301, False), (-300, True), (-301, False)]
)
def test_a_signature_is_good_for_five_minutes(age_s: int, is_taken: bool) -> None:
    """A recorded delivery cannot be sent again later, and clocks may differ as much."""
    at = datetime.fromtimestamp(NOW_S - age_s, UTC)

    received = receiver().receive("POST", signed(at=at), BODY)

    assert (received.answer is None) is is_taken
    if not is_taken:
        assert b"clocks" in answer_of(received).body


def test_more_signatures_than_are_looked_at() -> None:
    """Sixteen signatures of a message are looked at, and no more."""
    good = signed()["webhook-signature"]
    most = {**signed(), "webhook-signature": "v1,x " * 15 + good}
    more = {**signed(), "webhook-signature": "v1,x " * 16 + good}

    assert receiver().receive("POST", most, BODY).answer is None
    assert answer_of(receiver().receive("POST", more, BODY)).status == 401


# --- shared secrets -------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["new+key=", "old key"])
def test_a_secret_in_a_header(secret: str) -> None:
    """A delivery property lets in, and each of several secrets does."""
    keyed = EventGridReceiver(secrets=["new+key=", "old key"], secret_header="X-Station-Key")

    received = keyed.receive("POST", {**NOTIFICATION, "x-station-key": secret}, BODY)

    assert received.answer is None


@pytest.mark.parametrize("query", ["code=new%2Bkey", "a=b&code=new+key", "code=no&code=new%2Bkey"])
def test_a_secret_in_the_query(query: str) -> None:
    """The query of the endpoint's URL lets in, whether or not its `+` was encoded."""
    keyed = EventGridReceiver(secrets=["new+key"], secret_query="code")

    assert keyed.receive("POST", NOTIFICATION, BODY, query=query).answer is None


@pytest.mark.parametrize("query", ["", "code=", "code=NEW%2Bkey", "key=new%2Bkey", "&" * 200])
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_wrong_secret(query: str, method: str) -> None:
    """Whoever has no secret gets 401, in the handshake too, and is not told the secret."""
    keyed = EventGridReceiver(secrets=["new+key"], secret_header="x-key", secret_query="code")

    answer = answer_of(keyed.receive(method, {**NOTIFICATION, "x-key": "no"}, BODY, query=query))

    assert answer.status == 401
    assert b"new+key" not in answer.body


def test_both_a_secret_and_a_signature() -> None:
    """Where both are asked for, one alone does not let in."""
    both = receiver(secrets=["k"], secret_query="code")

    assert both.receive("POST", signed(), BODY, query="code=k").answer is None
    assert answer_of(both.receive("POST", signed(), BODY)).status == 401
    assert answer_of(both.receive("POST", NOTIFICATION, BODY, query="code=k")).status == 401


# --- handshakes and farewells ---------------------------------------------------------------------


def test_the_code_is_echoed() -> None:
    """The handshake of the Event Grid schema is answered as it asks."""
    body = delivery.validation_event("/topics/songs", "v1", NOW_S * 1000, "code-1", "https://x")

    answer = answer_of(unverified().receive("POST", VALIDATION, body))

    assert answer.status == 200
    assert json.loads(answer.body) == {"validationResponse": "code-1"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"[{}]", json.dumps([EVENT]).encode(), b"[1]", b"\xff"]
)
def test_a_validation_without_code(body: bytes) -> None:
    """What calls itself a validation and has no code gets 400, not consent."""
    assert answer_of(unverified().receive("POST", VALIDATION, body)).status == 400


BEYOND = [b"1e999999", b"9" * 5_000]
"""JSON, and no number that Python's libraries take."""


@pytest.mark.parametrize("number", BEYOND)
@pytest.mark.parametrize("rest", [b"", b'"validationCode":"code-1",'])
def test_a_validation_with_a_number_out_of_range(number: bytes, rest: bytes) -> None:
    """A number that cannot be read raises nothing: the code beside it is echoed, or it is 400."""
    body = b'[{"id":"1","eventType":"t","data":{%b"x":%b}}]' % (rest, number)

    answer = answer_of(unverified().receive("POST", VALIDATION, body))

    assert answer.status == (200 if rest else 400)


@pytest.mark.parametrize("number", BEYOND)
def test_numbers_out_of_range(number: bytes) -> None:
    """Where a text or an extension attribute stands, a number that cannot be read is 400."""
    event_grid = b'[{"id":%b,"eventType":"t"}]' % number
    cloud_event = b'{"specversion":"1.0","id":"1","source":"s","type":"t","x":%b}' % number
    headers = {"content-type": "application/cloudevents+json"}

    assert answer_of(unverified().receive("POST", NOTIFICATION, event_grid)).status == 400
    assert answer_of(unverified().receive("POST", headers, cloud_event)).status == 400


def test_a_stranger_gets_no_consent() -> None:
    """A validation is to be signed as deliveries are."""
    body = delivery.validation_event("/topics/songs", "v1", NOW_S * 1000, "code-1", "https://x")

    assert answer_of(receiver().receive("POST", VALIDATION, body)).status == 401
    headers = {**signed(body), "aeg-event-type": "SubscriptionValidation"}
    assert answer_of(receiver().receive("POST", headers, body)).status == 200


def test_a_farewell_is_taken() -> None:
    """That a subscription is gone is no event for the handler."""
    body = delivery.deletion_event("/topics/songs", "d1", NOW_S * 1000, "blues")
    headers = {**JSON, "aeg-event-type": "SubscriptionDeletion"}

    assert answer_of(unverified().receive("POST", headers, body)).status == 200


@pytest.mark.parametrize(
    ("origins", "rate", "allowed"),
    [(["*"], None, "*"), (["other.example", "Events.Example"], 120, "120")],
)
def test_consent_to_cloud_events(origins: list[str], rate: int | None, allowed: str) -> None:
    """The handshake of CloudEvents names the origin that asked, and the rate."""
    asked = {"WebHook-Request-Origin": "events.example"}

    answer = answer_of(
        unverified(origins=origins, rate_per_minute=rate).receive("OPTIONS", asked, b"")
    )

    assert answer.status == 200
    assert answer.headers["webhook-allowed-origin"] == "events.example"
    assert answer.headers["webhook-allowed-rate"] == allowed
    assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    ("headers", "status"), [({"webhook-request-origin": "other.example"}, 401), ({}, 405)]
)
def test_no_consent_to_cloud_events(headers: dict[str, str], status: int) -> None:
    """An origin that was not named gets no consent, nor does an OPTIONS that does not ask."""
    named = unverified(origins=["events.example"])

    answer = answer_of(named.receive("OPTIONS", headers, b""))

    assert answer.status == status
    assert "webhook-allowed-origin" not in answer.headers


# --- deliveries -----------------------------------------------------------------------------------


def test_what_the_headers_tell() -> None:
    """The subscription and the count of attempts are there for whoever wants them."""
    headers = {**NOTIFICATION, "aeg-subscription-name": "BLUES", "aeg-delivery-count": "3"}

    received = unverified().receive("POST", headers, BODY)

    assert (received.subscription, received.attempt) == ("BLUES", 3)
    headers["aeg-delivery-count"] = "many"
    assert unverified().receive("POST", headers, BODY).attempt == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "DELETE"])
def test_other_methods(method: str) -> None:
    """Deliveries come by POST."""
    answer = answer_of(receiver().receive(method, {}, b""))

    assert answer.status == 405
    assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(("extra", "status"), [(-1, None), (0, None), (1, 413)])
def test_the_bound_of_a_body(extra: int, status: int | None) -> None:
    """A body at the bound is taken, one byte more is 413."""
    bounded = unverified(body_bytes_max=len(BODY) - extra)

    received = bounded.receive("POST", NOTIFICATION, BODY)

    assert (received.answer.status if received.answer else None) == status


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[1]", b'[{"id":"1"}]', b'[{"id":1,"eventType":"x"}]', b"\xff",
             b'[{"id":"1","eventType":"x","eventTime":"soon"}]', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_delivery(body: bytes) -> None:
    """A malformed body gets 400, which says what is wrong."""
    answer = answer_of(unverified().receive("POST", NOTIFICATION, body))

    assert answer.status == 400
    assert answer.body


def test_objects_of_any_shape_are_taken_on_purpose() -> None:
    """A custom input schema is read when the receiver was told so, and else refused with a hint."""
    body = b'[{"genre": "blues"}]'

    (event,) = unverified(is_custom=True).receive("POST", NOTIFICATION, body).events

    assert event.data == {"genre": "blues"}
    refused = answer_of(unverified().receive("POST", NOTIFICATION, body))
    assert b"is_custom" in refused.body

"""A webhook's ladder: the way, the rule on addresses, and, when asked for, its consent."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from eventpost.testing.azure_identity import APPLICATION, TENANT, refusal
from eventpost.testing.receiver import Answer, Receiver
from tests.destinations.entra import AUDIENCE, entra_on_loopback
from tests.doctor.wards import (
    closing,
    examined,
    names,
    peer,
    refused_port,
    resetting,
    saying,
    verdict,
)
from tests.services.certificates import Authority


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def hook(url: str, **settings: object) -> dict[str, object]:
    return {
        "topics": {"songs": {}},
        "subscriptions": {"blues": {"topic": "songs", "endpoint": url}},
        **settings,
    }


def test_healthy(receiver: Receiver) -> None:
    """A handler that answers has no finding, and gets no event and no handshake."""
    found = examined(hook(receiver.url), "blues")

    assert verdict(found) == ("", ""), found
    assert names(found) == ["settings", "name", "route", "protocol"]
    assert receiver.requests == []


def test_consent(receiver: Receiver) -> None:
    """With a round trip the handler is asked for its consent, as before a first delivery."""
    found = examined(hook(receiver.url), "blues", is_round_trip=True)

    assert verdict(found) == ("", ""), found
    assert found.rungs[-1].name == "round trip"
    assert found.rungs[-1].detail == "the endpoint consents to deliveries"


REFUSALS: dict[str, tuple[bool | Answer, str]] = {
    "no such path": (False, "EP2602"),
    "unauthorized": (Answer(401), "EP2602"),
    "too many requests": (Answer(429), "EP2602"),
    "broken": (Answer(500), "EP2602"),
    "another code": (Answer(200, b'{"validationResponse": "another"}'), "EP2601"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_no_consent(receiver: Receiver, case: str) -> None:
    """Each way of not consenting has its finding, and what was answered."""
    consent, code = REFUSALS[case]
    receiver.consent = consent

    assert verdict(examined(hook(receiver.url), "blues", is_round_trip=True)) == (
        "round trip",
        code,
    )


def test_consent_that_comes_later(receiver: Receiver) -> None:
    """A handler that answers 200 without the code may consent later: unknown, and no fault."""
    receiver.consent = None

    found = examined(hook(receiver.url), "blues", is_round_trip=True)

    assert verdict(found) == ("", "")
    assert found.rungs[-1].state.value == "unknown"


SCRIPTS = {
    "resets": (resetting, "EP2204"),
    "closes": (closing, "EP2205"),
    "another protocol": (saying(b"220 mail.example ESMTP\r\n"), "EP2208"),
    "TLS": (saying(b"\x15\x03\x01\x00\x02\x02\x0a"), "EP2211"),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_peer_that_does_not_speak_http(case: str) -> None:
    """How an exchange ends is told at the rung of the protocol."""
    script, code = SCRIPTS[case]
    with peer(script) as port:
        assert verdict(examined(hook(f"http://127.0.0.1:{port}/"), "blues")) == ("protocol", code)


def test_nobody_is_there() -> None:
    """A port where nobody listens is refused at the route."""
    with refused_port() as port:
        assert verdict(examined(hook(f"http://127.0.0.1:{port}/"), "blues")) == ("route", "EP2004")


def test_the_rule_on_addresses() -> None:
    """An address that deliveries may not go to is told, with the server's own settings."""
    refused = hook("https://10.1.2.3/", network={"allow_private": []})

    assert verdict(examined(refused, "blues")) == ("name", "EP2701")


@pytest.mark.parametrize(("days", "code"), [(90, ""), (-1, "EP2103")])
def test_certificates(authority: Authority, days: float, code: str) -> None:
    """A certificate is judged by the authorities of the settings."""
    end = datetime.now(UTC) + timedelta(days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(file_name=f"hook{days}.pem", not_after=end))
    with peer(saying(b"HTTP/1.1 204 No Content\r\n\r\n"), context) as port:
        declared = hook(f"https://localhost:{port}/", network={"ca_file": str(authority.ca_file)})
        found = examined(declared, "blues")

    assert verdict(found) == (("tls", code) if code else ("", "")), found


@pytest.mark.parametrize("finding", ["", "EP4608"])
def test_a_token_that_the_webhook_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finding: str
) -> None:
    """Whether there is a token, and for whom, is a rung of its own; the handshake carries it."""
    with entra_on_loopback(tmp_path, monkeypatch) as entra:
        handler = Receiver(tls=entra.tls)
        if finding:
            entra.service.entra_answer = refusal("AADSTS7000215: Invalid client secret provided.")
        declared = {
            "topic": "songs",
            "endpoint": handler.url,
            "connection": "station",
            "azure_active_directory_tenant_id": TENANT,
            "azure_active_directory_application_id_or_uri": AUDIENCE,
        }
        config = {
            "network": {"ca_file": entra.ca_file, "proxies": "none"},
            "connections": {"station": {"kind": "entra", **msgspec.to_builtins(entra.settings)}},
            "topics": {"songs": {}},
            "subscriptions": {"blues": declared},
        }

        found = examined(config, "blues", is_round_trip=True)

        assert verdict(found)[1] == finding, found
        told = next(each for each in found.rungs if each.name == "credentials")
        if not finding:
            assert (
                told.detail == f"ClientSecretCredential ({APPLICATION}) has a token for {AUDIENCE}"
            )
            [question] = handler.handshakes
            assert question.headers["authorization"] == f"Bearer {entra.service.tokens[-1]}"
        handler.close()

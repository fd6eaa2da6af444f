"""Signatures, checked by the official library."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from eventpost.core.errors import InvalidRequest
from eventpost.formats import standardwebhooks

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"old secret, being rotated").decode()
BODY = json.dumps([{"id": "1", "data": "é"}]).encode()


def headers(secrets: list[str], body: bytes) -> dict[str, str]:
    now_s = int(datetime.now(UTC).timestamp())
    keys = [standardwebhooks.key(secret) for secret in secrets]
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now_s),
        "webhook-signature": standardwebhooks.sign(keys, "msg_1", now_s, body).decode(),
    }


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_official_library_verifies(secret: str) -> None:
    """While secrets are rotated a receiver with either one accepts the delivery."""
    Webhook(secret).verify(BODY, headers([SECRET, OLD_SECRET], BODY))


def test_unpadded_secret() -> None:
    """A secret without base64 padding is the same secret."""
    Webhook(OLD_SECRET).verify(BODY, headers([OLD_SECRET.rstrip("=")], BODY))


def test_raw_secret() -> None:
    """A secret without the prefix is used as it is."""
    Webhook(b"plain text").verify(BODY, headers(["plain text"], BODY))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_body(text: str) -> None:
    """Any body that is text verifies."""
    body = json.dumps(text, ensure_ascii=False).encode()

    assert Webhook(SECRET).verify(body, headers([SECRET], body)) == text


def test_changed_body_does_not_verify() -> None:
    """Another body, and another secret, do not verify."""
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" ", headers([SECRET], BODY))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, headers([OLD_SECRET], BODY))


def test_one_signature_per_secret() -> None:
    """The header holds one `v1` signature per secret, in their order."""
    keys = [b"new", b"old"]

    value = standardwebhooks.sign(keys, "id", 7, b"x")

    assert value.split(b" ") == [standardwebhooks.sign([key], "id", 7, b"x") for key in keys]
    assert value.startswith(b"v1,")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64 at all", "whsec_*"])
def test_bad_secret(secret: str) -> None:
    """A secret that cannot be meant is refused, and is not shown."""
    with pytest.raises(InvalidRequest) as caught:
        standardwebhooks.key(secret)

    assert not secret.removeprefix("whsec_") or secret not in str(caught.value)

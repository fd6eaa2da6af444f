"""Standard Webhooks signatures (https://www.standardwebhooks.com): one per secret, newest first."""

import binascii
import hmac
from collections.abc import Sequence

from eventpost.core.errors import InvalidRequest

SECRET_PREFIX = "whsec_"  # noqa: S105 - it is what marks a secret


def key(secret: str) -> bytes:
    """The signing key of `secret`: base64 behind `whsec_`, else the text itself.

    Decode once, sign often. Raises InvalidRequest, which does not show the secret.
    """
    if not secret.startswith(SECRET_PREFIX):
        decoded = secret.encode()
    else:
        encoded = secret[len(SECRET_PREFIX) :].rstrip("=")
        try:
            padded = encoded + "=" * (-len(encoded) % 4)
            decoded = binascii.a2b_base64(padded, strict_mode=True)
        except ValueError:
            raise InvalidRequest(
                "SigningSecretInvalid",
                f"The signing secret starts with '{SECRET_PREFIX}' but is not base64 behind it.",
                fix="Use the secret exactly as it was given, or one without that prefix.",
            ) from None
    if not decoded:
        raise InvalidRequest("SigningSecretInvalid", "The signing secret is empty.")
    return decoded


def lines(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> bytes:
    """The three headers of a signed request, each line with its end."""
    return b"webhook-id: %b\r\nwebhook-timestamp: %d\r\nwebhook-signature: %b\r\n" % (
        message_id.encode(),
        timestamp_s,
        sign(keys, message_id, timestamp_s, body),
    )


def sign(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> bytes:
    """The value of `webhook-signature`: one signature per key, so that secrets can be rotated.

    `message_id` and `timestamp_s` are what `webhook-id` and `webhook-timestamp` carry.
    """
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp_s, body)
    return b" ".join(
        [
            b"v1," + binascii.b2a_base64(hmac.digest(key, signed, "sha256"), newline=False)
            for key in keys
        ]
    )

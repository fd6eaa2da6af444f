"""Standard Webhooks signatures (https://www.standardwebhooks.com): one per secret, newest first."""

import binascii
import hmac
from collections.abc import Mapping, Sequence

from eventpost.core.errors import InvalidRequest, Unauthorized

SECRET_PREFIX = "whsec_"  # noqa: S105 - it is what marks a secret
TOLERANCE_S = 300.0
"""Between the clocks of both sides, as the official libraries have it."""
SIGNATURES_MAX = 16
"""Of one message that are looked at."""
_TIMESTAMP_CHARS_MAX = 12


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
    """The three headers of a signed request, each line with its end; b"" without a key."""
    if not keys:
        return b""
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


def verify(
    keys: Sequence[bytes],
    headers: Mapping[str, str],
    body: bytes,
    now_s: float,
    *,
    tolerance_s: float = TOLERANCE_S,
) -> None:
    """Raise Unauthorized unless one of the signatures was made of `body` with one of `keys`.

    Header names are in lower case. A message that is older or newer than `tolerance_s` is refused
    too: whoever recorded it sends it again.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (message_id and timestamp and signatures):
        raise _unverified("It carries no signature (webhook-id, -timestamp, -signature).")
    if not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > _TIMESTAMP_CHARS_MAX:
        raise _unverified("webhook-timestamp is no number of seconds.")
    if abs(now_s - int(timestamp)) > tolerance_s:
        raise _unverified(
            f"It was signed at {timestamp}, and here it is {int(now_s)} (seconds since 1970).",
            fix="Compare the clocks of both machines.",
        )
    given = [text.encode() for text in signatures.split(" ")[:SIGNATURES_MAX]]
    is_known = False
    for expected in sign(keys, message_id, int(timestamp), body).split(b" "):
        for each in given:
            is_known |= hmac.compare_digest(expected, each)
    if not is_known:
        raise _unverified("No signature was made of these bytes with a secret that is known here.")


def _unverified(why: str, *, fix: str = "") -> Unauthorized:
    return Unauthorized("SignatureInvalid", "The signature does not verify.", why=why, fix=fix)

"""Tokens of the form that Amazon MSK takes, good ones and odd ones, signed by our own hand.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import base64
import hashlib
import hmac
import time
from urllib.parse import quote

from tests.services.aws import REGION
from tests.services.kafka import IamKey

EXPIRES_S = 900


def iam_token(
    key: IamKey,
    *,
    region: str = REGION,
    host: str | None = None,
    action: str = "kafka-cluster:Connect",
    expires_s: int = EXPIRES_S,
    signed_at: float | None = None,
) -> str:
    """A presigned request in base64url, as of `signed_at` (default: now)."""
    host = host or f"kafka.{region}.amazonaws.com"
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(signed_at))
    scope = f"{date[:8]}/{region}/kafka-cluster/aws4_request"
    signed = {
        "Action": action,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key.access_key_id}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(expires_s),
        "X-Amz-SignedHeaders": "host",
    }
    if key.session_token:
        signed["X-Amz-Security-Token"] = key.session_token
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(signed.items()))
    request = "\n".join(["GET", "/", query, f"host:{host}", "", "host", _hash("")])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, _hash(request)])
    signature = _sign(_key_of(key, scope), text).hex()
    url = f"https://{host}/?{query}&X-Amz-Signature={signature}&User-Agent=tests"
    return base64.urlsafe_b64encode(url.encode()).rstrip(b"=").decode()


def _key_of(key: IamKey, scope: str) -> bytes:
    derived = f"AWS4{key.secret_access_key}".encode()
    for part in scope.split("/"):
        derived = _sign(derived, part)
    return derived


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()

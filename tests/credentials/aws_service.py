"""A service behind AWS signatures: it computes each signature anew, and takes valid keys only."""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from eventpost.testing.aws_keys import Issuer
from eventpost.testing.receiver import Answer, Reaction, Received
from eventpost.testing.scripted import ScriptedService

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key_id>[^/]+)/(?P<scope>[^,]+), "
    r"SignedHeaders=(?P<names>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Keys:
    secret_access_key: str
    session_token: str = ""


class AwsService(ScriptedService):
    """Speaks the JSON protocol of SQS; every call that is taken is answered with `{}`."""

    def __init__(self, issuer: Issuer | None = None) -> None:
        self.issuer = issuer
        """Of temporary keys."""
        self.keys: dict[str, Keys] = {}
        """Keys that are valid for good, by their ids."""
        self.taken: list[str] = []
        """The key's id of each call that was taken."""
        self.refused: list[str] = []
        super().__init__()

    def answer(self, request: Received) -> Reaction:
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return error("MissingAuthenticationToken", "Request is missing Authentication Token")
        key_id = found["key_id"]
        keys = self._keys(key_id)
        token = request.headers.get("x-amz-security-token", "")
        if keys is None or token != keys.session_token:
            self.refused.append(key_id)
            if key_id.startswith("ASIA"):
                return error(
                    "ExpiredToken", "The security token included in the request is expired"
                )
            return error("InvalidClientTokenId", "The security token included is invalid")
        if signature(request, found, keys.secret_access_key) != found["signature"]:
            self.refused.append(key_id)
            return error("SignatureDoesNotMatch", canonical(request, found["names"]))
        self.taken.append(key_id)
        return Answer(200, b"{}", {"Content-Type": "application/x-amz-json-1.0"})

    def _keys(self, key_id: str) -> Keys | None:
        issued = self.issuer.find(key_id) if self.issuer is not None else None
        if issued is not None:
            return Keys(issued.secret_access_key, issued.session_token)
        return self.keys.get(key_id)


def error(code: str, message: str, status: int = 403) -> Answer:
    """A refusal in the JSON protocol."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/x-amz-json-1.0"})


def canonical(request: Received, names: str) -> str:
    """The canonical request of Signature Version 4."""
    parts = urlsplit(request.path)
    headers = "".join(f"{name}:{request.headers[name]}\n" for name in names.split(";"))
    digest = hashlib.sha256(request.body).hexdigest()
    return "\n".join([request.method, parts.path, parts.query, headers, names, digest])


def signature(request: Received, found: re.Match[str], secret: str) -> str:
    """The signature that belongs to the request."""
    hashed = hashlib.sha256(canonical(request, found["names"]).encode()).hexdigest()
    lines = ["AWS4-HMAC-SHA256", request.headers["x-amz-date"], found["scope"], hashed]
    key = f"AWS4{secret}".encode()
    for part in found["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()

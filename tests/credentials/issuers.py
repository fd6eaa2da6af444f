"""An issuer of bearer tokens: real keys, real signatures, and a real server that publishes them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "https://eventgrid.azure.net"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKey:
    """One key pair. `name` is its `kid`."""

    def __init__(self, name: str | None = "key-1", algorithm: str = "RS256") -> None:
        self.name = name
        self.algorithm = algorithm
        self.private: Private
        if algorithm.startswith("ES"):
            self.private = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public(self) -> dict[str, Any]:
        """As a JWK."""
        key = self.private.public_key()
        kinds: dict[str, Any] = {"R": RSAAlgorithm, "P": RSAAlgorithm}
        maker = kinds.get(
            self.algorithm[0], ECAlgorithm if self.algorithm[:2] == "ES" else OKPAlgorithm
        )
        found: dict[str, Any] = json.loads(maker.to_jwk(key))
        found |= {"use": "sig", "alg": self.algorithm}
        return found if self.name is None else found | {"kid": self.name}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """A token with exactly these claims."""
        headers = header if self.name is None else {"kid": self.name, **header}
        return jwt.encode(claims, self.private, algorithm=self.algorithm, headers=headers)


def claims_of(issuer: str, now_s: float, **changed: Any) -> dict[str, Any]:
    """Of a good access token; None takes a claim away."""
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "exp": int(now_s) + 3_600,
        "nbf": int(now_s),
        "sub": "station",
        "roles": ["EventGrid.Sender"],
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def jwks(*keys: SigningKey) -> str:
    return json.dumps({"keys": [key.public for key in keys]})


class IssuerServer:
    """Publishes what `answers` holds by path: (status, text)."""

    def __init__(self) -> None:
        owner = self
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                status, text = owner.answers.get(self.path, (404, ""))
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", text)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def publish(self, *keys: SigningKey) -> None:
        """A discovery document and these keys."""
        document = json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        self.answers["/.well-known/openid-configuration"] = (200, document)
        self.answers["/keys"] = (200, jwks(*keys))


@contextmanager
def issuing(*keys: SigningKey) -> Iterator[IssuerServer]:
    """An issuer that is there, until the block ends."""
    issuer = IssuerServer()
    issuer.publish(*keys)
    thread = threading.Thread(target=issuer.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()
        thread.join()

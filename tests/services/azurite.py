"""Azurite: Azure Storage's queues and blobs, on loopback."""

import base64
import json
import time
from pathlib import Path

from tests.services.certificates import Authority
from tests.services.ports import accepts
from tests.services.service import INSTALLED, Service, lacks_file, lacks_program

MAIN = INSTALLED / "azurite/node_modules/azurite/dist/src/azurite.js"
ACCOUNT = "teststation"
KEY = base64.b64encode(b"a key that opens nothing anywhere else" * 2).decode()
OTHER_KEY = base64.b64encode(b"a key that opens nothing, here neither" * 2).decode()
"""Well formed, and wrong."""

TOKEN_AUDIENCE = "https://storage.azure.com"
TOKEN_ISSUER = "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/"


class Azurite(Service):
    """One account, `ACCOUNT` with `KEY`, over plain http."""

    name = "azurite"
    port_names = ("blob", "queue", "table")
    account = ACCOUNT
    key = KEY
    scheme = "http"

    @classmethod
    def lacks(cls) -> str | None:
        return lacks_program("node") or lacks_file(MAIN)

    @property
    def blob_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.ports['blob']}/{ACCOUNT}"

    @property
    def queue_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.ports['queue']}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return self.connection_string_with(KEY)

    def connection_string_with(self, key: str) -> str:
        return (
            f"DefaultEndpointsProtocol={self.scheme};AccountName={ACCOUNT};AccountKey={key};"
            f"BlobEndpoint={self.blob_url};QueueEndpoint={self.queue_url};"
        )

    def command(self) -> list[str]:
        ports = [f"--{name}Port={self.ports[name]}" for name in self.port_names]
        quiet = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        return ["node", str(MAIN), *quiet, *self.storage(), *ports]

    def storage(self) -> list[str]:
        """On disk, so that a restart finds what was there."""
        return [f"--location={self.directory / 'data'}"]

    def environment(self) -> dict[str, str]:
        return {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}

    def is_ready(self) -> bool:
        return all(accepts(port) for port in self.ports.values())


class AzuriteInMemory(Azurite):
    """The same for who does not restart it, and half as fast again."""

    name = "azurite-in-memory"

    def storage(self) -> list[str]:
        return ["--inMemoryPersistence"]


class AzuriteWithTokens(Azurite):
    """The same over TLS, where bearer tokens are taken besides the key.

    It looks at a token's audience, issuer and times, and not at its signature.
    """

    name = "azurite-tokens"
    scheme = "https"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def prepare(self) -> None:
        Authority(self.directory).issue()

    def command(self) -> list[str]:
        pem = self.directory / "server.pem"
        return [*super().command(), f"--cert={pem}", f"--key={pem}", "--oauth=basic"]


def token(
    *,
    audience: str = TOKEN_AUDIENCE,
    issuer: str = TOKEN_ISSUER,
    not_before_s: float = -60,
    expires_s: float = 3600,
) -> str:
    """A bearer token as the identity service would give it, times relative to now."""
    now = time.time()
    claims = {
        "aud": audience,
        "iss": issuer,
        "sub": "tests",
        "iat": int(now),
        "nbf": int(now + not_before_s),
        "exp": int(now + expires_s),
    }
    return ".".join(_part(value) for value in ({"alg": "RS256", "typ": "JWT"}, claims, "unsigned"))


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

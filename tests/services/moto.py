"""The moto server: SQS, S3, SNS, IAM, STS and more of AWS, on loopback.

Each call walks all messages that are stored, so queues are kept short here; for volume there is
ElasticMQ. It is shared: use fresh names, and never reset it.
"""

import importlib.util
import sys
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import urlopen

from tests.services.aws import (
    ACCESS_KEY_ID,
    ACCOUNT_ID,
    REGION,
    SECRET_ACCESS_KEY,
    client_environment,
)
from tests.services.service import INSTALL_HINT, Service

__all__ = [
    "ACCESS_KEY_ID",
    "ACCOUNT_ID",
    "REGION",
    "SECRET_ACCESS_KEY",
    "Moto",
    "MotoWithPolicies",
]


class Moto(Service):
    """Every key is good here, and may do everything."""

    name = "moto"
    port_names = ("http",)
    region = REGION

    @classmethod
    def lacks(cls) -> str | None:
        wanted = ("moto", "flask", "flask_cors")
        missing = [name for name in wanted if importlib.util.find_spec(name) is None]
        return f"the package {missing[0]} is not installed; {INSTALL_HINT}" if missing else None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def client_environment(self) -> dict[str, str]:
        """What lets any AWS SDK find it."""
        return client_environment(self.url)

    def command(self) -> list[str]:
        address = ["-H", "127.0.0.1", "-p", str(self.ports["http"])]
        return [sys.executable, "-m", "moto.server", *address]

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/moto-api/data.json", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, HTTPException, OSError):
            return False


class MotoWithPolicies(Moto):
    """Signatures and policies count, after the first calls, which make the first user."""

    name = "moto-policies"
    free_calls = 4

    def environment(self) -> dict[str, str]:
        return {"INITIAL_NO_AUTH_ACTION_COUNT": str(self.free_calls)}

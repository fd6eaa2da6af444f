"""Microsoft Entra on loopback, with TLS, and endpoints that want its tokens."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import entra
from eventpost.credentials.entra import EntraConnection
from eventpost.testing.azure_identity import APPLICATION, TENANT, AzureIdentity
from eventpost.testing.destination_conformance import PATIENCE_S

AUDIENCE = "api://blues-handler"
SECRET = "the secret of the application"
LIFE_S = 240.0
"""Less than the 300 s before its end from where on the SDK asks anew each time."""


@dataclass(frozen=True, slots=True)
class Entra:
    """Where tokens come from; `ca_file` vouches for it and for `tls`."""

    service: AzureIdentity
    tls: ssl.SSLContext
    ca_file: str

    @property
    def settings(self) -> EntraConnection:
        return EntraConnection(
            client_id=APPLICATION, client_secret="env:ENTRA_TEST_SECRET", authority=self.authority
        )

    @property
    def authority(self) -> str:
        return self.service.url

    @property
    def asked(self) -> list[Any]:
        """The requests for tokens."""
        return [each for each in self.service.asked if each.path.endswith("/oauth2/v2.0/token")]


@contextmanager
def entra_on_loopback(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    ca_file = directory / "entra-ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    monkeypatch.setenv("ENTRA_TEST_SECRET", SECRET)
    with AzureIdentity(tls=context, life_s=LIFE_S) as service:
        yield Entra(service, context, str(ca_file))
        service.release()
        entra.close_all()


def endpoint(url: str, **fields: Any) -> Endpoint:
    return Endpoint(
        address=url,
        azure_active_directory_tenant_id=TENANT,
        azure_active_directory_application_id_or_uri=AUDIENCE,
        **fields,
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def quiet() -> None:
    """Until nothing is open on the running loop: TLS takes leave of its peer."""
    selector = vars(asyncio.get_running_loop())["_selector"]
    await until(lambda: len(selector.get_map()) == 1)  # what wakes the loop

"""Programs that run where the addresses and names of Azure are their own: `python -m ... SCENE`."""

import json
import os
import ssl
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trustme

from eventpost.credentials import azure
from eventpost.testing.azure_identity import APPLICATION, TENANT, AzureIdentity, refusal
from eventpost.testing.receiver import Reaction

ENTRA = "login.microsoftonline.com"
INSTANCE = "169.254.169.254"
Told = dict[str, Any]
SETTINGS = azure.AzureStorageConnection(account="bluesradio")
PRINCIPAL = {
    "AZURE_TENANT_ID": TENANT,
    "AZURE_CLIENT_ID": APPLICATION,
    "AZURE_CLIENT_SECRET": "a secret of the application",
}
TOKEN = '{"accessToken": "cli-token", "expires_on": 4102444800, "expiresOn": "2099-12-31 00:00"}'


class Client:
    """Made of what a session gives; nothing is sent."""

    def __init__(self, url: str, credential: object) -> None:
        self.credential = credential

    def close(self) -> None:
        pass


def answered(**variables: str) -> Told:
    """What a session says after it was used in this environment, and whether that changed."""
    azure.close_all()
    before = dict(os.environ)
    os.environ |= variables
    around = dict(os.environ)
    session = azure.Session(SETTINGS)
    told: Told = {"link_before": session.report().link}
    try:
        session.client("queue", Client)
    except Exception as error:  # noqa: BLE001  # told to the test
        found = azure.evidence_of(error, "send")
        told["evidence"] = None if found is None else msgspec.to_builtins(found)
        told["error"] = repr(error)
    told["report"] = msgspec.to_builtins(session.report())
    told["is_untouched"] = dict(os.environ) == around
    os.environ.clear()
    os.environ |= before
    return told


@contextmanager
def entra() -> Iterator[AzureIdentity]:
    """Entra at its own name, whose certificate is taken."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ENTRA).configure_cert(context)
    with (
        tempfile.NamedTemporaryFile("wb") as file,
        AzureIdentity(port=443, tls=context) as service,
    ):
        file.write(authority.cert_pem.bytes())
        file.flush()
        os.environ["REQUESTS_CA_BUNDLE"] = file.name
        yield service


def program(name: str, text: str) -> None:
    """A program of that name on the path."""
    path = Path(os.environ["PATH"]) / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# --- scenes -------------------------------------------------------------------------------------


def nothing() -> Told:
    return answered()


def only_managed_identity() -> Told:
    return answered(AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential")


def halves() -> Told:
    """A variable without those that belong to it."""
    return {
        "secret": answered(AZURE_CLIENT_SECRET="s", AZURE_CLIENT_ID=APPLICATION),
        "certificate": answered(AZURE_CLIENT_CERTIFICATE_PATH="/c.pem", AZURE_TENANT_ID=TENANT),
        "federated": answered(AZURE_FEDERATED_TOKEN_FILE="/token", AZURE_TENANT_ID=TENANT),
        "header": answered(IDENTITY_HEADER="h"),
    }


def cli() -> Told:
    program("az", f"echo '{TOKEN}'")
    return answered()


def cli_signed_out() -> Told:
    program("az", "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1")
    return {
        "in the chain": answered(),
        "alone": answered(AZURE_TOKEN_CREDENTIALS="AzureCliCredential"),
    }


def cli_missing() -> Told:
    return answered(AZURE_TOKEN_CREDENTIALS="AzureCliCredential")


def instance() -> Told:
    """A virtual machine: the metadata service at its own address."""
    with AzureIdentity(host=INSTANCE, port=80) as service:
        found = answered()
        service.application = None
        return {"assigned": found, "not assigned": answered()}


def instance_behind_a_stranger() -> Told:
    """Something else listens at the address of the metadata service."""
    with AzureIdentity(host=INSTANCE, port=80) as service:
        service.script(*[200] * 20)
        return answered(AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential")


def principal() -> Told:
    """A secret of an application, taken by Entra; it comes before everything else."""
    program("az", f"echo '{TOKEN}'")
    with entra() as service, AzureIdentity(host=INSTANCE, port=80) as machine:
        found = answered(**PRINCIPAL)
        paths = [asked.path.partition("?")[0] for asked in service.asked]
        return {**found, "paths": paths, "machine_asked": len(machine.asked)}


def order() -> Told:
    """Each link with all that come after it."""
    program("az", f"echo '{TOKEN}'")
    with entra(), AzureIdentity() as app, tempfile.NamedTemporaryFile("w") as file:
        file.write("a.b.c")
        file.flush()
        federated = {
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": APPLICATION,
            "AZURE_FEDERATED_TOKEN_FILE": file.name,
        }
        secret = {"AZURE_CLIENT_SECRET": PRINCIPAL["AZURE_CLIENT_SECRET"]}
        told = {
            "EnvironmentCredential": answered(**federated, **secret, **app.app_service()),
            "WorkloadIdentityCredential": answered(**federated, **app.app_service()),
            "ManagedIdentityCredential": answered(**app.app_service()),
        }
    told["AzureCliCredential"] = answered()
    return told


NUMBERS = (
    "AADSTS90002",
    "AADSTS700016",
    "AADSTS7000215",
    "AADSTS7000222",
    "AADSTS500011",
    "AADSTS53003",
    "AADSTS999999",
)


def refused_by_entra() -> Told:
    """An application's secret, and what Entra may say of it."""
    told = {}
    with entra() as service:
        for number in NUMBERS:
            refuses = refusal(number)
            usual = service.answer

            def answer(request: Any, refuses: Reaction = refuses) -> Reaction:
                is_token = request.path.endswith("/token")
                return refuses if is_token else usual(request)  # noqa: B023  # called at once

            service.answer = answer  # type: ignore[method-assign]  # this number
            told[number] = answered(**PRINCIPAL)
            service.answer = usual  # type: ignore[method-assign]  # as before
    return told


def entra_unreachable() -> Told:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("a.b.c")
        file.flush()
        federated = {**PRINCIPAL, "AZURE_FEDERATED_TOKEN_FILE": file.name}
        del federated["AZURE_CLIENT_SECRET"]
        return answered(**federated)


SCENES: dict[str, Callable[[], Told]] = {
    scene.__name__: scene
    for scene in (
        nothing,
        only_managed_identity,
        halves,
        cli,
        cli_signed_out,
        cli_missing,
        instance,
        instance_behind_a_stranger,
        principal,
        order,
        refused_by_entra,
        entra_unreachable,
    )
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PATH"] = folder
        told = SCENES[sys.argv[1]]()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()

"""The SDK's chain on machines of all kinds, and every way in which it fails, to the finding.

Most of them take place in a network namespace, where the metadata service's address and the name of
Entra are this machine's.
"""

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.storage.queue import QueueServiceClient

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Stage
from eventpost.credentials import azure
from eventpost.credentials.azure_settings import AzureStorageConnection
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.classify import classify, explain
from eventpost.diagnosis.services.azure import FINDINGS
from eventpost.testing.azure_identity import APPLICATION, AzureIdentity, refusal
from tests.credentials import azure_scenes, namespace
from tests.credentials.azure_scenes import ENTRA, INSTANCE, Client
from tests.credentials.conftest import Surround
from tests.services.azurite import OTHER_KEY, Azurite

SETTINGS = AzureStorageConnection(account="bluesradio")


@cache
def played(scene: str, *, has_instance: bool = True) -> dict[str, Any]:
    """What a scene told, played where the addresses and names of Azure are its own."""
    namespace.require_namespace()
    around = namespace.command(*[INSTANCE] * has_instance, names={ENTRA: "127.0.0.1"})
    arguments = [*around, sys.executable, "-m", azure_scenes.__name__, scene]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def finding(told: dict[str, Any]) -> str:
    """The finding of a scene's failure; nothing was changed around it."""
    assert told["is_untouched"]
    assert told["evidence"] is not None, told["error"]
    evidence = msgspec.convert(told["evidence"], Evidence)
    assert (evidence.system, evidence.operation) == ("azure", "send")
    assert evidence.detail
    return classify(evidence)


def evidence_of(error: BaseException) -> Evidence:
    found = azure.evidence_of(error, "send")
    assert found is not None, repr(error)
    return found


# --- which link answers ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "link",
    [
        "EnvironmentCredential",
        "WorkloadIdentityCredential",
        "ManagedIdentityCredential",
        "AzureCliCredential",
    ],
)
def test_the_first_link_wins(link: str) -> None:
    """Of this link and all that come after it, this one answers, and is reported."""
    told = played("order", has_instance=False)[link]

    assert told["link_before"] == ""
    assert told["report"]["link"] == link
    assert told["is_untouched"]


@pytest.mark.slow
def test_a_secret_of_an_application() -> None:
    """A complete set in the environment is used, and nothing after it is asked."""
    told = played("principal")

    assert told["report"]["link"] == "EnvironmentCredential"
    assert told["report"]["identity"] == APPLICATION
    assert told["paths"][-1].endswith("/oauth2/v2.0/token")
    assert told["machine_asked"] == 0


@pytest.mark.slow
def test_a_virtual_machine() -> None:
    """The metadata service is found at its own address."""
    told = played("instance")["assigned"]

    assert told["report"]["link"] == "ManagedIdentityCredential"
    assert told["report"]["identity"] == APPLICATION


@pytest.mark.slow
def test_a_developer_s_machine() -> None:
    """Whoever signed in with the Azure CLI is found, when nothing else is there."""
    assert played("cli", has_instance=False)["report"]["link"] == "AzureCliCredential"


# --- failures, in a namespace ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "code"),
    [
        ("nothing", "EP4601"),
        ("only_managed_identity", "EP4603"),
        ("cli_missing", "EP4605"),
        ("entra_unreachable", "EP4612"),
    ],
)
def test_a_machine_without(scene: str, code: str) -> None:
    """What a machine lacks is told by its number."""
    assert finding(played(scene, has_instance=False)) == code


@pytest.mark.slow
def test_a_stranger_at_the_metadata_service_s_address() -> None:
    """Something else at that address is told apart from nobody at all."""
    assert finding(played("instance_behind_a_stranger")) == "EP4616"


@pytest.mark.slow
def test_a_virtual_machine_without_identity() -> None:
    """A metadata service that knows no identity decides, though the chain goes on after it."""
    assert finding(played("instance")["not assigned"]) == "EP4604"


@pytest.mark.slow
@pytest.mark.parametrize("half", ["secret", "certificate", "federated", "header"])
def test_half_a_set_in_the_environment(half: str) -> None:
    """A half set in the environment, which the chain passes over silently, is told by name."""
    told = played("halves", has_instance=False)[half]

    assert finding(told) == "EP4602"
    assert "missing" in told["evidence"]["detail"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in the chain", "alone"])
def test_a_cli_that_is_signed_out(how: str) -> None:
    """An Azure CLI that is there with nobody signed in decides, in the chain and alone."""
    assert finding(played("cli_signed_out", has_instance=False)[how]) == "EP4605"


@pytest.mark.slow
@pytest.mark.parametrize("number", azure_scenes.NUMBERS)
def test_what_entra_says(number: str) -> None:
    """Entra's own number leads to its finding; one that nobody knows still says what was said."""
    told = played("refused_by_entra")[number]

    assert finding(told) == FINDINGS.get(number, "EP4600")
    assert told["evidence"]["code"] == number
    assert told["evidence"]["credential"] == "EnvironmentCredential"


# --- failures, in this process --------------------------------------------------------------------


@pytest.fixture
def entra(tmp_path: Path, surround: Surround) -> Iterator[AzureIdentity]:
    """Entra with a pod that is federated with it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text("a.b.c")
    with AzureIdentity(tls=context) as service:
        surround(
            REQUESTS_CA_BUNDLE=str(tmp_path / "ca.pem"),
            AZURE_CLIENT_ID=APPLICATION,
            AZURE_FEDERATED_TOKEN_FILE=str(tmp_path / "token"),
            **service.entra(),
        )
        yield service


def failure() -> Evidence:
    """Why a client cannot be had in this environment."""
    with pytest.raises(Exception) as caught:  # the table must know it
        azure.Session(SETTINGS).client("queue", Client)
    return evidence_of(caught.value)


def test_a_pod_is_federated(entra: AzureIdentity) -> None:
    """The token of a pod is exchanged for one of Entra's."""
    entra.assertion = "a.b.c"
    session = azure.Session(SETTINGS)

    session.client("queue", Client)

    assert session.report().link == "WorkloadIdentityCredential"


def test_a_pod_s_token_file_is_missing(entra: AzureIdentity, surround: Surround) -> None:
    """A token file that is not mounted stops the chain, and is told by its name."""
    surround(AZURE_FEDERATED_TOKEN_FILE="/not/mounted")

    evidence = failure()

    assert classify(evidence) == "EP4610"
    assert "/not/mounted" in evidence.detail


def test_a_pod_that_is_not_trusted(entra: AzureIdentity) -> None:
    """A token that matches no federated credential is told so."""
    entra.assertion = "x.y.z"

    assert classify(failure()) == "EP4609"


@pytest.mark.parametrize("number", sorted(n for n in FINDINGS if n.startswith("AADSTS")))
def test_every_number_has_its_finding(entra: AzureIdentity, number: str) -> None:
    """Each number of Entra's that is known leads through the SDK to its own finding."""
    entra.script(refusal(number))

    evidence = failure()

    assert (evidence.code, classify(evidence)) == (number, FINDINGS[number])
    assert evidence.credential == "WorkloadIdentityCredential"


@pytest.mark.slow
def test_entra_shows_another_certificate(entra: AzureIdentity, surround: Surround) -> None:
    """A certificate that is not trusted is told as Entra out of reach."""
    surround(REQUESTS_CA_BUNDLE=None)

    assert classify(failure()) == "EP4612"


def test_an_app_without_identity(managed: AzureIdentity) -> None:
    """An app to which no identity is assigned is told so."""
    managed.application = None

    assert classify(failure()) == "EP4604"


def test_an_identity_of_another(managed: AzureIdentity) -> None:
    """A client id that is not assigned to this app is told so."""
    settings = AzureStorageConnection(account="a", managed_identity_client_id="another")
    with pytest.raises(ClientAuthenticationError) as caught:
        azure.session(settings).client("queue", Client)

    assert classify(evidence_of(caught.value)) == "EP4604"


def test_a_header_of_another_app(managed: AzureIdentity, surround: Surround) -> None:
    """Variables that were copied from another app are refused by the service, and told so."""
    surround(IDENTITY_HEADER="another app's")

    evidence = failure()

    assert classify(evidence) == "EP4616"
    assert "another app's" not in repr(evidence)


@pytest.mark.slow
def test_an_app_whose_service_is_gone(managed: AzureIdentity) -> None:
    """An identity service that refuses connections is told so."""
    managed.refuse()

    assert classify(failure()) == "EP4603"


def test_a_selection_that_is_none(managed: AzureIdentity, surround: Surround) -> None:
    """A misspelt selection of links is told as the SDK's setting, not as missing credentials."""
    surround(AZURE_TOKEN_CREDENTIALS="managed-identity")

    assert classify(failure()) == "EP4618"


def test_an_authority_over_http(managed: AzureIdentity, surround: Surround) -> None:
    """An authority without TLS is told as the SDK's setting, too."""
    surround(AZURE_AUTHORITY_HOST="http://login.example")

    assert classify(failure()) == "EP4618"


# --- credentials that a program uses by itself ----------------------------------------------------


def test_a_token_over_http_through_the_sdk_alone(managed: AzureIdentity) -> None:
    """What the SDK says itself of a token over plain http leads to the same finding as ours."""
    url = "http://127.0.0.1:10001/devstoreaccount1"
    with DefaultAzureCredential() as credential, pytest.raises(ValueError, match="HTTPS") as by_sdk:
        QueueServiceClient(url, credential=credential)
    with pytest.raises(InvalidRequest) as by_us:
        azure.session(AzureStorageConnection(account_url=url)).client("queue", Client)

    for caught in (by_sdk, by_us):
        evidence = evidence_of(caught.value)
        assert (classify(evidence), evidence.stage) == ("EP4611", Stage.SETTINGS)


def test_a_key_that_is_none_through_the_sdk_alone() -> None:
    """What the SDK says itself of a malformed key leads to the same finding as ours."""
    url = "https://bluesradio.queue.core.windows.net"
    with (
        QueueServiceClient(url, credential="not base64!") as client,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        list(client.list_queues())

    assert classify(evidence_of(caught.value)) == "EP4617"


def test_a_credential_that_is_asked_alone(managed: AzureIdentity) -> None:
    """A credential of the SDK's that a program uses without a chain is understood as well."""
    managed.application = None
    with (
        ManagedIdentityCredential() as credential,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        credential.get_token("https://storage.azure.com/.default")

    assert classify(evidence_of(caught.value)) == "EP4604"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: AzureStorageConnection(account_key="env:KEY"), "EP4602"),
        (
            lambda: azure.session(
                AzureStorageConnection(account="a", account_key="env:NOT_THERE")
            ).client("queue", Client),
            "EP4042",
        ),
    ],
)
def test_our_own_refusals_are_evidence_too(make: Callable[[], object], code: str) -> None:
    """What is refused before the SDK is asked leads to its finding like everything else."""
    with pytest.raises(InvalidRequest) as caught:
        make()

    evidence = evidence_of(caught.value)
    assert classify(evidence) == code
    assert explain(evidence).fix


@pytest.mark.slow
def test_a_service_s_refusal_is_the_adapter_s(azurite: Azurite) -> None:
    """A key that the account refuses is no failure to find credentials, though the SDK's class for
    it is the same."""
    credential = {"account_name": azurite.account, "account_key": OTHER_KEY}
    with (
        QueueServiceClient(azurite.queue_url, credential=credential) as client,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        list(client.list_queues())

    assert azure.evidence_of(caught.value, "send") is None


@pytest.mark.parametrize("error", [ValueError("no"), HttpResponseError("no"), OSError("no")])
def test_errors_of_others_are_not_taken(error: Exception) -> None:
    """Errors that are not about credentials are left alone."""
    assert azure.evidence_of(error, "send") is None


def test_every_finding_of_azure_credentials_is_reached() -> None:
    """No number of this range is left that nothing leads to."""
    known = {code for code in catalogue.all_codes() if code.startswith("EP46")}

    assert known == {code for code in FINDINGS.values() if code.startswith("EP46")}

"""Tokens of Microsoft Entra by the SDK's own chain: shared, renewed in time, and told of."""

import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential
from azure.storage.queue import QueueServiceClient

from eventpost.credentials import azure
from eventpost.credentials.azure_settings import AzureStorageConnection
from eventpost.credentials.azure_token import (
    RENEW_S,
    RETRY_S,
    STORAGE_SCOPE,
    TokenCredential,
    default_credential,
)
from eventpost.testing.azure_identity import APPLICATION, LIFE_S, AzureIdentity
from eventpost.testing.receiver import HANG
from tests.services.azurite import Azurite, AzuriteWithTokens

SETTINGS = AzureStorageConnection(account="bluesradio")
SHORT_S = 200.0
"""Less than the five minutes before its end in which a token is replaced at every use."""


class Client:
    """Made of what a session gives; nothing is sent."""

    def __init__(self, url: str, credential: Any) -> None:
        self.url = url
        self.credential = credential
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


# --- sessions -----------------------------------------------------------------------------------


def test_who_answered_is_told(managed: AzureIdentity) -> None:
    """A token of the managed identity is used, and the report says by which link, whose it is, and
    until when; the environment is left as it was."""
    around = dict(os.environ)
    session = azure.session(SETTINGS)
    assert session.report().link == ""

    client = session.client("queue", Client)

    report = session.report()
    assert client.url == "https://bluesradio.queue.core.windows.net"
    assert report.link == "ManagedIdentityCredential"
    assert report.identity == APPLICATION
    assert report.is_renewed
    assert report.expires_ms == pytest.approx((time.time() + LIFE_S) * 1_000, abs=5_000)
    assert dict(os.environ) == around


def test_the_chain_is_the_sdk_s(managed: AzureIdentity) -> None:
    """The credential that is asked is DefaultAzureCredential with all the links that it has."""
    from azure.identity import DefaultAzureCredential

    ours, theirs = default_credential(), DefaultAzureCredential()

    assert type(ours.asked) is DefaultAzureCredential
    assert [type(link) for link in ours.asked.credentials] == [
        type(link) for link in theirs.credentials
    ]
    for credential in (ours, theirs):
        credential.close()


def test_the_link_is_kept_where_it_is_looked_for(managed: AzureIdentity) -> None:
    """The installed version of the SDK keeps the link that answered where the report reads it."""
    credential = default_credential()
    credential.get_token_info(STORAGE_SCOPE)

    assert type(credential.asked._successful_credential) is ManagedIdentityCredential
    credential.close()


def test_a_version_that_tells_no_link(managed: AzureIdentity) -> None:
    """Where an SDK does not say which link answered, the report names the credential as a whole."""

    class Silent:
        def __init__(self) -> None:
            self._inner = ManagedIdentityCredential()

        def get_token_info(self, *scopes: str, options: Any = None) -> Any:
            return self._inner.get_token_info(*scopes, options=options)

        def close(self) -> None:
            self._inner.close()

    credential = TokenCredential(Silent)

    credential.get_token_info(STORAGE_SCOPE)

    assert credential.link == "Silent"
    credential.close()


def test_one_credential_for_all_accounts(managed: AzureIdentity) -> None:
    """Two accounts, and two services of each, share one credential and one token."""
    sessions = [azure.session(AzureStorageConnection(account=name)) for name in ("one", "two")]

    made = [
        session.client(service, Client) for session in sessions for service in ("queue", "blob")
    ]

    assert len({id(client.credential) for client in made}) == 1
    assert len(managed.tokens) == 1
    assert azure.session(AzureStorageConnection(account="one")) is sessions[0]
    assert sessions[0].client("queue", Client) is made[0]


def test_a_report_asks_nobody(managed: AzureIdentity) -> None:
    """Reporting, before and after the first call, asks the identity service nothing."""
    session = azure.session(SETTINGS)

    session.report()
    assert managed.asked == []
    session.client("queue", Client)
    asked = len(managed.asked)
    for _ in range(10):
        session.report()

    assert len(managed.asked) == asked


def test_a_user_assigned_identity(managed: AzureIdentity) -> None:
    """The client id of the settings is passed on to the SDK."""
    settings = AzureStorageConnection(account="a", managed_identity_client_id=APPLICATION)

    azure.session(settings).client("queue", Client)

    assert f"client_id={APPLICATION}" in managed.asked[0].path


def test_a_program_s_own_credential(managed: AzureIdentity) -> None:
    """A credential that a program gives is asked, and named by its class."""
    with ManagedIdentityCredential() as given:
        session = azure.session(SETTINGS, given)

        session.client("queue", Client)

        assert session.report().link == "ManagedIdentityCredential"
        assert len(managed.tokens) == 1


@pytest.mark.parametrize("kind", ["account_key", "sas", "connection_string"])
def test_secrets_are_reported_by_kind(tmp_path: Path, kind: str) -> None:
    """A key, a signature or a connection string is reported as what it is, with its account."""
    secret = tmp_path / "secret"
    secret.write_text(
        {
            "account_key": "a2V5",
            "sas": "?sv=2024&se=2030-01-01T00:00:00Z&sig=c2ln",
            "connection_string": "AccountName=bluesradio;AccountKey=a2V5",
        }[kind]
    )
    account = {} if kind == "connection_string" else {"account": "bluesradio"}
    settings = AzureStorageConnection(**account, **{kind: f"file:{secret}"})  # type: ignore[arg-type]
    session = azure.session(settings)

    session.client("queue", Client)

    report = session.report()
    assert (report.link, report.identity) == (kind, "bluesradio")
    assert report.expires_ms == (1_893_456_000_000 if kind == "sas" else None)
    assert not report.is_renewed


def test_found_and_renewed_are_logged(
    managed: AzureIdentity, caplog: pytest.LogCaptureFixture
) -> None:
    """Who answered stands in the log once, and again with each new token; no token does."""
    managed.life_s = SHORT_S
    caplog.set_level(logging.INFO, "eventpost.credentials")
    session = azure.session(SETTINGS)

    session.client("queue", Client)
    session.client("queue", Client)

    ours = [record for record in caplog.records if record.name == "eventpost.credentials"]
    assert [record.message for record in ours][:1] == ["credentials.found"]
    assert ours[0].fields["link"] == "ManagedIdentityCredential"  # type: ignore[attr-defined]
    text = repr([vars(record) for record in caplog.records])
    assert all(token not in text for token in managed.tokens)


# --- rotation -----------------------------------------------------------------------------------


def test_rotation_under_load(managed: AzureIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    """While tokens are replaced all the time, every call of every thread has a valid one."""
    # Where one request fails the token in hand is used for half a minute: no time for a test.
    monkeypatch.setattr("eventpost.credentials.azure_token.RETRY_S", 0.01)
    managed.life_s = SHORT_S
    session = azure.session(SETTINGS)

    used: set[str] = set()

    def call(_: int) -> None:
        while len(used) < 20:
            client = session.client("queue", Client)
            used.add(client.credential.get_token_info(STORAGE_SCOPE).token)
            time.sleep(0.001)  # lets the service's thread run

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))

    assert used <= set(managed.tokens)
    assert session.report().link == "ManagedIdentityCredential"


def test_a_token_is_shared_until_it_is_due(managed: AzureIdentity) -> None:
    """A token is used until it is due, and replaced from then on."""
    now = [time.time()]
    credential = TokenCredential(lambda: Counting(lambda: now[0] + 3_600), now_s=lambda: now[0])

    first = credential.get_token_info("scope")
    now[0] += 3_600 - RENEW_S - 1
    assert credential.get_token_info("scope") is first
    now[0] += 1
    assert credential.get_token_info("scope") is not first


class Counting:
    """A credential of a program's own, without a network."""

    def __init__(self, expires_s: Callable[[], float]) -> None:
        self.expires_s = expires_s
        self.count = 0
        self.error: Exception | None = None
        self.entered = threading.Event()
        self.held = threading.Event()
        self.held.set()

    def get_token_info(self, *scopes: str, options: Any = None) -> Any:
        from azure.core.credentials import AccessTokenInfo

        self.count += 1
        self.entered.set()
        assert self.held.wait(60)
        if self.error is not None:
            raise self.error
        return AccessTokenInfo(f"token-{self.count}", int(self.expires_s()))


def test_an_outage_is_bridged() -> None:
    """While no new token can be had, the one in hand is used to its end; the place where tokens
    come from is asked again only now and then."""
    now = [1_000_000.0]
    asked = Counting(lambda: now[0] + 1_000)
    credential = TokenCredential(lambda: asked, now_s=lambda: now[0])
    first = credential.get_token_info("scope")
    asked.error = ClientAuthenticationError("no")

    now[0] += 1_000 - RENEW_S
    for _ in range(5):
        assert credential.get_token_info("scope") is first
    assert asked.count == 2
    assert credential.failure is asked.error
    now[0] += RETRY_S
    assert credential.get_token_info("scope") is first
    assert asked.count == 3
    now[0] += RENEW_S
    with pytest.raises(ClientAuthenticationError):
        credential.get_token_info("scope")
    asked.error = None
    assert credential.get_token_info("scope") is not first
    assert credential.failure is None


def test_when_it_is_renewed_is_a_setting() -> None:
    """So long before its end, and after a refresh in vain so much later, as the settings say."""
    now = [1_000_000.0]
    asked = Counting(lambda: now[0] + 1_000)
    credential = TokenCredential(lambda: asked, renew_s=100, retry_s=7, now_s=lambda: now[0])
    credential.get_token_info("scope")

    counts = []
    asked.error = ClientAuthenticationError("no")
    for step_s in (899, 1, 6, 1):
        now[0] += step_s
        credential.get_token_info("scope")
        counts.append(asked.count)

    assert counts == [1, 2, 2, 3]


def test_nobody_waits_for_a_token_while_one_is_good() -> None:
    """One thread fetches the next token; the others go on with the one that is still good."""
    now = [1_000_000.0]
    asked = Counting(lambda: now[0] + 1_000)
    credential = TokenCredential(lambda: asked, now_s=lambda: now[0])
    first = credential.get_token_info("scope")
    now[0] += 1_000 - RENEW_S
    asked.held.clear()
    asked.entered.clear()
    fetching = threading.Thread(target=credential.get_token_info, args=("scope",))
    fetching.start()
    assert asked.entered.wait(60)

    assert credential.get_token_info("scope") is first

    asked.held.set()
    fetching.join()
    assert credential.get_token_info("scope") is not first


class WatchedLock:
    """A lock that tells how many have come to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._come = threading.Semaphore(0)

    def acquire(self, *, blocking: bool) -> bool:
        self._come.release()
        return self._lock.acquire(blocking=blocking)

    def release(self) -> None:
        self._lock.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._come.acquire(timeout=120)


def test_threads_share_one_failure() -> None:
    """Threads that wait for a first token fail with the one that asked, instead of asking one after
    the other."""
    asked = Counting(lambda: time.time() + 1_000)
    asked.error = ClientAuthenticationError("no")
    asked.held.clear()
    credential = TokenCredential(lambda: asked)
    lock = WatchedLock()
    credential._lock = lock  # type: ignore[assignment]  # watched

    def ask(_: int) -> type[BaseException] | None:
        try:
            credential.get_token_info("scope")
        except ClientAuthenticationError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, range(4))
        lock.wait_for(4)
        asked.held.set()
        assert set(answers) == {ClientAuthenticationError}

    assert asked.count == 1


def test_claims_are_passed_on() -> None:
    """A challenge of the service is answered with a token of its own, not with the one in hand."""
    asked = Counting(lambda: time.time() + 3_600)
    credential = TokenCredential(lambda: asked)
    first = credential.get_token_info("scope")

    assert credential.get_token_info("scope", options={"claims": "c"}).token != first.token
    assert credential.get_token_info("scope", options={"tenant_id": "t"}).token != first.token
    assert credential.get_token("scope").token == first.token
    assert credential.get_token_info("scope") is first


def test_secrets_are_read_anew(tmp_path: Path) -> None:
    """A client with a rotated key is made anew; the former one is left to end what it does."""
    secret = tmp_path / "secret"
    secret.write_text("b25l")
    session = azure.session(AzureStorageConnection(account="a", account_key=f"file:{secret}"))
    first = session.client("queue", Client)
    assert session.client("queue", Client) is first

    secret.write_text("dHdv")
    second = session.client("queue", Client)

    assert second.credential["account_key"] == "dHdv"
    assert not first.is_closed


@pytest.mark.slow
def test_a_slow_answer(managed: AzureIdentity) -> None:
    """An identity service that fails once is asked again by the SDK, and the call goes on."""
    managed.script(500)

    azure.session(SETTINGS).client("queue", Client)

    assert len(managed.tokens) == 1


FORKING = """
import os, sys
from eventpost.credentials import azure
class Client:
    def __init__(self, url, credential): pass
    def close(self): pass
session = azure.session(azure.AzureStorageConnection(account="bluesradio"))
made = session.client("queue", Client)
pid = os.fork()
if pid == 0:
    fresh = session.report().link == ""
    os._exit(0 if fresh and session.client("queue", Client) is not made else 1)
sys.exit(os.waitpid(pid, 0)[1])
"""


@pytest.mark.slow
def test_a_fork_begins_anew(managed: AzureIdentity) -> None:
    """A forked child uses no client, token or socket of its parent's."""
    program = textwrap.dedent(FORKING)

    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=120)

    assert done.returncode == 0
    assert len(managed.tokens) == 2


# --- a real account -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_managed_identity_s_token_is_taken(
    managed: AzureIdentity, azurite_with_tokens: AzuriteWithTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that was made here reaches the account with a token of the managed identity."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azurite_with_tokens.ca_file))
    settings = AzureStorageConnection(account_url=azurite_with_tokens.queue_url)
    session = azure.session(settings)

    client = session.client("queue", QueueServiceClient)

    assert isinstance(list(client.list_queues()), list)
    assert session.report().link == "ManagedIdentityCredential"
    assert len(managed.tokens) == 1


@pytest.mark.slow
def test_a_connection_string_is_taken(azurite: Azurite, tmp_path: Path) -> None:
    """A client that was made here reaches the account with its key, over an emulator's http."""
    secret = tmp_path / "secret"
    secret.write_text(azurite.connection_string)
    session = azure.session(AzureStorageConnection(connection_string=f"file:{secret}"))

    client = session.client("queue", QueueServiceClient)

    assert isinstance(list(client.list_queues()), list)
    assert session.report().identity == azurite.account


@pytest.mark.slow
def test_a_signature_stays_out_of_urls(azurite: Azurite, tmp_path: Path) -> None:
    """A shared access signature works, and stands in no URL of the client."""
    from azure.storage.queue import AccountSasPermissions, ResourceTypes, generate_account_sas

    sas = generate_account_sas(
        azurite.account,
        azurite.key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(list=True, read=True),
        expiry="2030-01-01T00:00:00Z",
    )
    secret = tmp_path / "secret"
    secret.write_text(sas)
    settings = AzureStorageConnection(account_url=azurite.queue_url, sas=f"file:{secret}")
    session = azure.session(settings)

    client = session.client("queue", QueueServiceClient)

    assert isinstance(list(client.list_queues()), list)
    assert "sig=" not in client.url
    assert HANG.name not in repr(session.report())
    assert "sig" not in repr(session.report())

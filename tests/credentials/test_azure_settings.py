"""A storage account's settings: complete, by reference, and never over plain http with a token."""

import base64
from pathlib import Path

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import azure
from eventpost.credentials.azure_settings import (
    CONNECT_S_MAX,
    REQUEST_S_MAX,
    Access,
    AzureStorageConnection,
    access,
    account_of,
)
from eventpost.queues.kinds import connection_class, read_settings

KEY = base64.b64encode(b"a key that opens nothing" * 2).decode()
SAS = "sv=2024-11-04&ss=q&srt=sco&sp=rwdlacup&se=2030-01-01T00:00:00Z&sig=c2lnbmF0dXJl%3D"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def with_string(secret: Path, text: str) -> AzureStorageConnection:
    secret.write_text(text)
    return AzureStorageConnection(connection_string=f"file:{secret}")


# --- where the services are -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "queue", "blob"),
    [
        (
            {"account": "bluesradio"},
            "https://bluesradio.queue.core.windows.net",
            "https://bluesradio.blob.core.windows.net",
        ),
        (
            {"account_url": "https://bluesradio.queue.core.chinacloudapi.cn/"},
            "https://bluesradio.queue.core.chinacloudapi.cn",
            "https://bluesradio.blob.core.chinacloudapi.cn",
        ),
        (
            {"account_url": "https://bluesradio.z9.blob.storage.azure.net"},
            "https://bluesradio.z9.queue.storage.azure.net",
            "https://bluesradio.z9.blob.storage.azure.net",
        ),
    ],
)
def test_urls(settings: dict[str, str], queue: str, blob: str) -> None:
    """An account's name is enough; a URL of one service tells those of the others."""
    made = AzureStorageConnection(**settings)  # type: ignore[arg-type]  # names and texts

    assert access(made, "queue") == Access(queue, "bluesradio")
    assert access(made, "blob") == Access(blob, "bluesradio")


def test_an_emulator_s_url() -> None:
    """A URL that says nothing of other services is taken for the queues' only."""
    settings = AzureStorageConnection(account_url="https://127.0.0.1:10001/devstoreaccount1")

    assert access(settings, "queue").account == "devstoreaccount1"
    with pytest.raises(InvalidRequest, match="blob"):
        access(settings, "blob")


@pytest.mark.parametrize(
    ("text", "url", "account"),
    [
        (
            f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY};EndpointSuffix=core.x",
            "https://a.queue.core.x",
            "a",
        ),
        (f"AccountName=a;AccountKey={KEY};", "https://a.queue.core.windows.net", "a"),
        (
            f"AccountName=a;AccountKey={KEY};QueueEndpoint=http://127.0.0.1:10001/a;",
            "http://127.0.0.1:10001/a",
            "a",
        ),
        (
            f"QueueEndpoint=https://b.queue.core.windows.net/;SharedAccessSignature={SAS}",
            "https://b.queue.core.windows.net",
            "b",
        ),
        (
            "UseDevelopmentStorage=true",
            "http://127.0.0.1:10001/devstoreaccount1",
            "devstoreaccount1",
        ),
    ],
)
def test_connection_strings(secret: Path, text: str, url: str, account: str) -> None:
    """Connection strings are read as Azure's portal and emulator write them."""
    found = access(with_string(secret, text), "queue")

    assert (found.url, found.account) == (url, account)
    assert bool(found.key) is not bool(found.sas)


def test_the_account_of_a_url() -> None:
    """The account stands in the host, or in an emulator's path."""
    assert account_of("https://a.queue.core.windows.net") == "a"
    assert account_of("http://127.0.0.1:10001/devstoreaccount1/queue") == "devstoreaccount1"


# --- complete or not at all ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"account_key": "env:KEY"}, "account is missing"),
        ({"sas": "env:SAS"}, "account is missing"),
    ],
)
def test_half_a_set_in_the_settings(values: dict[str, str], missing: str) -> None:
    """A secret without its account is refused when the settings are read."""
    with pytest.raises(InvalidRequest, match=missing) as caught:
        read_settings(values, AzureStorageConnection)

    assert caught.value.code == "EP4602"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("AccountName=a", "neither AccountKey nor SharedAccessSignature"),
        (f"AccountKey={KEY}", "AccountName is missing"),
        (f"SharedAccessSignature={SAS}", "no AccountName"),
        ("AccountName=a;AccountKey=", "neither AccountKey nor"),
    ],
)
def test_half_a_connection_string(secret: Path, text: str, missing: str) -> None:
    """Half a connection string is refused by what is missing, before anything is sent."""
    with pytest.raises(InvalidRequest, match=missing) as caught:
        access(with_string(secret, text), "queue")

    assert caught.value.code == "EP4602"
    assert KEY not in str(caught.value)
    assert SAS not in str(caught.value)


def test_no_account_at_all() -> None:
    """Without any account nothing can be asked, and that is said."""
    with pytest.raises(InvalidRequest, match="neither account nor account_url"):
        access(AzureStorageConnection(), "queue")


@pytest.mark.parametrize("text", ["", "a", "=b;", "https://a.queue.core.windows.net", ";;"])
def test_no_connection_string(secret: Path, text: str) -> None:
    """Another text in the place of a connection string is refused, and not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        access(with_string(secret, f"{text}\n"), "queue")

    assert caught.value.code in {"ConnectionStringMalformed", "SecretMissing"}


def test_a_key_that_is_none(secret: Path) -> None:
    """A key that is no base64 is refused before it signs anything, and is not repeated."""
    secret.write_text("not a key")
    settings = AzureStorageConnection(account="a", account_key=f"file:{secret}")

    with pytest.raises(InvalidRequest, match="base64") as caught:
        access(settings, "queue")

    assert caught.value.code == "EP4617"
    assert "not a key" not in str(caught.value)


def test_two_secrets() -> None:
    """Two secrets are refused: one of them would override the other."""
    with pytest.raises(InvalidRequest) as caught:
        AzureStorageConnection(account="a", account_key="env:KEY", sas="env:SAS")

    assert caught.value.code == "KeysGivenTwice"


def test_a_credential_beside_a_secret() -> None:
    """An object given by a program beside a secret of the settings is refused, too."""
    settings = AzureStorageConnection(account="a", account_key="env:KEY")

    with pytest.raises(InvalidRequest) as caught:
        azure.session(settings, object()).client("queue", lambda url, credential: None)

    assert caught.value.code == "KeysGivenTwice"


@pytest.mark.parametrize("name", ["connection_string", "account_key", "sas"])
def test_settings_hold_references_only(name: str) -> None:
    """A secret in the place of its reference is refused, by file and by code, and not repeated."""
    values = {"account": "a", name: KEY}
    with pytest.raises(InvalidRequest) as by_code:
        AzureStorageConnection(**values)  # type: ignore[arg-type]  # names and texts
    with pytest.raises(InvalidRequest) as by_file:
        read_settings(values, AzureStorageConnection)

    for caught in (by_code, by_file):
        assert name in caught.value.what
        assert KEY not in str(caught.value)


def test_a_token_over_plain_http() -> None:
    """A token is never sent over plain http, and the error says what to do instead."""
    settings = AzureStorageConnection(account_url="http://127.0.0.1:10001/devstoreaccount1")

    with pytest.raises(InvalidRequest, match="plain http") as caught:
        azure.session(settings).client("queue", lambda url, credential: None)

    assert caught.value.code == "EP4611"
    assert "connection_string" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "most"), [("connect_timeout_s", CONNECT_S_MAX), ("request_timeout_s", REQUEST_S_MAX)]
)
def test_bounds(name: str, most: float) -> None:
    """Each bound holds at its edges."""
    for good in (0.001, most):
        assert getattr(read_settings({name: good}, AzureStorageConnection), name) == good
    for bad in (0, most + 0.1):
        with pytest.raises(InvalidRequest, match=name):
            read_settings({name: bad}, AzureStorageConnection)


def test_the_kind_is_known_by_its_name() -> None:
    """`kind: azure-storage` in a file leads to these settings."""
    assert connection_class("azure-storage") is azure.AzureStorageConnection


def test_secrets_are_not_shown(secret: Path) -> None:
    """No printed form of settings or of what they lead to holds a secret."""
    settings = with_string(secret, f"AccountName=a;AccountKey={KEY}")
    signed = Access("https://a", "a", sas=SAS)

    for text in (repr(settings), repr(access(settings, "queue")), repr(signed)):
        assert KEY not in text
        assert SAS not in text

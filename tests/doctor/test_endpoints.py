"""The ladders of mail servers, containers, buckets and what is pulled, on the tests' services."""

import ssl
from collections.abc import Iterator
from contextlib import closing

import pytest
from azure.storage.blob import ContainerClient

from tests.doctor.wards import connected, examined, names, refused_port, verdict
from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.aws_clients import client
from tests.services.azurite import Azurite
from tests.services.certificates import Authority
from tests.services.mailserver import PASSWORD, USER, MailServer
from tests.services.moto import Moto
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[MailServer]:
    made = MailServer()
    yield made
    made.close()


def delivering(connections: dict[str, object], **subscription: object) -> dict[str, object]:
    return {
        "connections": connections,
        "topics": {"songs": {}},
        "subscriptions": {"out": {"topic": "songs", **subscription}},
    }


def mail(port: int, **settings: object) -> dict[str, object]:
    given = {"host": "127.0.0.1", "port": port, "security": "none", "sender": "a@radio.example"}
    return {"kind": "smtp", **given, **settings}


def test_a_mail_server(server: MailServer) -> None:
    """A mail server that answers has no finding, and gets no mail."""
    found = connected(mail(server.port))
    declared = delivering(
        {"post": mail(server.port)},
        endpoint_type="email",
        endpoint="someone@radio.example",
        connection="post",
    )
    delivered = examined(declared, "out")

    assert verdict(found) == verdict(delivered) == ("", ""), (found, delivered)
    assert names(found) == ["settings", "name", "route", "authentication"]
    assert server.taken == []


def test_a_mail_server_that_is_away() -> None:
    """A mail server that is down is told at the route."""
    with refused_port() as port:
        assert verdict(connected(mail(port))) == ("route", "EP2004")


def test_a_login_that_is_refused(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is told at the rung of authentication, a right one is proven good."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(file_name="mail.pem"))
    with closing(MailServer(tls=context, needs_login=True)) as server:
        settings = mail(
            server.port,
            host="localhost",
            security="starttls",
            ca_file=str(authority.ca_file),
            user=USER,
            password="env:MAIL_PASSWORD",
        )
        monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
        right = connected(settings)
        monkeypatch.setenv("MAIL_PASSWORD", "wrong")
        wrong = connected(settings)

    assert verdict(right) == ("", ""), right
    assert verdict(wrong)[0] == "authentication", wrong
    assert verdict(wrong)[1].startswith("EP34")


def test_what_is_pulled() -> None:
    """Consumers come for their events: there is nobody to reach."""
    assert verdict(examined(delivering({}, endpoint_type="pull"), "out")) == ("", "")


def test_a_container(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container for dead letters is proven good, and a missing one is told."""
    monkeypatch.setenv("STORAGE", azurite.connection_string)
    name = fresh_name("container")
    with ContainerClient.from_connection_string(azurite.connection_string, name) as container:
        container.create_container()
    station = {"kind": "azure-storage", "connection_string": "env:STORAGE"}
    found, missing = (
        examined(
            delivering(
                {"station": station},
                endpoint_type="azureblob",
                endpoint=each,
                connection="station",
            ),
            "out",
        )
        for each in (name, fresh_name("missing"))
    )

    assert verdict(found) == ("", ""), found
    assert verdict(missing)[1] == "EP3310", missing


def test_a_bucket_for_dead_letters(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is missing is told at the rung of dead letters, below a healthy endpoint."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
    bucket = fresh_name("bucket")
    client(moto.url, "s3").create_bucket(Bucket=bucket)
    account = {"kind": "aws", "region": REGION, "endpoint_url": moto.url}
    found, missing = (
        examined(
            delivering(
                {"account": account},
                endpoint_type="pull",
                deadletter=f"s3://{each}/letters",
                deadletter_connection="account",
            ),
            "out",
        )
        for each in (bucket, fresh_name("missing"))
    )

    assert verdict(found) == ("", ""), found
    assert verdict(missing)[1] == "EP3320", missing

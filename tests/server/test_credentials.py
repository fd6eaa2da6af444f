"""Who a connection turned out to be: in the management API, in the metrics, on the terminal."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventpost.cli import connection as command
from eventpost.client import Client
from eventpost.credentials import aws
from eventpost.queues.kafka.settings import KafkaConnection, token_provider
from eventpost.queues.kinds import read_settings
from eventpost.registry.models import ConnectionView, CredentialsView
from eventpost.testing.aws_metadata import AwsMetadata
from tests.server.running import Served

SETTINGS = {"region": "eu-central-1"}
ORDERS = {"name": "orders", "kind": "aws", "settings": SETTINGS}


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsMetadata]:
    """A task whose role's keys come from here, and nothing else of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with AwsMetadata() as service:
        for name, value in service.container().items():
            monkeypatch.setenv(name, value)
        yield service
    aws.close_all()


@pytest.fixture
def orders(admin: httpx.Client, metadata: AwsMetadata) -> httpx.Client:
    """With a connection `orders` of an AWS account."""
    aws.close_all()
    assert admin.post("/connections", json=ORDERS).status_code == 201
    return admin


def use() -> None:
    """As a queue of this connection does."""
    aws.session(aws.AwsConnection(region=SETTINGS["region"])).frozen()


def metrics(server: Served) -> str:
    with server.http() as client:
        return client.get("/metrics").text


def test_nothing_is_said_until_somebody_answered(
    orders: httpx.Client, server: Served, metadata: AwsMetadata
) -> None:
    """A connection that was not used yet has no credentials to show, and showing it asks nobody."""
    assert orders.get("/connections/orders").json()["credentials"] is None
    assert 'connection="orders"' not in metrics(server)
    assert metadata.asked == []


def test_who_answered_is_shown(orders: httpx.Client, server: Served, metadata: AwsMetadata) -> None:
    """After the first use the link, the shortened key and the end are shown, and never a secret."""
    use()
    issued = metadata.keys.current

    answer = orders.get("/connections/orders")

    found = answer.json()["credentials"]
    assert found["link"] == "container-role"
    assert found["identity"] == f"ASIA****{issued.access_key_id[-4:]}"
    assert found["isRenewed"] is True
    assert found["expiresTime"].startswith(issued.expiration[:-1])
    assert (found["region"], found["regionFrom"]) == ("eu-central-1", "settings")
    for secret in (issued.access_key_id, issued.secret_access_key, issued.session_token):
        assert secret not in answer.text
    assert len(metadata.asked) == 1


def test_the_end_is_a_metric(orders: httpx.Client, server: Served, metadata: AwsMetadata) -> None:
    """The link that answered and the end of its credentials are exposed by connection."""
    use()

    text = metrics(server)

    labels = '{connection="orders",link="container-role",system="aws"}'
    [end] = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(f"eventpost_credentials_expiry_timestamp_seconds{labels}")
    ]
    assert end == pytest.approx(metadata.keys.current.expires_s, abs=1)
    assert f"eventpost_credentials_found{labels} 1.0" in text


def test_who_signs_in_to_msk(admin: httpx.Client, server: Served, metadata: AwsMetadata) -> None:
    """A connection of Amazon MSK shows who signs its tokens, once it was used; one of another Kafka
    shows nobody."""
    aws.close_all()
    settings = {
        "bootstrap": ["b-1.demo.abc123.c2.kafka.eu-west-1.amazonaws.com:9098"],
        "auth": "msk-iam",
        "config": {"broker.address.family": "v4"},
    }
    admin.post("/connections", json={"name": "msk", "kind": "kafka", "settings": settings})
    plain = {"bootstrap": ["localhost:9092"]}
    admin.post("/connections", json={"name": "home", "kind": "kafka", "settings": plain})
    assert admin.get("/connections/msk").json()["credentials"] is None
    assert metadata.asked == []

    token_provider(read_settings(settings, KafkaConnection)).oauth_cb("")

    found = admin.get("/connections/msk").json()["credentials"]
    assert found["link"] == "container-role"
    assert found["expiresTime"].startswith(metadata.keys.current.expiration[:-1])
    assert (found["region"], found["regionFrom"]) == ("eu-west-1", "settings")
    assert admin.get("/connections/home").json()["credentials"] is None
    assert 'eventpost_credentials_found{connection="msk",link="container-role"' in metrics(server)


def test_what_is_shown_may_be_sent_back(orders: httpx.Client, metadata: AwsMetadata) -> None:
    """A connection as it is shown, credentials included, is taken as a replacement of itself."""
    use()
    shown = orders.get("/connections/orders").json()

    assert orders.put("/connections/orders", json=shown).json() == shown


def test_the_client_reads_it(orders: httpx.Client, server: Served, metadata: AwsMetadata) -> None:
    """`eventpost.Client` gives what the API says."""
    use()

    with Client(server.url, token=server.token) as client:
        found = client.show_connection("orders").credentials

    assert found is not None
    assert found.link == "container-role"


def test_the_command_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`eventpost connection show` says who answered, and leaves out what is not known."""
    found = CredentialsView(
        system="aws",
        link="iam-role",
        identity="ASIA****0001",
        region="us-east-1",
        region_from="AWS_DEFAULT_REGION",
    )
    shown = ConnectionView(name="orders", kind="aws", credentials=found)

    command._print(shown, argparse.Namespace(json=False))

    text = capsys.readouterr().out
    assert "iam-role" in text
    assert "us-east-1 (AWS_DEFAULT_REGION)" in text
    assert "expires" not in text

"""A storage account's ladder on Azurite: healthy, and each way of not being let in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.queue import QueueClient, QueueSasPermissions, generate_queue_sas

from tests.doctor.wards import connected, examined, names, refused_port, verdict
from tests.services.azurite import ACCOUNT, KEY, OTHER_KEY, Azurite
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[QueueClient]:
    """A queue with one message in it, which no examination may touch."""
    client = QueueClient.from_connection_string(azurite.connection_string, fresh_name("queue"))
    client.create_queue()
    client.send_message("untouched")
    yield client
    client.close()


def config(azurite: Azurite, queue: str, **by: object) -> dict[str, object]:
    """A source and a destination at one queue."""
    connection = {"kind": "azure-storage", "account_url": azurite.queue_url, **by}
    if "connection_string" in by:
        del connection["account_url"]
    at = {"connection": "patient", "topic": "songs"}
    return {
        "connections": {"patient": connection},
        "topics": {"songs": {}},
        "sources": {"jobs": {"kind": "storagequeue", "queue": queue, **at}},
        "subscriptions": {"out": {"endpoint_type": "storagequeue", "endpoint": queue, **at}},
    }


def signature(queue: QueueClient, permissions: str, *, ends: timedelta = HOUR) -> str:
    now = datetime.now(UTC)
    return generate_queue_sas(
        ACCOUNT,
        queue.queue_name,
        KEY,
        permission=QueueSasPermissions.from_string(permissions),
        start=now - HOUR - HOUR,
        expiry=now + ends,
    )


def test_healthy(azurite: Azurite, queue: QueueClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that can be used has no finding, and what lies in its queues stays as it is."""
    monkeypatch.setenv("STORAGE", azurite.connection_string)
    declared = config(azurite, queue.queue_name, connection_string="env:STORAGE")

    found = [examined(declared, name) for name in ("patient", "jobs", "out")]

    assert [verdict(each) for each in found] == [("", "")] * 3, found
    assert not [each.warnings for each in found if each.warnings]
    assert "authorization" in names(found[1])
    [message] = queue.receive_messages()
    assert (message.content, message.dequeue_count) == ("untouched", 1)


@pytest.mark.parametrize(
    ("letters", "jobs", "out"),
    [
        ("raup", ("", ""), ("", "")),
        ("rap", ("authorization", "EP4202"), ("", "")),
        ("rup", ("", ""), ("authorization", "EP4202")),
        ("ra", ("authorization", "EP4202"), ("", "")),
    ],
)
def test_rights_operation_by_operation(
    azurite: Azurite,
    queue: QueueClient,
    monkeypatch: pytest.MonkeyPatch,
    letters: str,
    jobs: tuple[str, str],
    out: tuple[str, str],
) -> None:
    """A right that is missing is told only to who needs it, with the operations that work and the
    least role that has it; nothing is sent, taken or deleted."""
    monkeypatch.setenv("STORAGE_SAS", signature(queue, letters))
    declared = config(azurite, queue.queue_name, sas="env:STORAGE_SAS")

    pulled, delivered = examined(declared, "jobs"), examined(declared, "out")

    assert verdict(pulled) == jobs, pulled
    assert verdict(delivered) == out, delivered
    for each in (pulled.broken, delivered.broken):
        assert each is None or "takes the role Storage Queue Data" in each.detail
    [message] = queue.receive_messages()
    assert message.dequeue_count == 1


def test_wrong_and_old_credentials(
    azurite: Azurite, queue: QueueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key and an expired signature are told apart, at the rung of authentication."""
    monkeypatch.setenv("STORAGE", azurite.connection_string_with(OTHER_KEY))
    monkeypatch.setenv("STORAGE_SAS", signature(queue, "raup", ends=-HOUR))
    wrong = config(azurite, queue.queue_name, connection_string="env:STORAGE")
    expired = config(azurite, queue.queue_name, sas="env:STORAGE_SAS")

    assert verdict(examined(wrong, "jobs")) == ("authentication", "EP4203")
    assert verdict(examined(expired, "jobs")) == ("authentication", "EP4204")


def test_a_missing_queue(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is not there is told, and not made by the way."""
    monkeypatch.setenv("STORAGE", azurite.connection_string)
    declared = config(azurite, fresh_name("missing"), connection_string="env:STORAGE")

    assert verdict(examined(declared, "jobs")) == ("properties", "EP4220")
    assert verdict(examined(declared, "jobs")) == ("properties", "EP4220")


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account behind a port where nobody listens is not taken for a refusal by the account."""
    with refused_port() as port:
        monkeypatch.setenv("STORAGE_SAS", "sv=2024-11-04&sig=secret")
        url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        found = connected({"kind": "azure-storage", "account_url": url, "sas": "env:STORAGE_SAS"})

    assert verdict(found) == ("route", "EP2004")


def test_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an identity the rung of credentials is broken, and the links that were asked are
    named."""
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    found = connected({"kind": "azure-storage", "account": "bluesradio"})

    assert verdict(found)[0] == "credentials"
    assert verdict(found)[1].startswith("EP46")


def test_a_secret_that_is_not_there() -> None:
    """A reference to nothing ends the climb at the settings, and names the variable."""
    found = connected(
        {"kind": "azure-storage", "account": "bluesradio", "account_key": "env:STATION_KEY"}
    )

    assert verdict(found) == ("settings", "EP4042")
    assert found.broken is not None
    assert "STATION_KEY" in found.broken.detail

"""Deliveries that carry a token of Microsoft Entra, from the declaration to the endpoint."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from eventpost.config.settings import NetworkSettings, Settings
from eventpost.core.errors import EventpostError, HandshakeFailed, InvalidRequest, NotFound
from eventpost.testing import Grid, Receiver, VirtualClock
from eventpost.testing.azure_identity import TENANT, refusal
from tests.destinations.entra import AUDIENCE, SECRET, Entra, entra_on_loopback

WANTED: dict[str, Any] = {
    "azure_active_directory_tenant_id": TENANT,
    "azure_active_directory_application_id_or_uri": AUDIENCE,
    "connection": "station-app",
}


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    with entra_on_loopback(tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def hook(entra: Entra) -> Iterator[Receiver]:
    made = Receiver(tls=entra.tls)
    yield made
    made.close()


@pytest.fixture
def grid(tmp_path: Path, clock: VirtualClock, entra: Entra) -> Iterator[Grid]:
    network = NetworkSettings(proxies="none", ca_file=entra.ca_file)
    made = Grid(tmp_path / "grid", clock, Settings(network=network))  # type: ignore[arg-type]  # the fixture's own clock
    try:
        made.topic("songs")
        settings = {**msgspec.to_builtins(entra.settings), "tenant_id": TENANT}
        made.client.create_connection(
            {"name": "station-app", "kind": "entra", "settings": settings}
        )
        yield made
        made.check_books()
    finally:
        made.close()


def carried(entra: Entra, headers: Any) -> bool:
    return headers.get("authorization") in {f"Bearer {each}" for each in entra.service.tokens}


@pytest.mark.parametrize("schema", ["eventgridschema", "cloudeventschemav1_0"])
def test_the_handshake_and_every_delivery(
    grid: Grid, hook: Receiver, entra: Entra, schema: str
) -> None:
    """The endpoint sees the token in the question for its consent, in both handshakes, and from
    then on."""
    grid.subscribe("songs", hook, event_delivery_schema=schema, **WANTED)
    grid.publish("songs", count=3)
    grid.settle()

    [question] = hook.handshakes
    assert question.method == ("POST" if schema == "eventgridschema" else "OPTIONS")
    assert carried(entra, question.headers)
    assert len(hook.requests) == 3
    assert all(carried(entra, each.headers) for each in hook.requests)


def test_no_consent_without_a_token(grid: Grid, hook: Receiver, entra: Entra) -> None:
    """The subscription is refused with the reason why there is no token, and nothing is kept."""
    entra.service.entra_answer = refusal("AADSTS7000215: Invalid client secret provided.")

    with pytest.raises(HandshakeFailed) as refused:
        grid.subscribe("songs", hook, **WANTED)

    assert refused.value.code == "EP4608"
    assert SECRET not in str(refused.value)
    assert hook.handshakes == []
    assert grid.client.list_subscriptions() == []


def test_an_outage_loses_nothing(grid: Grid, hook: Receiver, entra: Entra) -> None:
    """While there is no token events wait on the ladder, with a finding and without losing an
    attempt; they are delivered once there is one, after a restart too."""
    grid.subscribe("songs", hook, retry={"schedule": ["10s"], "maxDeliveryAttempts": 2}, **WANTED)
    grid.clock.advance(400)  # the token's time is over
    entra.service.entra_answer = 500
    ids = grid.publish("songs", count=5)
    grid.settle()
    for _ in range(5):
        grid.clock.advance(12)
    attempt = grid.client.show_subscription("handler").last_failures[0]
    assert attempt.finding == "EP4600"
    assert hook.requests == []
    grid.restart()
    assert grid.books("handler").pending == 5

    entra.service.entra_answer = None
    for _ in range(8):
        grid.clock.advance(61)

    assert sorted(hook.ids) == sorted(ids)
    assert grid.books("handler").delivered == 5
    assert {each.attempt for each in hook.requests} == {0}


def test_what_is_shown(grid: Grid, hook: Receiver, entra: Entra, caplog: Any) -> None:
    """Tenant and application are shown, and neither the secret nor any token, anywhere."""
    caplog.set_level("DEBUG", logger="eventpost")
    hook.choose = lambda request: 500
    view = grid.subscribe("songs", hook, **WANTED)
    grid.publish("songs")
    grid.settle()

    shown = [
        view,
        grid.client.show_subscription("handler"),
        grid.client.show_connection("station-app"),
    ]
    text = "".join(msgspec.json.encode(each).decode() for each in shown)
    assert view.azure_active_directory_tenant_id == TENANT
    assert view.azure_active_directory_application_id_or_uri == AUDIENCE
    kept = b"".join(each.read_bytes() for each in grid.directory.rglob("*") if each.is_file())
    for secret in (SECRET, *entra.service.tokens):
        assert secret not in text
        assert secret not in caplog.text
        assert secret.encode() not in kept


def test_a_change_of_the_audience_asks_again(grid: Grid, hook: Receiver, entra: Entra) -> None:
    """Another application is another endpoint, as far as its consent goes; taken away, no token is
    sent any more."""
    grid.subscribe("songs", hook, **WANTED)

    grid.client.update_subscription(
        "handler", {"azureActiveDirectoryApplicationIdOrUri": "api://x"}
    )
    grid.client.update_subscription(
        "handler",
        {
            "azureActiveDirectoryTenantId": None,
            "azureActiveDirectoryApplicationIdOrUri": None,
            "connection": None,
        },
    )

    first, second, third = hook.handshakes
    assert carried(entra, first.headers)
    assert carried(entra, second.headers)
    assert first.headers["authorization"] != second.headers["authorization"]
    assert "authorization" not in third.headers


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"azure_active_directory_tenant_id": ""}, "tenant id is missing"),
        ({"azure_active_directory_application_id_or_uri": ""}, "or URI is missing"),
        ({"azure_active_directory_tenant_id": "not a tenant"}, "no tenant"),
        ({"azure_active_directory_tenant_id": "../common"}, "no tenant"),
        ({"azure_active_directory_application_id_or_uri": "two words"}, "no application"),
        ({"tls_insecure": True}, "not verified"),
        ({"endpoint": "http://127.0.0.1:9/hook"}, "not https"),
        (
            {"delivery_attribute_mappings": [{"name": "authorization", "value": "x"}]},
            "sets the header Authorization already",
        ),
        ({"connection": "gone"}, "no connection"),
        ({"connection": "other"}, "needs a connection of the kind entra"),
        (
            {"endpoint_type": "folder", "endpoint": "folder:/tmp/x", "connection": None},
            "type folder",
        ),
    ],
)
def test_what_is_refused(
    grid: Grid, hook: Receiver, entra: Entra, change: dict[str, Any], said: str
) -> None:
    """What could not work, or could give the token to others, is refused and says why; nobody is
    asked for a token."""
    grid.client.create_connection({"name": "other", "kind": "aws"})

    declared = {**WANTED, "endpoint": hook.url, **change}

    with pytest.raises(EventpostError, match=said) as refused:
        grid.subscribe("songs", declared.pop("endpoint"), **declared)

    assert isinstance(refused.value, InvalidRequest | NotFound)
    assert entra.service.asked == []
    assert grid.client.list_subscriptions() == []


def test_as_the_management_sdks_declare_it(grid: Grid, hook: Receiver, entra: Entra) -> None:
    """`azureActiveDirectoryTenantId` and `...ApplicationIdOrUri` of a destination are Event Grid's;
    the connection that declares an application of that tenant says who we are."""
    path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/songs"
    properties = {
        "endpointUrl": hook.url,
        "azureActiveDirectoryTenantId": TENANT,
        "azureActiveDirectoryApplicationIdOrUri": AUDIENCE,
    }
    body = {"properties": {"destination": {"endpointType": "WebHook", "properties": properties}}}
    authorization = {"Authorization": f"Bearer {grid.app.admin_token}"}

    made = httpx.put(
        f"{grid.url}{path}/eventSubscriptions/handler",
        json=body,
        headers=authorization,
        trust_env=False,
    )

    assert made.status_code == 201, made.text
    shown = made.json()["properties"]["destination"]["properties"]
    assert shown["azureActiveDirectoryTenantId"] == TENANT
    assert shown["azureActiveDirectoryApplicationIdOrUri"] == AUDIENCE
    assert grid.client.show_subscription("handler").connection == "station-app"
    assert carried(entra, hook.handshakes[0].headers)

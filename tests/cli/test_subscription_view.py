"""A subscription is shown whole: whatever was set is seen."""

import json

import msgspec
import pytest

from eventpost.cli import output
from eventpost.cli.subscription_view import declared
from eventpost.registry.models import SubscriptionView
from tests.cli.receiver import Receiver
from tests.cli.running import Program

SET = {
    "name": "blues",
    "topic": "songs",
    "endpoint": "amqp://here",
    "endpointType": "pigeon",
    "connection": "loft",
    "endpointOptions": {"breed": "racing", "heights": [1, 2]},
    "messageFormat": "raw",
    "messageProperties": [{"name": "group", "type": "dynamic", "sourceField": "subject"}],
    "filter": {
        "includedEventTypes": ["A", "B"],
        "subjectBeginsWith": "genre/",
        "subjectEndsWith": ".ogg",
        "subjectCaseSensitive": True,
        "advancedFilters": [
            {"key": "data.year", "operatorType": "NumberInRange", "values": [[1920, 1939.5]]},
            {"key": "data.live", "operatorType": "BoolEquals", "value": True},
            {"key": "data.key", "operatorType": "IsNotNull"},
        ],
        "enableAdvancedFilteringOnArrays": True,
    },
    "retry": {
        "schedule": ["1s", "2s"],
        "maxDeliveryAttempts": 7,
        "eventTtl": "90s",
        "finalStatuses": [404],
    },
    "deadletter": "folder:/dead",
    "deadletterConnection": "cellar",
    "labels": ["on air", "live"],
    "expirationTimeUtc": "2027-01-31T12:00:00Z",
    "eventDeliverySchema": "cloudeventschemav1_0",
    "maxEventsPerBatch": 100,
    "preferredBatchSizeInKilobytes": 256,
    "deliveryAttributeMappings": [
        {"name": "X-Token", "type": "static", "value": "***", "isSecret": True}
    ],
    "concurrency": 4,
    "rate": 500.0,
    "responseTimeout": "5s",
    "signingSecrets": ["env:NEW", "env:OLD"],
    "azureActiveDirectoryTenantId": "contoso.example",
    "azureActiveDirectoryApplicationIdOrUri": "api://station",
    "tlsInsecure": True,
    "isPaused": True,
    "pendingEndpoint": "https://new.example",
    "validationDeadline": "2026-01-01T00:10:00Z",
}
PULLED = {
    "endpointType": "pull",
    "receiveLockDurationInSeconds": 90,
    "maxDeliveryCount": 3,
}
SHOWN = {
    "name": "blues",
    "endpoint": "amqp://here",
    "endpoint type": "pigeon",
    "connection": "loft",
    "endpoint options": "breed=racing, heights=1,2",
    "message format": "raw",
    "message properties": "group dynamic subject",
    "to be opened until": "2026-01-01T00:10:00Z",
    "waiting endpoint": "https://new.example",
    "paused": "yes",
    "event types": "A, B",
    "subject begins with": "genre/",
    "subject ends with": ".ogg",
    "subject by case": "yes",
    "advanced filters": "data.year NumberInRange 1920,1939.5; data.live BoolEquals true; "
    "data.key IsNotNull",
    "filters see arrays": "yes",
    "delivery schema": "cloudeventschemav1_0",
    "events per request": "100, or 256 KB",
    "requests in flight": "4",
    "rate": "500/s",
    "response timeout": "5s",
    "delivery properties": "X-Token static ***",
    "signing secrets": "env:NEW, env:OLD",
    "token for": "api://station",
    "token of tenant": "contoso.example",
    "certificate": "not verified",
    "attempts at most": "7",
    "time to live": "90s",
    "retry schedule": "1s, 2s",
    "not retried": "404",
    "dead letters": "folder:/dead",
    "dead letters over": "cellar",
    "labels": "on air, live",
    "expires": "2027-01-31T12:00:00Z",
}


def view(content: dict[str, object]) -> SubscriptionView:
    return msgspec.json.decode(json.dumps(content), type=SubscriptionView)


def test_all_that_is_set_is_shown() -> None:
    """Each field of a declaration has its line, in the words of the options."""
    shown = {name: output.plain(value) for name, value in declared(view(SET)).items()}

    assert SHOWN.items() <= shown.items()
    unset = {"books", "lastFailures", "provisioningState", "createdTime", "start"}
    unset |= {"deadletterFailure", "findings"}
    fields = {field.encode_name for field in msgspec.structs.fields(SubscriptionView)}
    assert fields - unset == {*SET, *PULLED}, "a new field needs its line"


def test_a_pulled_subscription_is_shown_with_its_locks() -> None:
    """What only sending needs is left out where consumers come for the events."""
    shown = {name: output.plain(value) for name, value in declared(view(SET | PULLED)).items()}

    assert shown["endpoint type"] == "pull"
    assert shown["locked for"] == "90 s"
    assert shown["handed out"] == "3 times at most"
    assert "requests in flight" not in shown
    assert "retry schedule" not in shown


def test_what_is_not_set_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A plain webhook is shown with what bounds it, and without empty lines."""
    output.fields(declared(view({"name": "blues", "topic": "songs", "endpoint": "https://x.y"})))

    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == [
        *("name", "topic", "endpoint", "state", "events per request", "requests in flight"),
        *("response timeout", "attempts at most", "time to live", "retry schedule"),
        *("not retried", "dead letters"),
    ]


@pytest.mark.slow
def test_the_command_shows_it(grid: Program, receiver: Receiver) -> None:
    """`subscription show` prints what `create` was told."""
    grid.ok("topic", "create", "songs-12")
    grid.ok(
        *("subscription", "create", "hook-12", "--topic", "songs-12", "--endpoint", receiver.url),
        *("--concurrency", "3", "--max-events-per-batch", "10", "--rate", "5/s"),
    )

    shown = grid.ok("subscription", "show", "hook-12").out

    assert "requests in flight  3\n" in shown
    assert "events per request  10, or 64 KB\n" in shown
    assert "rate                5/s\n" in shown

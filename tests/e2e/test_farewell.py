"""A webhook is told when its subscription is deleted."""

import pytest

from eventpost.core.errors import Overloaded
from eventpost.testing import Grid, Receiver
from eventpost.testing.receiver import NewReceiver


@pytest.mark.parametrize("deleted", ["subscription", "topic"])
def test_a_deletion_is_told_to_the_endpoint(grid: Grid, receiver: Receiver, deleted: str) -> None:
    """Whoever loses a subscription hears of it once, after its last event, and then nothing."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs")
    receiver.wait_for(1)

    if deleted == "topic":
        grid.client.delete_topic("songs")
    else:
        grid.client.delete_subscription("handler")

    grid.settle()
    [farewell] = receiver.farewells
    assert farewell.headers["aeg-event-type"] == "SubscriptionDeletion"
    assert farewell.headers["aeg-subscription-name"] == "HANDLER"
    assert farewell.event["data"]["eventSubscriptionId"].endswith("/eventSubscriptions/handler")
    assert len(receiver.requests) == 1


def test_a_paused_subscription_is_told_too(grid: Grid, receiver: Receiver) -> None:
    """A pause holds events back, not the news that none will come."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.client.pause_subscription("handler")

    grid.client.delete_subscription("handler")

    grid.settle()
    assert len(receiver.farewells) == 1


def test_others_hear_nothing(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Subscriptions that stay, and those that never consented, are not told; no log line either."""
    other, silent = new_receiver(), new_receiver()
    silent.consent = None
    grid.topic("songs")
    for name, to in (("handler", receiver), ("other", other), ("silent", silent)):
        grid.subscribe("songs", to, name=name)

    grid.client.delete_subscription("handler")
    grid.client.delete_subscription("silent")

    grid.settle()
    assert len(receiver.farewells) == 1
    assert other.farewells == silent.farewells == []
    assert not [each for each in caplog.records if "farewell" in each.message]


def test_a_farewell_that_nobody_takes(
    grid: Grid, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint that is gone does not keep its subscription; the log says that it was not told
    and why."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.refuse()

    grid.client.delete_subscription("handler")

    grid.settle()
    assert grid.client.list_subscriptions() == []
    [record] = [each for each in caplog.records if "farewell" in each.message]
    assert record.message == "subscription.farewell_failed"
    assert vars(record)["fields"]["finding"] == "EP2004"


def test_a_deletion_that_was_not_kept_is_not_told(grid: Grid, receiver: Receiver) -> None:
    """The endpoint hears of a deletion that is on disk, never of one that failed."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.settle()
    grid.fill_disk()

    with pytest.raises(Overloaded):
        grid.client.delete_subscription("handler")

    grid.settle()
    assert receiver.farewells == []
    assert [each.name for each in grid.client.list_subscriptions()] == ["handler"]

"""Nothing is delivered to an endpoint that has not consented."""

import pytest

from eventpost.core.errors import Conflict, HandshakeFailed, InvalidRequest, NotFound
from eventpost.testing import Answer, Grid, Receiver, VirtualClock
from eventpost.testing.receiver import NewReceiver

CLOUD = "cloudeventschemav1_0"
WINDOW_S = 10 * 60


def state(grid: Grid) -> str:
    return grid.client.show_subscription("handler").provisioning_state


def test_the_code_comes_back(grid: Grid, receiver: Receiver) -> None:
    """An endpoint that echoes the code gets its events; it was asked once, before the first."""
    grid.topic("songs")

    view = grid.subscribe("songs", receiver)

    assert view.provisioning_state == "Succeeded"
    [handshake] = receiver.handshakes
    assert handshake.headers["aeg-event-type"] == "SubscriptionValidation"
    assert handshake.headers["aeg-subscription-name"] == "HANDLER"
    event = handshake.event
    assert event["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    assert set(event["data"]) == {"validationCode", "validationUrl"}
    grid.publish("songs")
    receiver.wait_for(1)
    assert len(receiver.handshakes) == 1


@pytest.mark.parametrize("schema", ["eventgridschema", CLOUD])
def test_a_refusal_keeps_nothing(grid: Grid, receiver: Receiver, schema: str) -> None:
    """An endpoint that does not consent is told with a finding, and no subscription is kept: its
    name is free, no event is counted for it, and none is sent."""
    grid.topic("songs", input_schema=schema)
    receiver.consent = False

    with pytest.raises(HandshakeFailed, match="did not consent") as refused:
        grid.subscribe("songs", receiver)

    assert refused.value.code.startswith("EP")
    assert refused.value.fix
    with pytest.raises(NotFound):
        state(grid)
    grid.publish("songs")
    grid.settle()
    assert receiver.requests == []
    receiver.consent = True
    assert grid.subscribe("songs", receiver).provisioning_state == "Succeeded"


def test_an_endpoint_that_is_not_there(grid: Grid, receiver: Receiver) -> None:
    """A connection that is refused is no consent."""
    grid.topic("songs")
    receiver.refuse()

    with pytest.raises(HandshakeFailed) as refused:
        grid.subscribe("songs", receiver)

    assert "refused" in str(refused.value).lower()


@pytest.mark.parametrize("schema", ["eventgridschema", CLOUD])
def test_consent_by_hand(grid: Grid, receiver: Receiver, schema: str) -> None:
    """A 200 without consent holds the subscription until somebody opens the URL that the endpoint
    was given; then it gets every event since it was created."""
    grid.topic("songs", input_schema=schema)
    receiver.consent = None
    view = grid.subscribe("songs", receiver)
    assert view.provisioning_state == "AwaitingManualAction"
    assert view.validation_deadline.startswith("2026-01-01T00:10:00")
    ids = grid.publish("songs", count=2)
    grid.settle()
    assert receiver.requests == []

    opened = grid.get(receiver.validation_url)

    assert opened.status_code == 200
    receiver.wait_for(2)
    assert state(grid) == "Succeeded"
    assert sorted(receiver.ids) == sorted(ids)


def test_a_url_works_until_the_end_of_its_window(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """The validation URL consents up to the last moment of its window."""
    grid.topic("songs")
    receiver.consent = None
    grid.subscribe("songs", receiver)

    clock.advance(WINDOW_S - 0.001)

    assert grid.get(receiver.validation_url).status_code == 200
    clock.advance(1)
    assert state(grid) == "Succeeded"


def test_a_url_is_worth_nothing_after_its_window(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """After its window the URL consents to nothing; the subscription failed and stays held."""
    grid.topic("songs")
    receiver.consent = None
    grid.subscribe("songs", receiver)
    grid.publish("songs")

    clock.advance(WINDOW_S)

    assert state(grid) == "Failed"
    assert grid.get(receiver.validation_url).status_code == 404
    grid.settle()
    assert receiver.requests == []
    assert state(grid) == "Failed"


def test_an_endpoint_that_did_not_consent_in_time_is_asked_again(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A subscription whose window has passed is revived by an update, with its cursor."""
    grid.topic("songs")
    receiver.consent = None
    grid.subscribe("songs", receiver)
    [event_id] = grid.publish("songs")
    clock.advance(WINDOW_S)
    assert state(grid) == "Failed"
    receiver.consent = True

    grid.client.update_subscription("handler", {})

    assert state(grid) == "Succeeded"
    grid.settle()
    assert receiver.ids == [event_id]


def test_a_window_runs_on_over_a_restart(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """A restart neither ends a window nor makes it longer."""
    grid.topic("songs")
    receiver.consent = None
    grid.subscribe("songs", receiver)
    clock.advance(WINDOW_S - 1)

    grid.restart()

    assert state(grid) == "AwaitingManualAction"
    clock.advance(1)
    assert state(grid) == "Failed"


def test_a_guessed_url_consents_to_nothing(grid: Grid, receiver: Receiver) -> None:
    """Only the exact URL consents."""
    grid.topic("songs")
    receiver.consent = None
    grid.subscribe("songs", receiver)

    assert grid.get(receiver.validation_url[:-1]).status_code == 404
    assert grid.get("/validate/").status_code == 404
    assert state(grid) == "AwaitingManualAction"


def test_cloud_events_are_asked_for_by_options(
    grid: Grid, receiver: Receiver, clock: VirtualClock
) -> None:
    """For CloudEvents the endpoint is asked with OPTIONS, and the rate that it allows is kept."""
    grid.topic("songs", input_schema=CLOUD)
    receiver.allowed_rate = "120"

    view = grid.subscribe("songs", receiver)

    [handshake] = receiver.handshakes
    assert (handshake.method, handshake.body) == ("OPTIONS", b"")
    assert handshake.headers["webhook-request-origin"] == "127.0.0.1"
    assert view.rate == 2.0
    grid.publish("songs", count=10)
    grid.settle()
    assert len(receiver.requests) == 2
    clock.advance(1.01)
    assert len(receiver.requests) == 4
    clock.advance(10)
    assert len(receiver.requests) == 10


def test_a_changed_endpoint_is_asked_first(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver
) -> None:
    """A new endpoint is asked before it serves; while it refuses, the old one goes on."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    other = new_receiver()
    grid.watch(other)
    other.consent = False

    with pytest.raises(HandshakeFailed):
        grid.client.update_subscription("handler", {"endpoint": other.url})

    [before] = grid.publish("songs")
    receiver.wait_for(1)
    other.consent = True
    grid.client.update_subscription("handler", {"endpoint": other.url})
    [after] = grid.publish("songs")
    other.wait_for(1)
    grid.settle()
    assert (receiver.ids, other.ids) == ([before], [after])


def test_the_old_endpoint_serves_until_the_new_one_is_confirmed(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver, clock: VirtualClock
) -> None:
    """While a new endpoint waits for its URL to be opened the old one serves, and keeps serving
    when that never happens."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    late, never = new_receiver(), new_receiver()
    for other in (late, never):
        other.consent = None
    grid.client.update_subscription("handler", {"endpoint": late.url})
    grid.publish("songs")
    receiver.wait_for(1)
    assert grid.client.show_subscription("handler").pending_endpoint == late.url

    grid.get(late.validation_url)
    grid.publish("songs")
    late.wait_for(1)
    grid.client.update_subscription("handler", {"endpoint": never.url})
    clock.advance(WINDOW_S)

    grid.publish("songs")
    late.wait_for(2)
    shown = grid.client.show_subscription("handler")
    assert (shown.endpoint, shown.pending_endpoint) == (late.url, None)
    assert shown.provisioning_state == "Succeeded"
    assert (len(receiver.requests), len(never.requests)) == (1, 0)


def test_a_paused_subscription_keeps_its_endpoint_until_the_new_one_is_confirmed(
    grid: Grid, receiver: Receiver, new_receiver: NewReceiver, clock: VirtualClock
) -> None:
    """Also while it is paused a subscription keeps the endpoint that has consented."""
    other = new_receiver()
    other.consent = None
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.client.pause_subscription("handler")
    grid.client.update_subscription("handler", {"endpoint": other.url})

    clock.advance(WINDOW_S)
    grid.client.resume_subscription("handler")

    grid.publish("songs")
    receiver.wait_for(1)
    assert state(grid) == "Succeeded"


def test_names_are_taken_once(grid: Grid, receiver: Receiver) -> None:
    """A second subscription of a name is refused without asking its endpoint."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)

    with pytest.raises(Conflict):
        grid.subscribe("songs", receiver)

    assert len(receiver.handshakes) == 1


def test_what_is_out_of_bounds_is_not_asked(grid: Grid, receiver: Receiver) -> None:
    """A subscription that cannot be is refused before its endpoint is bothered."""
    grid.topic("songs")

    with pytest.raises(InvalidRequest):
        grid.subscribe("songs", receiver, retry={"maxDeliveryAttempts": 31})

    assert receiver.handshakes == []


def test_an_answer_that_is_not_the_code(grid: Grid, receiver: Receiver) -> None:
    """Echoing another code is no consent."""
    grid.topic("songs")
    receiver.consent = Answer(200, b'{"validationResponse": "another"}')

    with pytest.raises(HandshakeFailed):
        grid.subscribe("songs", receiver)

"""Creating and changing subscriptions: handshakes, names, and consent that comes later."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from eventpost.app.subscribing import MANUAL_WINDOW_MS
from eventpost.core.errors import Conflict, HandshakeFailed, InvalidRequest, NotFound
from eventpost.core.events import Schema
from eventpost.core.interfaces import Commit, Trim
from eventpost.core.outcomes import DELIVERED, Evidence, Fault, Stage
from eventpost.core.subscriptions import ProvisioningState, Subscription
from eventpost.destinations.handshake import Awaiting, Consent, Refused, Result
from tests.app.station import PUBLIC_URL, Station, answering, draft, run

NO = Refused(Evidence(stage=Stage.HANDSHAKE, fault=Fault.STATUS, status=500))
WINDOW_S = MANUAL_WINDOW_MS / 1_000


def token(station: Station, index: int = -1) -> str:
    """What the URL of a question ends with."""
    url = station.endpoints.asked[index][1]
    assert url.startswith(f"{PUBLIC_URL}/validate/")
    return url.rpartition("/")[2]


# --- consent --------------------------------------------------------------------------------------


def test_consent(tmp_path: Path) -> None:
    """An endpoint that consents is served from then on."""

    async def scenario(station: Station) -> None:
        created = await station.app.create_subscription("songs", draft(), "now")
        await station.publish(2)
        await station.settled()

        assert created.provisioning_state is ProvisioningState.SUCCEEDED
        assert station.destination().ids == ["e0", "e1"]

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("own", "allowed", "rate"),
    [(None, None, None), (None, 120, 2.0), (1.0, 120, 1.0), (5.0, 120, 2.0), (5.0, None, 5.0)],
)
def test_the_rate_that_is_allowed(
    tmp_path: Path, own: float | None, allowed: int | None, rate: float | None
) -> None:
    """The lower one of the declared rate and the endpoint's holds."""

    async def scenario(station: Station) -> None:
        station.endpoints.consents = answering(Consent(allowed))

        created = await station.app.create_subscription("songs", draft(rate_per_s=own), "now")

        assert created.endpoint.rate_per_s == rate

    run(tmp_path, scenario)


def test_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    """Nothing is kept, and the name is free."""

    async def scenario(station: Station) -> None:
        station.endpoints.consents = answering(NO)
        with pytest.raises(HandshakeFailed):
            await station.app.create_subscription("songs", draft(), "now")
        assert station.app.subscriptions() == []

        station.endpoints.consents = answering(Consent())
        await station.app.create_subscription("songs", draft(), "now")

    run(tmp_path, scenario)


# --- consent that comes later ---------------------------------------------------------------------


def test_consent_by_the_url(tmp_path: Path) -> None:
    """The subscription is held until the URL is opened, and then gets all since its creation; the
    URL works once."""

    async def scenario(station: Station) -> None:
        station.endpoints.consents = answering(Awaiting())
        created = await station.app.create_subscription("songs", draft(), "now")
        await station.publish(2)
        await station.settled()
        assert created.provisioning_state is ProvisioningState.AWAITING_MANUAL_ACTION
        assert created.validation_deadline_ms == station.clock.now_ms() + MANUAL_WINDOW_MS
        assert station.destination().ids == []

        assert not station.app.complete_validation("wrong")
        assert not station.app.complete_validation("")
        assert station.app.complete_validation(token(station))
        await station.settled()

        assert station.destination().ids == ["e0", "e1"]
        assert not station.app.complete_validation(token(station))

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("seconds", "is_in_time"), [(WINDOW_S - 0.001, True), (WINDOW_S, False), (WINDOW_S + 1, False)]
)
def test_the_window(tmp_path: Path, seconds: float, is_in_time: bool) -> None:
    """The URL consents inside its window; after it the subscription failed."""

    async def scenario(station: Station) -> None:
        station.endpoints.consents = answering(Awaiting())
        await station.app.create_subscription("songs", draft(), "now")
        station.advance(seconds)
        await station.settled()

        assert station.app.complete_validation(token(station)) is is_in_time
        await station.settled()

        _, found = station.app.subscription("handler", "songs")
        expected = ProvisioningState.SUCCEEDED if is_in_time else ProvisioningState.FAILED
        assert found.provisioning_state is expected
        assert found.is_held is not is_in_time

    run(tmp_path, scenario)


def test_a_window_goes_on_over_a_reopening(tmp_path: Path) -> None:
    """A store that was opened anew does not make a window longer, and runs out its own only."""

    async def scenario(station: Station) -> None:
        station.endpoints.consents = answering(Awaiting())
        await station.app.create_subscription("songs", draft("late"), "now")
        await station.app.create_subscription("songs", draft("early"), "now")
        station.advance(WINDOW_S / 2)
        station.app.reopened(station.app.grid)
        assert station.app.complete_validation(token(station))

        station.advance(WINDOW_S / 2)
        await station.settled()

        states = {each.name: each.provisioning_state for each in station.app.subscriptions()}
        assert states == {
            "late": ProvisioningState.FAILED,
            "early": ProvisioningState.SUCCEEDED,
        }

    run(tmp_path, scenario)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["now", "earliest", 1_767_225_600_000])
def test_two_at_once(tmp_path: Path, start: str | int) -> None:
    """Of two creations of one name that overlap, one wins before the endpoint is asked."""

    async def scenario(station: Station) -> None:
        results = await asyncio.gather(
            *(station.app.create_subscription("songs", draft(), start) for _ in range(3)),
            return_exceptions=True,
        )

        assert [type(each) for each in results] == [Subscription, Conflict, Conflict]
        assert len(station.endpoints.asked) == 1
        assert len(station.app.subscriptions()) == 1

    run(tmp_path, scenario)


def test_a_name_is_free_on_another_topic(tmp_path: Path) -> None:
    """Names are unique within a topic; where one alone is ambiguous, that is said."""

    async def scenario(station: Station) -> None:
        await station.app.create_topic("news", Schema.EVENT_GRID)
        await station.app.create_subscription("songs", draft(), "now")
        await station.app.create_subscription("news", draft(), "now")

        with pytest.raises(Conflict):
            station.app.subscription("handler", None)
        assert station.app.subscription("handler", "news")[0].name == "news"

    run(tmp_path, scenario)


def test_a_topic_that_goes_while_its_endpoint_is_asked(tmp_path: Path) -> None:
    """The creation ends with that, and nothing is kept."""

    async def scenario(station: Station) -> None:
        async def slowly(_: Subscription) -> Result:
            await station.app.delete_topic("songs")
            return Consent()

        station.endpoints.consents = slowly

        with pytest.raises(NotFound):
            await station.app.create_subscription("songs", draft(), "now")
        assert station.app.subscriptions() == []

    run(tmp_path, scenario)


# --- where it starts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("now", []),
        ("earliest", ["e0", "e0", "e0"]),
        (1_767_225_600_000 + 30_000, ["e0", "e0"]),
        (1_767_225_600_000 + 120_000, []),
    ],
)
def test_where_it_starts(tmp_path: Path, start: str | int, expected: list[str]) -> None:
    """With new events, with the oldest one kept, or with the first one since a time."""

    async def scenario(station: Station) -> None:
        for _ in range(3):
            await station.publish()
            station.advance(30.0)

        await station.app.create_subscription("songs", draft(), start)
        await station.settled()

        assert station.destination().ids == expected
        assert station.watcher.lost == []

    run(tmp_path, scenario)


def test_no_such_start(tmp_path: Path) -> None:
    """Anything else is refused before the endpoint is asked, and the name stays free."""

    async def scenario(station: Station) -> None:
        with pytest.raises(InvalidRequest):
            await station.app.create_subscription("songs", draft(), "tomorrow")
        assert station.endpoints.asked == []
        await station.app.create_subscription("songs", draft(), "now")

    run(tmp_path, scenario)


def test_earliest_of_what_was_trimmed(tmp_path: Path) -> None:
    """The oldest event kept is where it begins: nothing is told to be lost."""

    async def scenario(station: Station) -> None:
        await station.publish(2)
        await station.publish(1)
        topic = station.app.topic("songs")
        station.store.commit(Commit(trims=[Trim(topic.id, 0, 2)]), lambda _: None)
        await station.settled()

        await station.app.create_subscription("songs", draft(), "earliest")
        await station.settled()

        assert len(station.destination().ids) == 1
        assert station.watcher.lost == []

    run(tmp_path, scenario)


# --- another endpoint -----------------------------------------------------------------------------


def test_the_old_endpoint_serves_meanwhile(tmp_path: Path) -> None:
    """A new endpoint serves once its URL was opened; until then the old one does."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")
        old = station.destination()
        old.react = lambda _: DELIVERED
        station.endpoints.consents = answering(Awaiting())

        new = draft(address="https://two.example/")
        changed = await station.app.update_subscription("songs", "handler", new)
        await station.publish()
        await station.settled()
        assert changed.endpoint.address == "https://one.example/"
        assert changed.pending_endpoint == new.endpoint
        assert old.ids == ["e0"]

        assert station.app.complete_validation(token(station))
        await station.publish()
        await station.settled()

        _, found = station.app.subscription("handler", "songs")
        assert found.endpoint == new.endpoint
        assert found.pending_endpoint is None
        assert station.destination() is not old
        assert station.destination().ids == ["e0"]

    run(tmp_path, scenario)


def test_a_new_endpoint_that_never_consents(tmp_path: Path) -> None:
    """After its window the old endpoint keeps serving, and the subscription is as it was."""

    async def scenario(station: Station) -> None:
        created = await station.app.create_subscription("songs", draft(), "now")
        station.endpoints.consents = answering(Awaiting())
        new = draft(address="https://two.example/")
        await station.app.update_subscription("songs", "handler", new)

        station.advance(WINDOW_S)
        await station.settled()

        _, found = station.app.subscription("handler", "songs")
        assert found == created
        await station.publish()
        await station.settled()
        assert station.destination().ids == ["e0"]

    run(tmp_path, scenario)


def test_a_refused_change_changes_nothing(tmp_path: Path) -> None:
    """A new endpoint that refuses leaves the subscription as it is."""

    async def scenario(station: Station) -> None:
        created = await station.app.create_subscription("songs", draft(), "now")
        station.endpoints.consents = answering(NO)
        new = draft(address="https://two.example/")

        with pytest.raises(HandshakeFailed):
            await station.app.update_subscription("songs", "handler", new)

        assert station.app.subscription("handler", "songs")[1] == created

    run(tmp_path, scenario)


def test_other_changes_ask_nobody(tmp_path: Path) -> None:
    """Only another address, kind or schema asks for consent."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")

        await station.app.update_subscription("songs", "handler", draft(concurrency=3))

        assert len(station.endpoints.asked) == 1

    run(tmp_path, scenario)


def test_what_changes_while_an_endpoint_is_asked(tmp_path: Path) -> None:
    """A pause that came during the handshake stays."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")

        async def slowly(_: Subscription) -> Result:
            await station.app.pause("songs", "handler")
            return Consent()

        station.endpoints.consents = slowly
        new = draft(address="https://two.example/")
        changed = await station.app.update_subscription("songs", "handler", new)

        assert changed.is_paused
        assert station.app.grid.lanes_of(changed.id)[0].is_paused

    run(tmp_path, scenario)


def test_a_subscription_that_goes_while_its_endpoint_is_asked(tmp_path: Path) -> None:
    """The change ends with that; it does not come back."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")

        async def slowly(_: Subscription) -> Result:
            await station.app.delete_subscription("songs", "handler")
            return Consent()

        station.endpoints.consents = slowly
        new = draft(address="https://two.example/")

        with pytest.raises(NotFound):
            await station.app.update_subscription("songs", "handler", new)
        assert station.app.subscriptions() == []

    run(tmp_path, scenario)


def test_a_subscription_that_goes_while_a_position_is_looked_up(tmp_path: Path) -> None:
    """A rewind to a time tells that it is gone."""

    async def scenario(station: Station) -> None:
        await station.app.create_subscription("songs", draft(), "now")
        station.executor.hold("read")
        rewinding = asyncio.ensure_future(station.app.rewind("songs", "handler", None, 0))
        await asyncio.sleep(0)
        await station.app.delete_subscription("songs", "handler")

        station.executor.release("read")
        with pytest.raises(NotFound):
            await rewinding

    run(tmp_path, scenario)


def test_a_failed_subscription_is_asked_again(tmp_path: Path) -> None:
    """An endpoint that missed its window can consent with the next change."""

    async def scenario(station: Station) -> None:
        station.endpoints.consents = answering(Awaiting())
        await station.app.create_subscription("songs", draft(), "now")
        station.advance(WINDOW_S)
        await station.settled()
        station.endpoints.consents = answering(Consent())

        changed = await station.app.update_subscription("songs", "handler", draft())

        assert changed.provisioning_state is ProvisioningState.SUCCEEDED
        assert not msgspec.structs.replace(changed).is_held

    run(tmp_path, scenario)

"""Consumers of a pulled subscription, as a test of the grid writes them."""

from collections.abc import Sequence

from eventpost.core.errors import EventpostError
from eventpost.grid.pull import LOOK_S, Handed, PullLane
from eventpost.grid.settling import Action, Key, Result
from tests.grid.rig import Rig

LOCK_S = 60.0


def pull_lane(rig: Rig, name: str = "handler") -> PullLane:
    lane = rig.lane(name)
    assert isinstance(lane, PullLane)
    return lane


def subscribe(rig: Rig, name: str = "handler", **settings: object) -> PullLane:
    settings = {"type": "pull", "receive_lock_duration_s": LOCK_S, **settings}
    rig.subscribe(name, **settings)  # type: ignore[arg-type]  # by the names of an endpoint
    return pull_lane(rig, name)


class Received:
    """One receive: `answers` is empty while it waits."""

    def __init__(self) -> None:
        self.answers: list[Handed | EventpostError] = []
        self.is_listening = True

    @property
    def handed(self) -> Handed:
        (answer,) = self.answers
        assert isinstance(answer, Handed), answer
        return answer

    @property
    def ids(self) -> list[str]:
        return [each.event.id for each in self.handed.deliveries]

    @property
    def counts(self) -> list[int]:
        """The delivery counts."""
        return [each.attempts for each in self.handed.deliveries]

    @property
    def keys(self) -> list[Key]:
        return [
            Key(self.handed.lock, each.position, each.row.dead_letter_id if each.row else 0)
            for each in self.handed.deliveries
        ]


def receive(
    rig: Rig, count: int = 1, *, wait_s: float = 0.0, name: str = "handler", settle: bool = True
) -> Received:
    received = Received()
    lane = pull_lane(rig, name)
    lane.receive(count, wait_s, lambda: received.is_listening, received.answers.append)
    if settle:
        rig.settle()
    if settle and not wait_s and not received.answers:
        rig.advance(LOOK_S)  # something is being read for it, in vain
    return received


def settle(
    rig: Rig,
    action: Action,
    keys: Sequence[Key],
    *,
    delay_s: float = 0.0,
    name: str = "handler",
) -> list[Result]:
    answers: list[list[Result] | EventpostError] = []
    lane = pull_lane(rig, name)
    lane.settle(action, list(keys), int(delay_s * 1000), answers.append)
    rig.settle()
    (answer,) = answers
    assert isinstance(answer, list), answer
    return answer

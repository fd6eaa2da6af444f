"""Holds the books of an engine against what its lanes, its ladder and its store have."""

from eventpost.core.interfaces import Recovered
from eventpost.grid.audit import unbalanced
from eventpost.grid.checkpoint import restore
from eventpost.grid.engine import Engine

__all__ = ["Known", "is_restored", "kept", "known", "unbalanced"]


def is_restored(engine: Engine) -> bool:
    """Whether every lane has read back what it held before the start."""
    return all(
        lane.recovery is None
        for subscription_id in engine.subscriptions
        for lane in engine.lanes_of(subscription_id)
    )


Known = dict[tuple[int, int], tuple[object, ...]]
"""By (subscription id, partition): the books, the generation, the rows on the ladder."""


def known(engine: Engine) -> Known:
    """What an engine at rest knows of its lanes. On the grid's thread."""
    return {
        (lane.subscription.id, lane.partition.index): (
            lane.total(),
            lane.generation,
            lane.ladder_count,
        )
        for subscription_id in engine.subscriptions
        for lane in engine.lanes_of(subscription_id)
    }


def kept(recovered: Recovered) -> Known:
    """The same as a store tells it to the next start."""
    states = [(row.kind, (row.owner_id, row.partition, row.state)) for row in recovered.states]
    restored = restore(
        [state for kind, state in states if kind == "lane"],
        [state for kind, state in states if kind == "partition"],
        recovered.outcomes,
    )
    return {
        key: (lane.tally, lane.generation, recovered.ladder_counts.get((*key, lane.generation), 0))
        for key, lane in restored.lanes.items()
    }

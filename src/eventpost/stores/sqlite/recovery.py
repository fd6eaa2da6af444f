"""From what a file holds to what a grid needs to go on, and to the indices in memory.

The order matters: the chunks of the index, then what was trimmed, then the newest blocks, whose
segments may be in no chunk yet, then the ends of partitions that were emptied.
"""

import apsw

from eventpost.core.errors import StoreError
from eventpost.core.interfaces import Recovered
from eventpost.core.subscriptions import Topic
from eventpost.diagnosis import codes
from eventpost.stores.sqlite import catalogue, deadletters, ladder
from eventpost.stores.sqlite.blocks import DamagedError, Head
from eventpost.stores.sqlite.connection import rows, value
from eventpost.stores.sqlite.index import SegmentIndex
from eventpost.stores.sqlite.traces import LAST_ROW, TraceIndex
from eventpost.stores.sqlite.trimmer import RETENTIONS

LAST_BLOCK = "SELECT coalesce(max(id), 0) FROM block"
HEADS = "SELECT id, segment_count, event_count, head FROM block WHERE id > ? ORDER BY id"


def load_marks(connection: apsw.Connection, unindexed_blocks_max: int) -> dict[str, int]:
    """A smaller `unindexed_blocks_max` must not make a start miss what a larger one left."""
    bound = (catalogue.UNINDEXED_BLOCKS_MAX, unindexed_blocks_max)
    marks = catalogue.marks(connection)
    if marks.get(bound[0], 0) < bound[1]:
        connection.execute(catalogue.RAISE_MARK, bound)
        marks[bound[0]] = bound[1]
    return marks


def load_indices(
    connection: apsw.Connection,
    index: SegmentIndex,
    traces: TraceIndex,
    topics: dict[int, Topic],
    marks: dict[str, int],
) -> int:
    """Fill both indices; returns the id of the last block. Raises StoreError."""
    index.load(connection)
    ends = {}
    for topic_id, partition, floor, first, end in connection.execute(RETENTIONS):
        index.retain((topic_id, partition), floor, first)
        ends[topic_id, partition] = end
    last_block: int = max(value(connection, LAST_BLOCK), marks.get(catalogue.LAST_BLOCK, 0))
    heads = _heads(connection, last_block - marks[catalogue.UNINDEXED_BLOCKS_MAX])
    removals = rows(connection, catalogue.REMOVALS)
    known = topics.keys() | {owner_id for kind, owner_id in removals if kind == "topic"}
    index.complete(
        segment for head in heads for segment in head.placed() if segment.topic_id in known
    )
    index.raise_ends(ends)
    traced = value(connection, LAST_ROW)
    traces.complete([head for head in heads if head.block_id > traced])
    return last_block


def _heads(connection: apsw.Connection, after: int) -> list[Head]:
    try:
        return [Head(*row) for row in connection.execute(HEADS, (after,))]
    except DamagedError as error:
        raise StoreError(
            codes.SEGMENT_DAMAGED,
            f"Among the newest events of {connection.filename}, {error} is damaged.",
            why="Which positions it holds cannot be told, and none may be given twice.",
            fix="Restore a backup made by `eventpost store backup`.",
        ) from error


def recover(
    connection: apsw.Connection,
    index: SegmentIndex,
    topics: dict[int, Topic],
    marks: dict[str, int],
) -> Recovered:
    """What `Store.open` returns."""
    below = marks.get(catalogue.OUTCOMES_BELOW, 0)
    return Recovered(
        topics=list(topics.values()),
        subscriptions=catalogue.subscriptions(connection),
        settings=catalogue.settings(connection),
        next_positions={
            (topic.id, partition): index.next_position((topic.id, partition))
            for topic in topics.values()
            for partition in range(topic.partition_count)
        },
        states=catalogue.states(connection),
        outcomes=[(row[0], row[1]) for row in rows(connection, catalogue.OUTCOMES, (below,))],
        ladder_counts=ladder.counts(connection),
        dead_letter_counts=deadletters.counts(connection),
        last_outcome_id=max(value(connection, catalogue.LAST_OUTCOME), below - 1),
        topic_id_max=marks.get(catalogue.TOPIC_ID_MAX, 0),
        subscription_id_max=marks.get(catalogue.SUBSCRIPTION_ID_MAX, 0),
        dead_letter_id_max=value(connection, deadletters.ID_MAX),
        connections=catalogue.connections(connection),
        sources=catalogue.sources(connection),
        source_id_max=marks.get(catalogue.SOURCE_ID_MAX, 0),
        source_letter_counts=deadletters.source_counts(connection),
    )

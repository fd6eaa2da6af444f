"""What users declare, settings, and the snapshots and outcomes from which a grid goes on."""

import apsw
import msgspec

from eventpost.core.interfaces import (
    CatalogueChange,
    PutConnection,
    PutSetting,
    PutSource,
    PutSubscription,
    PutTopic,
    RemoveConnection,
    RemoveSource,
    RemoveSubscription,
    RemoveTopic,
    StateRow,
)
from eventpost.core.sources import Connection, Source
from eventpost.core.subscriptions import Subscription, Topic

PUT_TOPIC = "INSERT OR REPLACE INTO topic VALUES (?, ?)"
REMOVE_TOPIC = "DELETE FROM topic WHERE id = ?"
TOPICS = "SELECT body FROM topic ORDER BY id"
PUT_SUBSCRIPTION = "INSERT OR REPLACE INTO subscription VALUES (?, ?, ?)"
REMOVE_SUBSCRIPTION = "DELETE FROM subscription WHERE id = ?"
SUBSCRIPTIONS = "SELECT body FROM subscription ORDER BY id"
REMOVE_SUBSCRIPTIONS_OF = "DELETE FROM subscription WHERE topic_id = ?"
PUT_CONNECTION = "INSERT OR REPLACE INTO connection VALUES (?, ?)"
REMOVE_CONNECTION = "DELETE FROM connection WHERE name = ?"
CONNECTIONS = "SELECT body FROM connection ORDER BY name"
PUT_SOURCE = "INSERT OR REPLACE INTO source VALUES (?, ?, ?)"
REMOVE_SOURCE = "DELETE FROM source WHERE id = ?"
REMOVE_SOURCES_OF = "DELETE FROM source WHERE topic_id = ?"
SOURCES = "SELECT body FROM source ORDER BY id"
PUT_SETTING = "INSERT OR REPLACE INTO setting VALUES (?, ?)"
SETTINGS = "SELECT name, value FROM setting"
REMOVALS = "SELECT kind, owner_id FROM removal"
PUT_REMOVAL = "INSERT OR REPLACE INTO removal VALUES (?, ?)"
PUT_REMOVALS_OF = """
    INSERT OR REPLACE INTO removal SELECT 'subscription', id FROM subscription WHERE topic_id = ?
"""

PUT_SOURCE_REMOVALS_OF = """
    INSERT OR REPLACE INTO removal SELECT 'source', id FROM source WHERE topic_id = ?
"""

PUT_STATE = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"
REMOVE_STATES = "DELETE FROM state WHERE kind = ? AND owner_id = ?"
REMOVE_STATES_OF = """
    DELETE FROM state WHERE kind = 'lane' AND owner_id IN
        (SELECT id FROM subscription WHERE topic_id = ?)
"""
STATES = "SELECT kind, owner_id, partition, state FROM state"

PUT_OUTCOME = "INSERT INTO outcome VALUES (?, ?)"
OUTCOMES = "SELECT id, body FROM outcome WHERE id >= ? ORDER BY id"
LAST_OUTCOME = "SELECT coalesce(max(id), 0) FROM outcome"

RAISE_MARK = """
    INSERT INTO mark VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)
"""
MARKS = "SELECT name, value FROM mark"

TOPIC_ID_MAX = "topic_id_max"
SUBSCRIPTION_ID_MAX = "subscription_id_max"
SOURCE_ID_MAX = "source_id_max"
OUTCOMES_BELOW = "outcomes_below"
LAST_BLOCK = "last_block"
BLOCKS_REMOVED = "blocks_removed"
UNINDEXED_BLOCKS_MAX = "unindexed_blocks_max"

_TOPIC = msgspec.json.Decoder(Topic)
_SUBSCRIPTION = msgspec.json.Decoder(Subscription)
_CONNECTION = msgspec.json.Decoder(Connection)
_SOURCE = msgspec.json.Decoder(Source)
_encode = msgspec.json.Encoder().encode


def change(connection: apsw.Connection, entry: CatalogueChange) -> None:
    """Inside a commit. What is removed leaves a row in `removal`, for the sweeper."""
    execute = connection.execute
    match entry:
        case PutTopic(topic):
            execute(PUT_TOPIC, (topic.id, _encode(topic)))
            execute(RAISE_MARK, (TOPIC_ID_MAX, topic.id))
        case PutSubscription(subscription):
            row = (subscription.id, subscription.topic_id, _encode(subscription))
            execute(PUT_SUBSCRIPTION, row)
            execute(RAISE_MARK, (SUBSCRIPTION_ID_MAX, subscription.id))
        case RemoveTopic(topic_id):
            execute(REMOVE_TOPIC, (topic_id,))
            execute(REMOVE_STATES, ("partition", topic_id))
            execute(PUT_REMOVAL, ("topic", topic_id))
            execute(PUT_SOURCE_REMOVALS_OF, (topic_id,))
            execute(REMOVE_SOURCES_OF, (topic_id,))
            _remove_subscriptions(connection, topic_id)
        case RemoveSubscription(subscription_id):
            _remove_subscription(connection, subscription_id)
        case PutConnection(named):
            execute(PUT_CONNECTION, (named.name, _encode(named)))
        case RemoveConnection(name):
            execute(REMOVE_CONNECTION, (name,))
        case PutSource(source):
            execute(PUT_SOURCE, (source.id, source.topic_id, _encode(source)))
            execute(RAISE_MARK, (SOURCE_ID_MAX, source.id))
        case RemoveSource(source_id):
            execute(REMOVE_SOURCE, (source_id,))
            execute(PUT_REMOVAL, ("source", source_id))
        case PutSetting(name, value):
            execute(PUT_SETTING, (name, value))


def _remove_subscriptions(connection: apsw.Connection, topic_id: int) -> None:
    """All of a topic; there may be ten thousand."""
    for query in (PUT_REMOVALS_OF, REMOVE_STATES_OF, REMOVE_SUBSCRIPTIONS_OF):
        connection.execute(query, (topic_id,))


def _remove_subscription(connection: apsw.Connection, subscription_id: int) -> None:
    connection.execute(REMOVE_SUBSCRIPTION, (subscription_id,))
    connection.execute(REMOVE_STATES, ("lane", subscription_id))
    connection.execute(PUT_REMOVAL, ("subscription", subscription_id))


def topics(connection: apsw.Connection) -> list[Topic]:
    return [_TOPIC.decode(body) for (body,) in connection.execute(TOPICS)]


def subscriptions(connection: apsw.Connection) -> list[Subscription]:
    return [_SUBSCRIPTION.decode(body) for (body,) in connection.execute(SUBSCRIPTIONS)]


def connections(connection: apsw.Connection) -> list[Connection]:
    return [_CONNECTION.decode(body) for (body,) in connection.execute(CONNECTIONS)]


def sources(connection: apsw.Connection) -> list[Source]:
    return [_SOURCE.decode(body) for (body,) in connection.execute(SOURCES)]


def settings(connection: apsw.Connection) -> dict[str, bytes]:
    return dict(connection.execute(SETTINGS))


def marks(connection: apsw.Connection) -> dict[str, int]:
    return dict(connection.execute(MARKS))


def put_states(connection: apsw.Connection, changed: list[StateRow]) -> None:
    connection.executemany(
        PUT_STATE, [(row.kind, row.owner_id, row.partition, row.state) for row in changed]
    )


def states(connection: apsw.Connection) -> list[StateRow]:
    return [
        StateRow(kind=kind, owner_id=owner_id, partition=partition, state=state)
        for kind, owner_id, partition, state in connection.execute(STATES)
    ]

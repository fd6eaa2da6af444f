"""Changes to what users declare: in memory at once, durable with the next commit.

Each function answers through `done(is_durable)`. When the commit fails the engine is thrown away,
and with it what was changed in memory.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventpost.core.filters import compile_filter
from eventpost.core.interfaces import (
    PutConnection,
    PutSetting,
    PutSource,
    PutSubscription,
    PutTopic,
    RemoveConnection,
    RemoveSource,
    RemoveSubscription,
    RemoveTopic,
)
from eventpost.core.sources import Connection, Source
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.grid import moving

if TYPE_CHECKING:
    from eventpost.grid.engine import Engine
    from eventpost.grid.lane import Lane

Done = Callable[[bool], None]

RECOVERY_WAIT_S = 0.05
"""A change of a filter waits so long, again and again, for a lane that is still being restored."""
OLD_DESTINATION_S = 120.0
"""A replaced destination is closed so long after its response timeout: its attempts have ended."""


def put_topic(engine: "Engine", topic: Topic, done: Done) -> None:
    """Create a topic, or change its keys."""
    add_topic(engine, topic)
    engine.journal.wait(done)


def add_topic(engine: "Engine", topic: Topic) -> None:
    """The same with the open commit, which whoever adds more to it will wait for."""
    engine.add_topic(topic)
    engine.journal.open.catalogue.append(PutTopic(topic))


def remove_topic(engine: "Engine", topic_id: int, done: Done) -> None:
    """Remove a topic with its events, sources, subscriptions, and their dead letters; a domain with
    its topics and theirs, too."""
    gone = [each.id for each in engine.topics_of(topic_id).values()]
    gone.append(topic_id)
    known = set(gone)
    for source in list(engine.sources.values()):
        if source.topic_id in known:
            _drop_source(engine, source.id)
    for each in gone:
        for subscription in engine.subscriptions_of(each):
            engine.drop_lanes(subscription.id)
    for each in gone:
        engine.drop_topic(each)
        engine.journal.open.catalogue.append(RemoveTopic(each))
    engine.journal.wait(done)


def put_setting(engine: "Engine", name: str, value: bytes, done: Done) -> None:
    engine.settings[name] = value
    engine.journal.open.catalogue.append(PutSetting(name, value))
    engine.journal.wait(done)


def add_subscription(
    engine: "Engine", subscription: Subscription, cursors: list[int | None], done: Done
) -> None:
    """Create a subscription that begins at `cursors` (one per partition, None: new events)."""
    lanes = engine.add_lanes(subscription, cursors)
    _keep(engine, subscription, lanes)
    engine.journal.wait(done)
    for lane in lanes:
        lane.pump()


def change_subscription(engine: "Engine", subscription: Subscription, done: Done) -> None:
    """Change everything but id, name and topic. A changed filter applies at the cursor: what was
    taken before goes on as it is. Not durable when the subscription was removed."""
    if engine.is_stopped or subscription.id not in engine.subscriptions:
        engine.clock.call_soon(done, False)
        return
    lanes = engine.lanes_of(subscription.id)
    if any(lane.recovery is not None for lane in lanes):
        engine.clock.call_later(RECOVERY_WAIT_S, change_subscription, engine, subscription, done)
        return
    old = engine.subscriptions[subscription.id]
    engine.subscriptions[subscription.id] = subscription
    topic = engine.topics[subscription.topic_id]
    for lane in lanes:
        lane.configure(subscription)
        if subscription.filter != old.filter:
            lane.partition.matcher.remove(lane)
            lane.partition.matcher.add(lane, subscription.filter, topic.input_schema)
            lane.compiled = compile_filter(subscription.filter, topic.input_schema)
        if subscription.endpoint != old.endpoint or subscription.name != old.name:
            _renew_destination(engine, lane, old)
    _keep(engine, subscription, lanes)
    engine.journal.wait(done)
    for lane in lanes:
        if lane.is_paused != subscription.is_held:
            moving.pause(lane, is_paused=subscription.is_held)
        else:
            lane.pump()
    if subscription.deadletter is not None:
        engine.exports.expect(subscription)


def remove_subscription(engine: "Engine", subscription_id: int, done: Done) -> int:
    """Remove a subscription with its ladder rows and dead letters, and with the last one of a topic
    that goes by itself, the topic. Returns the deliveries that were pending and are dropped."""
    pending = sum(lane.total().pending for lane in engine.lanes_of(subscription_id))
    topic = engine.topics[engine.subscriptions[subscription_id].topic_id]
    engine.drop_lanes(subscription_id)
    engine.journal.open.catalogue.append(RemoveSubscription(subscription_id))
    if _goes_by_itself(engine, topic):
        engine.drop_topic(topic.id)
        engine.journal.open.catalogue.append(RemoveTopic(topic.id))
    engine.journal.wait(done)
    return pending


def _goes_by_itself(engine: "Engine", topic: Topic) -> bool:
    """Whether it is the topic of a domain that deletes it with its last subscription, and has none
    left."""
    if not topic.domain_id:
        return False
    rules = engine.topics[topic.domain_id].domain
    if rules is None or not rules.auto_delete_topic_with_last_subscription:
        return False
    return not engine.subscriptions_of(topic.id)


def put_connection(engine: "Engine", connection: Connection, done: Done) -> None:
    """Create a connection, or change the one of that name: subscriptions that use it deliver over
    the new one from now on, and attempts under way end over the old one."""
    is_changed = connection.name in engine.connections
    engine.connections[connection.name] = connection
    engine.journal.open.catalogue.append(PutConnection(connection))
    engine.journal.wait(done)
    if not is_changed:
        return
    for subscription in engine.subscriptions.values():
        if subscription.endpoint.connection == connection.name:
            for lane in engine.lanes_of(subscription.id):
                _renew_destination(engine, lane, subscription)
                lane.pump()


def remove_connection(engine: "Engine", name: str, done: Done) -> None:
    """Remove a connection that nothing uses."""
    del engine.connections[name]
    engine.journal.open.catalogue.append(RemoveConnection(name))
    engine.journal.wait(done)


def put_source(engine: "Engine", source: Source, done: Done) -> None:
    """Create a source, or change everything but its id and topic. Not durable when the topic was
    removed."""
    if engine.is_stopped or source.topic_id not in engine.topics:
        engine.clock.call_soon(done, False)
        return
    engine.sources[source.id] = source
    engine.journal.open.catalogue.append(PutSource(source))
    engine.journal.wait(done)


def remove_source(engine: "Engine", source_id: int, done: Done) -> None:
    """Remove a source with its dead letters; what was taken stays taken."""
    _drop_source(engine, source_id)
    engine.journal.open.catalogue.append(RemoveSource(source_id))
    engine.journal.wait(done)


def _drop_source(engine: "Engine", source_id: int) -> None:
    del engine.sources[source_id]
    engine.dead_letters.source_counts.pop(source_id, None)


def _renew_destination(engine: "Engine", lane: "Lane", old: Subscription) -> None:
    """Deliver over a new destination; the old one ends with its attempts."""
    replaced = lane.destination
    topic = engine.topics[lane.subscription.topic_id]
    lane.destination = engine.renew_destination(topic, lane.subscription)
    engine.replaced[replaced] = None

    def close() -> None:
        if replaced in engine.replaced:  # or the engine was stopped meanwhile, which closed it
            del engine.replaced[replaced]
            replaced.close()

    engine.clock.call_later(old.endpoint.response_timeout_s + OLD_DESTINATION_S, close)


def rewind(engine: "Engine", subscription_id: int, positions: list[int], done: Done) -> None:
    """Move the cursors; durable with the commit that carries the lanes' records."""
    for lane, position in zip(engine.lanes_of(subscription_id), positions, strict=True):
        moving.rewind(lane, position)
    engine.journal.wait(done)


def _keep(engine: "Engine", subscription: Subscription, lanes: list["Lane"]) -> None:
    commit = engine.journal.open
    commit.catalogue.append(PutSubscription(subscription))
    for lane in lanes:
        row = lane.state_row(engine.journal.outcome_id)
        assert row is not None
        commit.states.append(row)
        engine.journal.touch(lane)

"""What users do to the grid, drawn from the seed, and how the ledger hears of it."""

from collections.abc import Callable

import msgspec

from eventpost.core.domains import split
from eventpost.core.errors import Overloaded
from eventpost.core.events import Schema
from eventpost.core.subscriptions import (
    DEAD_LETTER_TOPIC,
    DomainRules,
    Endpoint,
    Subscription,
    Topic,
)
from eventpost.grid import catalogue
from eventpost.grid.lane import Lane
from eventpost.testing.simulation import declarations
from eventpost.testing.simulation import plan as kinds
from eventpost.testing.simulation.ledger import Account, Entry, Passage, TopicLog, Version
from eventpost.testing.simulation.letters import Letters
from eventpost.testing.simulation.process import Process
from eventpost.testing.simulation.world import World

BATCH_MAX = 20
DOMAIN_CHANCE = 0.3
PULL_CHANCE = 0.2
LOCKS_S = (0.3, 2.0, 20.0)
Action = Callable[[Process], None]


class Workload:
    """Acts on whichever process serves. `act` does one thing; `is_done` when all is published."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = world.draw
        self._ledger = world.ledger
        self._letters = Letters(world)
        self._actions: dict[Action, float] = {
            self.publish: 60,
            self.publish_batch: 60,
            self.add_subscription: 4,
            self.change_filter: 3,
            self.change_endpoint: 3,
            self.pause: 3,
            self.resume: 5,
            self.rewind: 3,
            self.remove_subscription: 1,
            self._letters.replay: 4,
            self._letters.purge: 1,
            self.regenerate_key: 1,
            self.remove_topic: 0.2,
        }

    @property
    def is_done(self) -> bool:
        return self._ledger.handed_over >= self._world.plan.events

    def act(self) -> None:
        """Do one thing, if anybody is there to do it."""
        process = self._world.process
        if process is None:
            return
        if self._prepare(process):
            return
        (action,) = self._draw.choices(list(self._actions), list(self._actions.values()))
        action(process)

    def finish(self, process: Process) -> None:
        """Let everything that is held or slowed down go on."""
        for subscription_id, account in self._ledger.living():
            subscription = process.engine.subscriptions[subscription_id]
            if subscription.is_paused or subscription.endpoint.rate_per_s is not None:
                endpoint = msgspec.structs.replace(subscription.endpoint, rate_per_s=None)
                self._change(process, account, is_paused=False, endpoint=endpoint)

    # --- topics -----------------------------------------------------------------------------------

    def _prepare(self, process: Process) -> bool:
        """Make what is missing, as the application does at its start. True when it did."""
        topics = _logs(process)
        if DEAD_LETTER_TOPIC not in {topic.name for topic in topics}:
            self._add_topic(process, DEAD_LETTER_TOPIC)
        elif len(topics) <= self._world.plan.topics:
            self._add_topic(process, f"topic-{process.engine.new_topic_id()}")
        elif len(self._ledger.living()) < self._world.plan.subscriptions_max // 2:
            self.add_subscription(process)
        else:
            return False
        return True

    def _add_topic(self, process: Process, name: str) -> None:
        is_plain = name == DEAD_LETTER_TOPIC or self._draw.random() < 0.7
        is_domain = name != DEAD_LETTER_TOPIC and self._draw.random() < DOMAIN_CHANCE
        topic = Topic(
            id=process.engine.new_topic_id(),
            name=name,
            key1="",
            key2="",
            created_ms=process.clock.now_ms(),
            input_schema=Schema.EVENT_GRID if is_plain else Schema.CLOUD_EVENTS,
            domain=DomainRules() if is_domain else None,
        )
        # An id of a topic that was never acknowledged may be given again.
        log = self._ledger.logs[topic.id] = TopicLog(topic)

        def done(is_durable: bool) -> None:
            log.is_durable = is_durable

        catalogue.put_topic(process.engine, topic, done)

    def regenerate_key(self, process: Process) -> None:
        topic = self._draw.choice(list(process.engine.topics.values()))
        changed = msgspec.structs.replace(topic, key1=f"key-{self._draw.random()}")
        catalogue.put_topic(process.engine, changed, lambda _: None)

    def remove_topic(self, process: Process) -> None:
        topics = [each for each in process.engine.topics.values() if not each.is_builtin]
        topic = self._draw.choice(topics)
        log = self._ledger.logs.get(topic.id)
        gone = {topic.id}
        gone.update(each.id for each in process.engine.topics_of(topic.id).values())
        accounts = [
            account
            for account in self._ledger.accounts.values()
            if account.now.subscription.topic_id in gone and not account.is_removed
        ]
        if log is not None:
            log.is_removal_asked = True
        for account in accounts:
            account.is_removal_asked = True

        def done(is_durable: bool) -> None:
            if is_durable:
                if log is not None:
                    log.is_removed = True
                for account in accounts:
                    account.is_removed = True

        catalogue.remove_topic(process.engine, topic.id, done)

    # --- publishing -------------------------------------------------------------------------------

    def publish(self, process: Process) -> None:
        self._publish(process, 1)

    def publish_batch(self, process: Process) -> None:
        for _ in range(self._draw.choice((1, 1, 1, 4))):
            self._publish(process, self._draw.randint(1, BATCH_MAX))

    def _publish(self, process: Process, count: int) -> None:
        topics = [each for each in _logs(process) if not each.is_builtin]
        topic = self._draw.choice(topics)
        ids = [self._world.new_id() for _ in range(count)]
        batch = declarations.events(self._draw, topic, ids)
        entries = [Entry(event, topic.id) for event in batch]
        self._ledger.handed_over += count
        for entry in entries:
            self._ledger.by_id[entry.event.id] = entry

        def done(refusal: Overloaded | None) -> None:
            for entry in entries:
                entry.is_acknowledged = refusal is None
            self._world.faults[kinds.OVERLOADED] += refusal is not None

        try:
            process.engine.publish(topic.id, batch, done)
        except Overloaded as refusal:
            done(refusal)

    # --- subscriptions ----------------------------------------------------------------------------

    def add_subscription(self, process: Process) -> None:
        engine = process.engine
        if len(self._ledger.living()) >= self._world.plan.subscriptions_max:
            return
        log = self._draw.choice(_logs(process))
        topic = self._scope(process, log)
        subscription_id = engine.new_subscription_id()
        subscription = Subscription(
            id=subscription_id,
            topic_id=topic.id,
            name=f"subscription-{subscription_id}-{self._world.new_id()}",
            created_ms=process.clock.now_ms(),
            filter=msgspec.structs.replace(
                declarations.filter_(self._draw), domain_topic=split(topic.name)[1]
            ),
            endpoint=self._endpoint(log),
            retry=declarations.retry(self._draw),
            deadletter=self._draw.choice((None, "folder:letters")),
        )
        partition = engine.partitions[log.id, 0]
        start = self._draw.choice((None, partition.routed, self._kept(process, log.id)))
        first = partition.routed if start is None else start
        account = self._ledger.accounts[subscription_id] = Account()
        account.put(Version(subscription, 0, (Passage(first, None, subscription.filter),)))

        def done(is_durable: bool) -> None:
            account.is_durable = is_durable

        catalogue.add_subscription(engine, subscription, [start], done)

    def _scope(self, process: Process, log: Topic) -> Topic:
        """The topic itself; of a domain often one of its topics, made with its first
        subscription."""
        if not log.is_domain or self._draw.random() < 0.4:
            return log
        name = f"{log.name}/{self._draw.choice(declarations.DOMAIN_TOPICS)}"
        topic = process.engine.topics_of(log.id).get(name.casefold())
        if topic is None:
            topic = Topic(
                id=process.engine.new_topic_id(),
                name=name,
                key1="",
                key2="",
                created_ms=process.clock.now_ms(),
                input_schema=log.input_schema,
                partition_count=0,
                domain_id=log.id,
            )
            catalogue.add_topic(process.engine, topic)
        self._ledger.domains[topic.id] = log.id
        return topic

    def _endpoint(self, log: Topic) -> Endpoint:
        if log.is_domain or self._draw.random() >= PULL_CHANCE:
            return declarations.endpoint(self._draw)
        return declarations.pulled(self._draw, self._draw.choice(LOCKS_S))

    def _kept(self, process: Process, topic_id: int) -> int:
        """A position from which on nothing was trimmed."""
        routed = process.engine.partitions[topic_id, 0].routed
        if self._world.plan.is_trimming:
            return routed
        return self._draw.randint(0, routed)

    def _some(self, process: Process) -> tuple[Account, Lane] | None:
        """A subscription that is neither removed nor being restored."""
        living = self._ledger.living()
        if not living:
            return None
        subscription_id, account = self._draw.choice(living)
        lane = process.engine.lane(subscription_id, 0)
        return None if lane is None else (account, lane)

    def change_filter(self, process: Process) -> None:
        found = self._some(process)
        # A lane that is being restored puts the change off; which events it takes until then with
        # the old filter could not be told.
        if found is None or found[1].recovery is not None:
            return
        account, lane = found
        now = account.now
        of_topic = now.subscription.filter.domain_topic
        drawn = declarations.filter_(self._draw)
        wanted = msgspec.structs.replace(drawn, domain_topic=of_topic)
        if wanted == now.subscription.filter:
            return
        subscription = msgspec.structs.replace(now.subscription, filter=wanted)
        passages = account.filtered(self._ledger.log_of(account), lane.taken, wanted)
        self._put(process, account, Version(subscription, now.generation, passages))

    def change_endpoint(self, process: Process) -> None:
        found = self._some(process)
        if found is not None and found[1].recovery is None:
            endpoint = found[0].now.subscription.endpoint
            if endpoint.is_pulled:  # what is held is held as long as it was said
                changed = declarations.pulled(self._draw, endpoint.receive_lock_duration_s)
            else:
                changed = declarations.endpoint(self._draw)
            self._change(process, found[0], endpoint=changed)

    def pause(self, process: Process) -> None:
        found = self._some(process)
        if found is not None and found[1].recovery is None:
            self._change(process, found[0], is_paused=True)

    def resume(self, process: Process) -> None:
        found = self._some(process)
        if found is not None and found[1].recovery is None:
            self._change(process, found[0], is_paused=False)

    def _change(self, process: Process, account: Account, **changes: object) -> None:
        now = account.now
        subscription = msgspec.structs.replace(now.subscription, **changes)
        self._put(process, account, Version(subscription, now.generation, now.passages))

    def _put(self, process: Process, account: Account, version: Version) -> None:
        account.put(version)

        def done(is_durable: bool) -> None:
            if is_durable:
                account.kept(version)

        catalogue.change_subscription(process.engine, version.subscription, done)

    def rewind(self, process: Process) -> None:
        found = self._some(process)
        if found is None:
            return
        account, lane = found
        log = self._ledger.log_of(account)
        position = self._kept(process, log.topic.id)
        now = account.now
        passages = account.rewound(log, lane.taken, position)
        version = Version(now.subscription, lane.generation + 1, passages)
        account.put(version)

        def done(is_durable: bool) -> None:
            if is_durable:
                account.kept(version)

        catalogue.rewind(process.engine, lane.subscription.id, [position], done)

    def remove_subscription(self, process: Process) -> None:
        found = self._some(process)
        if found is None:
            return
        account, lane = found
        account.is_removal_asked = True

        def done(is_durable: bool) -> None:
            account.is_removed = account.is_removed or is_durable

        catalogue.remove_subscription(process.engine, lane.subscription.id, done)


def _logs(process: Process) -> list[Topic]:
    """Topics that events are published to: domains, but not their topics."""
    return [each for each in process.engine.topics.values() if not each.domain_id]

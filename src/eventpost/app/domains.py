"""Domains and their topics: made, changed, deleted, and found by their names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from eventpost.app import asking
from eventpost.core import domains
from eventpost.core.bounds import check_domain_topic_name, check_input_mapping, check_topic_name
from eventpost.core.errors import Conflict, InvalidRequest, NotFound
from eventpost.core.events import Schema
from eventpost.core.sources import InputMapping
from eventpost.core.subscriptions import DomainRules, Topic
from eventpost.grid import catalogue

if TYPE_CHECKING:
    from eventpost.app.application import App


class Domains:
    """Implements `server.ports.DomainsPort`. All calls on the event loop's thread."""

    def __init__(self, app: "App") -> None:
        self._app = app

    # --- domains ----------------------------------------------------------------------------------

    def all(self) -> list[Topic]:
        return [each for each in self._app.topics() if each.is_domain]

    def get(self, name: str) -> Topic:
        """In any case, as Azure compares names. Raises NotFound."""
        folded = name.casefold()
        found = [each for each in self.all() if each.name.casefold() == folded]
        exact = next((each for each in found if each.name == name), None)
        if exact is None and len(found) != 1:
            raise NotFound(
                "DomainNotFound",
                f"There is no domain {name!r}.",
                fix="eventpost domain list shows those there are.",
            )
        return exact or found[0]

    async def create(
        self, name: str, input_schema: Schema, mapping: InputMapping, rules: DomainRules
    ) -> Topic:
        """Raises Conflict when a topic or a domain has the name: both are reached by it."""
        limits = self._app.settings.limits
        check_topic_name(name, limits)
        check_input_mapping(input_schema, mapping, limits, is_domain=True)
        return await self._app.create_log(name, input_schema, mapping, rules)

    async def change(self, name: str, rules: DomainRules) -> Topic:
        changed = msgspec.structs.replace(self.get(name), domain=rules)
        await self._app.keep_log(changed)
        return changed

    # --- topics of a domain -----------------------------------------------------------------------

    def topics(self, domain: str) -> list[Topic]:
        """In the order of their names."""
        found = self._app.grid.topics_of(self.get(domain).id)
        return [found[name] for name in sorted(found)]

    def topic(self, domain: str, name: str) -> Topic:
        """In any case. Raises NotFound."""
        found = self._found(self.get(domain), name)
        if found is None:
            raise NotFound(
                "DomainTopicNotFound",
                f"The domain {domain!r} has no topic {name!r}.",
                fix=f"eventpost domain topic list --domain-name {domain} shows those there are.",
            )
        return found

    def page(self, domain: str, after: str, count: int) -> list[Topic]:
        """At most `count` of them, those behind the name `after`, in any case."""
        found = self.get(domain)
        topics = self._app.grid.topics_of(found.id)
        return topics.page(domains.joined(found.name, after).casefold() if after else "", count)

    async def create_topics(self, domain: str, names: Sequence[str]) -> list[Topic]:
        """Make them on demand, whether or not they come by themselves: all in one commit, or none.
        Raises Conflict."""
        found = self.get(domain)
        self._check_new(found, names)
        made = [self._new_topic(found, name) for name in names]
        for topic in made:
            catalogue.add_topic(self._app.grid, topic)
        await asking.durable(self._app.grid.journal.wait)
        return made

    def wanted(self, scope: str) -> Topic:
        """What a subscription is to: a topic, a domain, or `DOMAIN/TOPIC`, which is made up where
        the domain makes it with its first subscription; `keep` keeps it. Raises NotFound."""
        domain_name, name = domains.split(scope)
        if not name:
            return self._app.topic(scope)
        domain = self.get(domain_name)
        found = self._found(domain, name)
        if found is not None:
            return found
        assert domain.domain is not None
        if not domain.domain.auto_create_topic_with_first_subscription:
            raise NotFound(
                "DomainTopicNotFound",
                f"The domain {domain.name!r} has no topic {name!r}.",
                why="It does not make topics by itself (autoCreateTopicWithFirstSubscription).",
                fix=f"eventpost domain topic create {name} --domain-name {domain.name}",
            )
        self._check_new(domain, [name])
        return self._new_topic(domain, name)

    def keep(self, topic: Topic) -> Topic:
        """What `wanted` made up goes with the open commit; returns what is there by now. Raises
        NotFound when it was deleted meanwhile."""
        grid = self._app.grid
        known = grid.topics.get(topic.id)
        if known is not None:
            return known
        domain = grid.topics.get(topic.domain_id)
        if domain is None:
            raise NotFound("TopicNotFound", f"The topic {topic.name!r} was deleted meanwhile.")
        found = self._found(domain, domains.split(topic.name)[1])
        if found is not None:
            return found
        catalogue.add_topic(grid, topic)
        return topic

    def check_room(self, topic: Topic) -> None:
        """Raises InvalidRequest when a domain, or a topic of one, has all the subscriptions that it
        may have."""
        limits = self._app.settings.limits
        if topic.is_domain:
            most, name = limits.domain_subscriptions_max, "domain_subscriptions_max"
        elif topic.domain_id:
            most, name = limits.domain_topic_subscriptions_max, "domain_topic_subscriptions_max"
        else:
            return
        count = len(self._app.grid.subscriptions_of(topic.id))
        if count >= most:
            raise InvalidRequest(
                "TooManySubscriptions",
                f"{topic.name} has {count} event subscriptions, and may have no more.",
                fix=f"delete one, or raise limits.{name}",
            )

    def _check_new(self, domain: Topic, names: Sequence[str]) -> None:
        """Raises InvalidRequest or Conflict for names that cannot be topics of the domain."""
        limits = self._app.settings.limits
        given: set[str] = set()
        for name in names:
            check_domain_topic_name(name, limits)
            if name.casefold() in given or self._found(domain, name) is not None:
                raise Conflict(
                    "DomainTopicExists", f"The domain {domain.name!r} has a topic {name!r} already."
                )
            given.add(name.casefold())
        count = len(self._app.grid.topics_of(domain.id))
        if count + len(given) > limits.domain_topics_max:
            raise InvalidRequest(
                "TooManyTopics",
                f"The domain {domain.name} has {limits.domain_topics_max:,} topics, and may have "
                "no more.",
                fix="delete one, or raise limits.domain_topics_max",
            )

    def _new_topic(self, domain: Topic, name: str) -> Topic:
        return Topic(
            id=self._app.grid.new_topic_id(),
            name=domains.joined(domain.name, name),
            key1="",
            key2="",
            created_ms=self._app.grid.clock.now_ms(),
            input_schema=domain.input_schema,
            partition_count=0,
            domain_id=domain.id,
        )

    def _found(self, domain: Topic, name: str) -> Topic | None:
        known = self._app.grid.topics_of(domain.id)
        return known.get(domains.joined(domain.name, name).casefold())

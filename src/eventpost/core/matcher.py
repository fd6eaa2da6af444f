"""Which of many subscriptions want an event, at a cost that follows the matches, not their number.

Subscriptions with the same filter are asked as one. Filters stand in a tree: at the top the event
type, below it whatever clauses can be looked up (beginnings and ends of the subject, values of data)
one under the other. An event walks down the branches it fits, and only the clauses that no index can
answer are asked one by one at the end.
"""

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Generic, TypeVar

from eventpost.core.clauses import Clause
from eventpost.core.dimensions import Alternative, Dimension
from eventpost.core.events import Event, Schema
from eventpost.core.fields import Fields
from eventpost.core.filters import CompiledFilter, compile_filter
from eventpost.core.subscriptions import Filter

T = TypeVar("T", bound=Hashable)

BRANCHES_MAX = 32
"""Branches of one filter below its event types; clauses that would exceed it are asked instead."""
PLANS_MAX = 256
"""Event types whose plan is remembered."""


class Matcher(Generic[T]):
    """The subscriptions of one topic and their filters. For one thread.

    A subscription is known by a key of the caller's choice.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[Filter, Schema], _Group[T]] = {}
        self._by_key: dict[T, tuple[int, _Group[T]]] = {}
        self._every_type: _Node[T] = _Node()
        self._by_type: dict[str, _Node[T]] = {}
        self._plans: dict[str, _Plan[T]] = {}
        self._other_plan: _Plan[T] | None = None
        self._next = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, key: T, filter: Filter, schema: Schema) -> None:  # noqa: A002 - the term
        """Match events for `key` from now on. A known key gets the new filter and keeps its place."""
        place = self._next
        if key in self._by_key:
            place = self._by_key[key][0]
            self.remove(key)
        else:
            self._next += 1
        group = self._groups.get((filter, schema))
        if group is None:
            group = self._groups[filter, schema] = _Group(filter, schema)
            for root in self._roots(group):
                root.insert(group, group.steps)
        group.members[place] = key
        self._by_key[key] = (place, group)
        self._forget_plans()

    def remove(self, key: T) -> None:
        """Match no more events for `key`. Raises KeyError when it is unknown."""
        place, group = self._by_key.pop(key)
        del group.members[place]
        if not group.members:
            del self._groups[group.identity]
            for root in self._roots(group):
                root.remove(group, group.steps)
            for event_type in group.types:
                if self._by_type[event_type].is_empty:
                    del self._by_type[event_type]
        self._forget_plans()

    def match(self, event: Event) -> Sequence[T]:
        """The keys whose filters want `event`, in the order in which they were added.

        Not to be changed by the caller. The event's data is read at most once, and only if needed.
        """
        plan = self._plans.get(event.type) or self._plan(event.type)
        if not plan.trees:
            return plan.keys
        fields = Fields(event)
        found: dict[int, T] = {}
        for tree in plan.trees:
            tree.collect(fields, found)
        if not found:
            return plan.keys
        found.update(plan.members)
        if len(found) == 1:
            return tuple(found.values())
        return [found[place] for place in sorted(found)]

    def _roots(self, group: "_Group[T]") -> list["_Node[T]"]:
        if not group.is_typed:
            return [self._every_type]
        return [self._by_type.setdefault(each, _Node()) for each in group.types]

    def _plan(self, event_type: str) -> "_Plan[T]":
        node = self._by_type.get(event_type)
        if node is None:  # one plan serves all types that no filter names
            if self._other_plan is None:
                self._other_plan = _Plan([self._every_type])
            return self._other_plan
        if len(self._plans) >= PLANS_MAX:
            self._plans.clear()
        plan = self._plans[event_type] = _Plan([self._every_type, node])
        return plan

    def _forget_plans(self) -> None:
        self._plans.clear()
        self._other_plan = None


class _Group(Generic[T]):
    """The subscriptions with one and the same filter.

    `steps` are the clauses that are looked up, one level of the tree each; `rest` is asked.
    """

    __slots__ = ("identity", "is_typed", "members", "rest", "steps", "types")

    def __init__(self, declared: Filter, schema: Schema) -> None:
        compiled = compile_filter(declared, schema)
        self.identity = (declared, schema)
        self.is_typed = compiled.types is not None
        self.types = compiled.types.types if compiled.types else frozenset[str]()
        self.members: dict[int, T] = {}
        self.steps, self.rest = _split(compiled)

    def is_met(self, fields: Fields) -> bool:
        return all(clause.is_met(fields) for clause in self.rest)


def _split(compiled: CompiledFilter) -> tuple[list[tuple[Alternative, ...]], list[Clause]]:
    steps, rest = [], []
    branches = 1
    for clause in compiled.clauses:
        alternatives = clause.alternatives()
        if alternatives and branches * len(alternatives) <= BRANCHES_MAX:
            branches *= len(alternatives)
            steps.append(alternatives)
        else:
            rest.append(clause)
    return steps, rest


class _Node(Generic[T]):
    """A place in the tree: the groups whose steps end here, and the steps that go on."""

    __slots__ = ("branches", "groups")

    def __init__(self) -> None:
        self.groups: list[_Group[T]] = []
        self.branches: dict[Dimension, dict[Hashable, _Node[T]]] | None = None

    @property
    def is_empty(self) -> bool:
        return not self.groups and not self.branches

    def insert(self, group: _Group[T], steps: Sequence[tuple[Alternative, ...]]) -> None:
        if not steps:
            self.groups.append(group)
            return
        if self.branches is None:
            self.branches = {}
        for dimension, key in steps[0]:
            child = self.branches.setdefault(dimension, {}).setdefault(key, _Node())
            child.insert(group, steps[1:])

    def remove(self, group: _Group[T], steps: Sequence[tuple[Alternative, ...]]) -> None:
        if not steps:
            self.groups.remove(group)
            return
        assert self.branches is not None
        for dimension, key in steps[0]:
            children = self.branches[dimension]
            children[key].remove(group, steps[1:])
            if children[key].is_empty:
                del children[key]
            if not children:
                del self.branches[dimension]

    def collect(self, fields: Fields, found: dict[int, T]) -> None:
        """Put the members of every group that `fields` satisfies into `found`, by place."""
        for group in self.groups:
            if group.is_met(fields):
                found.update(group.members)
        if self.branches:
            for dimension, children in self.branches.items():
                for key in dimension.keys(fields):
                    child = children.get(key)
                    if child is not None:
                        child.collect(fields, found)


class _Plan(Generic[T]):
    """What to do for the events of one type.

    `members` match by their type alone, `keys` are these in order; `trees` are to be walked besides.
    """

    __slots__ = ("keys", "members", "trees")

    def __init__(self, roots: list[_Node[T]]) -> None:
        groups = list(chain.from_iterable(root.groups for root in roots))
        members = {
            place: key for group in groups if not group.rest for place, key in group.members.items()
        }
        self.members = {place: members[place] for place in sorted(members)}
        self.keys = tuple(self.members.values())
        self.trees = [root for root in roots if root.branches or any(g.rest for g in root.groups)]

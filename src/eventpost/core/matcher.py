"""Which of many subscriptions want an event, at a cost that follows the matches, not their number.

Subscriptions with the same filter are asked as one. Filters stand in a tree: at the top the event
type, below it whatever clauses can be looked up (beginnings and ends of the subject, values of
data), one under the other. An event walks down the branches that it fits, and only the clauses that
no index can answer are asked one by one at the end.
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
        """Match events for `key` from now on. A known key gets the filter and keeps its place."""
        place = self._next
        if key in self._by_key:
            place = self._by_key[key][0]
            self.remove(key)
        else:
            self._next += 1
        group = self._groups.get((filter, schema)) or self._new_group(filter, schema)
        group.members[place] = key
        group.keys = None
        self._by_key[key] = (place, group)
        self._forget_plans()

    def remove(self, key: T) -> None:
        """Match no more events for `key`. Raises KeyError when it is unknown."""
        place, group = self._by_key.pop(key)
        del group.members[place]
        group.keys = None
        if not group.members:
            self._drop_group(group)
        self._forget_plans()

    def match(self, event: Event) -> Sequence[T]:
        """The keys whose filters want `event`, in the order in which they were added.

        Not to be changed by the caller. The event's data is read at most once, and only if needed.
        """
        plan = self._plans.get(event.type) or self._plan(event.type)
        if plan.is_settled:
            return plan.keys
        fields = Fields(event)
        found = [group for group in plan.asked if group.is_met(fields)]
        for tree in plan.trees:
            tree.descend(fields, found)
        if not found:
            return plan.keys
        if len(found) == 1 and not plan.keys:
            return found[0].in_order()
        members = plan.members.copy()
        for group in found:  # an array can lead to the same group twice
            members.update(group.members)
        return [members[place] for place in sorted(members)]

    def _new_group(self, declared: Filter, schema: Schema) -> "_Group[T]":
        compiled = compile_filter(declared, schema)
        steps, rest = _split(compiled)
        group: _Group[T] = _Group((declared, schema), rest)
        for root in self._roots(compiled):
            root.insert(group, steps)
        self._groups[group.identity] = group
        return group

    def _drop_group(self, group: "_Group[T]") -> None:
        del self._groups[group.identity]
        # Compiled once more: keeping the steps would double the memory of every group.
        compiled = compile_filter(*group.identity)
        steps, _ = _split(compiled)
        for root in self._roots(compiled):
            root.remove(group, steps)
        for event_type in compiled.types.types if compiled.types else ():
            if self._by_type[event_type].is_empty:
                del self._by_type[event_type]

    def _roots(self, compiled: CompiledFilter) -> list["_Node[T]"]:
        if compiled.types is None:
            return [self._every_type]
        return [self._by_type.setdefault(each, _Node()) for each in compiled.types.types]

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
    """The subscriptions with one and the same filter, by place.

    `rest` are the clauses that the tree does not answer. `keys` are the members in order, or None
    after a change.
    """

    __slots__ = ("identity", "keys", "members", "rest")

    def __init__(self, identity: tuple[Filter, Schema], rest: tuple[Clause, ...]) -> None:
        self.identity = identity
        self.rest = rest
        self.members: dict[int, T] = {}
        self.keys: tuple[T, ...] | None = None

    def is_met(self, fields: Fields) -> bool:
        for clause in self.rest:  # noqa: SIM110 - hot: all() makes a generator
            if not clause.is_met(fields):
                return False
        return True

    def in_order(self) -> tuple[T, ...]:
        if self.keys is None:
            self.keys = tuple(self.members[place] for place in sorted(self.members))
        return self.keys


def _split(compiled: CompiledFilter) -> tuple[list[tuple[Alternative, ...]], tuple[Clause, ...]]:
    """The clauses that are looked up, as one step down the tree each, and those that are asked."""
    steps, rest = [], []
    branches = 1
    for clause in compiled.clauses:
        alternatives = clause.alternatives()
        if alternatives and branches * len(alternatives) <= BRANCHES_MAX:
            branches *= len(alternatives)
            steps.append(alternatives)
        else:
            rest.append(clause)
    return steps, tuple(rest)


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

    def descend(self, fields: Fields, found: list[_Group[T]]) -> None:
        """Add every group below that wants the event to `found`."""
        assert self.branches is not None
        for dimension, children in self.branches.items():
            for key in dimension.keys(fields):
                child = children.get(key)
                if child is None:
                    continue
                for group in child.groups:
                    if group.is_met(fields):
                        found.append(group)  # noqa: PERF401 - hot
                if child.branches:
                    child.descend(fields, found)


class _Plan(Generic[T]):
    """What to do for the events of one type.

    `members` match by their type alone, `keys` are these in order. Besides, `asked` are to be asked
    and `trees` to be walked, unless the plan `is_settled`.
    """

    __slots__ = ("asked", "is_settled", "keys", "members", "trees")

    def __init__(self, roots: list[_Node[T]]) -> None:
        groups = list(chain.from_iterable(root.groups for root in roots))
        self.members: dict[int, T] = {}
        for group in groups:
            if not group.rest:
                self.members.update(group.members)
        self.keys = tuple(self.members[place] for place in sorted(self.members))
        self.asked = [group for group in groups if group.rest]
        self.trees = [root for root in roots if root.branches]
        self.is_settled = not (self.asked or self.trees)

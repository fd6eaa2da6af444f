"""The indexed matcher: equal to asking every filter, in order, whatever was added and removed."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from eventpost.core.bounds import check_filter
from eventpost.core.events import Event, Schema
from eventpost.core.filters import compile_filter
from eventpost.core.matcher import BRANCHES_MAX, PLANS_MAX, Matcher
from eventpost.core.operators import RULES, Arity, Kind
from eventpost.core.subscriptions import AdvancedFilter, Filter, FilterValue, Operator
from tests.core.examples import (
    CLOUD_EVENTS,
    EVENT_GRID,
    advanced,
    clause,
    cloud_event,
    event_grid_event,
)

# Few letters and values, so that filters and events meet often.
TYPES = ("A", "a", "B", "C")
texts = st.sampled_from(["a", "A", "ab", "aBa", "b", "/a", "ß", "SS", ""])
numbers = st.sampled_from([1.0, 1, 0, 2, 0.5, -1])
keys = st.sampled_from(
    [
        *("data.x", "data.x", "data.x", "data.x", "data.X", "data.y", "data.z.x"),
        *("data", "subject", "id", "eventType", "priority"),
    ]
)
scalars: st.SearchStrategy[object] = st.one_of(numbers, texts, st.booleans(), st.none())
values = st.one_of(
    scalars, st.lists(scalars, max_size=4), st.dictionaries(st.sampled_from("xX"), scalars)
)
objects: st.SearchStrategy[object] = st.fixed_dictionaries(
    {"x": values},
    optional={"X": values, "y": values, "z": st.fixed_dictionaries({"x": values})},
)
payloads: st.SearchStrategy[object] = st.one_of(objects, objects, st.just({}), scalars)


@st.composite
def clauses(draw: st.DrawFn) -> AdvancedFilter:
    operator = draw(st.sampled_from(Operator))
    rule_of = RULES[operator]
    count = {
        Arity.NONE: st.just(0),
        Arity.ONE: st.just(1),
        Arity.MANY: st.integers(1, 6),
        Arity.RANGES: st.integers(1, 2),
    }[rule_of.arity]
    kinds: dict[Kind, st.SearchStrategy[FilterValue]] = {
        Kind.NUMBER: numbers,
        Kind.TEXT: texts,
        Kind.BOOLEAN: st.booleans(),
        Kind.ANY: st.nothing(),
    }
    ranges = st.tuples(numbers, numbers).map(lambda pair: (min(pair), max(pair)))
    is_ranged = rule_of.arity is Arity.RANGES
    wanted = tuple(draw(ranges if is_ranged else kinds[rule_of.kind]) for _ in range(draw(count)))
    return AdvancedFilter(key=draw(keys), operator_type=operator, values=wanted)


simple_filters = st.one_of(
    st.just(Filter()),
    st.sampled_from(TYPES).map(lambda each: Filter(included_event_types=(each,))),
    st.sampled_from("aAb").map(lambda each: Filter(subject_begins_with=each)),
    st.tuples(clauses()).map(lambda each: Filter(advanced=each)),
    st.tuples(clauses()).map(lambda each: Filter(advanced=each, advanced_filtering_on_arrays=True)),
    st.tuples(clauses(), clauses()).map(lambda each: Filter(advanced=each)),
)
any_filters = st.builds(
    Filter,
    included_event_types=st.one_of(
        st.none(), st.lists(st.sampled_from((*TYPES, "All")), min_size=1, max_size=3).map(tuple)
    ),
    subject_begins_with=texts,
    subject_ends_with=st.one_of(st.just(""), texts),
    subject_case_sensitive=st.booleans(),
    advanced=st.lists(clauses(), max_size=3).map(tuple),
    advanced_filtering_on_arrays=st.booleans(),
)
filters = st.one_of(simple_filters, any_filters)
event_grid_events = st.builds(
    event_grid_event,
    payloads,
    event_type=st.sampled_from((*TYPES, "D")),
    subject=st.lists(texts, min_size=1, max_size=3).map(lambda parts: "".join(parts) or "b"),
)
cloud_events = st.builds(
    cloud_event, payloads, subject=st.one_of(st.none(), texts), priority=st.one_of(numbers, texts)
)


class MatcherMachine(RuleBasedStateMachine):
    """Adds, changes and removes subscriptions, and compares every answer with the plain scan."""

    schema: Schema = EVENT_GRID

    def __init__(self) -> None:
        super().__init__()
        self.matcher: Matcher[int] = Matcher()
        self.model: dict[int, Filter] = {}
        self.next_key = 0

    @rule(wanted=st.lists(filters, min_size=1, max_size=8))
    def add(self, wanted: list[Filter]) -> None:
        for each in wanted:
            check_filter(each)
            self.matcher.add(self.next_key, each, self.schema)
            self.model[self.next_key] = each
            self.next_key += 1

    @rule(data=st.data())
    def add_the_same_filter(self, data: st.DataObject) -> None:
        if self.model:
            self.add([data.draw(st.sampled_from(list(self.model.values())))])

    @rule(data=st.data(), wanted=filters)
    def change(self, data: st.DataObject, wanted: Filter) -> None:
        if self.model:
            key = data.draw(st.sampled_from(list(self.model)))
            self.matcher.add(key, wanted, self.schema)
            self.model[key] = wanted

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            key = data.draw(st.sampled_from(list(self.model)))
            self.matcher.remove(key)
            del self.model[key]

    @rule(events=st.lists(event_grid_events, min_size=1, max_size=8))
    def match(self, events: list[Event]) -> None:
        for event in events:
            assert list(self.matcher.match(event)) == [
                key
                for key, wanted in self.model.items()
                if compile_filter(wanted, self.schema).matches(event)
            ]

    @invariant()
    def counts(self) -> None:
        assert len(self.matcher) == len(self.model)


TestMatcherMachine = MatcherMachine.TestCase
TestMatcherMachine.settings = settings(max_examples=150, stateful_step_count=15, deadline=None)
TestMatcherMachine = pytest.mark.slow(TestMatcherMachine)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(filters, max_size=12), st.lists(cloud_events, min_size=1, max_size=4))
def test_equal_to_the_plain_scan_for_cloud_events(
    wanted: list[Filter], events: list[Event]
) -> None:
    """The matcher finds exactly the filters that a scan over all of them finds."""
    matcher = matcher_of(*wanted, schema=CLOUD_EVENTS)

    for event in events:
        assert list(matcher.match(event)) == [
            index
            for index, each in enumerate(wanted)
            if compile_filter(each, CLOUD_EVENTS).matches(event)
        ]


@settings(deadline=None)
@given(filters, event_grid_events)
def test_explanations_agree(wanted: Filter, event: Event) -> None:
    """An event matches exactly when every clause of its explanation is met; only an unmet clause
    has a reason."""
    compiled = compile_filter(wanted, EVENT_GRID)

    results = compiled.explain(event)

    assert compiled.matches(event) is all(each.is_met for each in results)
    assert all(each.is_met is not bool(each.why) for each in results)


def matcher_of(*wanted: Filter, schema: Schema = EVENT_GRID) -> Matcher[int]:
    matcher: Matcher[int] = Matcher()
    for index, each in enumerate(wanted):
        matcher.add(index, each, schema)
    return matcher


def test_an_empty_matcher_matches_nothing() -> None:
    """Without subscriptions there is no match."""
    matcher: Matcher[str] = Matcher()

    assert list(matcher.match(event_grid_event())) == []
    assert len(matcher) == 0


def test_order_of_adding() -> None:
    """Matches come in the order of adding, however each was found."""
    matcher = matcher_of(
        advanced("data.x", "StringIn", "a"),
        Filter(subject_begins_with="genre/"),
        Filter(),
        Filter(included_event_types=("Song.Requested",)),
        Filter(subject_ends_with="/42"),
        Filter(subject_begins_with="genre/"),
        advanced("data.x", "StringContains", "a"),
    )

    assert list(matcher.match(event_grid_event({"x": "A"}))) == [0, 1, 2, 3, 4, 5, 6]


def test_a_changed_filter_keeps_its_place() -> None:
    """Adding a known key again replaces its filter, and its place in the order stays."""
    matcher = matcher_of(Filter(), Filter(subject_begins_with="other"), Filter())

    matcher.add(0, Filter(subject_begins_with="genre/"), EVENT_GRID)
    matcher.add(1, Filter(subject_begins_with="genre/"), EVENT_GRID)

    assert list(matcher.match(event_grid_event())) == [0, 1, 2]
    assert len(matcher) == 3


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(included_event_types=("Song.Requested",)),
        Filter(subject_begins_with="genre/"),
        Filter(subject_ends_with="/42", subject_case_sensitive=True),
        advanced("data.x", "StringIn", "a"),
        advanced("data.x", "StringContains", "a"),
    ],
    ids=repr,
)
def test_changes_are_seen_at_once(wanted: Filter) -> None:
    """What is added, added with a known filter, or removed counts from the next event on."""
    matcher: Matcher[int] = Matcher()
    event = event_grid_event({"x": "a"})

    def matched() -> list[int]:
        return list(matcher.match(event))

    assert matched() == []
    for key in (0, 1, 2):
        matcher.add(key, wanted, EVENT_GRID)
        assert matched() == list(range(key + 1))
    matcher.remove(1)
    assert matched() == [0, 2]
    matcher.remove(0)
    assert matched() == [2]
    matcher.remove(2)
    assert matched() == []


def test_removing_the_unknown_is_an_error() -> None:
    """A key that is not there cannot be removed, nor twice."""
    matcher = matcher_of(Filter())
    matcher.remove(0)

    with pytest.raises(KeyError):
        matcher.remove(0)


def test_one_match_for_many_ways() -> None:
    """A subscription matches once, however many elements of an array lead to it."""
    matcher = matcher_of(
        advanced("data.x", "StringIn", "a", "b", is_array_read=True),
        advanced("data.x", "StringBeginsWith", "a", "ab", "abc", is_array_read=True),
        Filter(),
    )

    assert list(matcher.match(event_grid_event({"x": ["abc", "b", "a"]}))) == [0, 1, 2]


def test_removing_one_leaves_its_neighbours() -> None:
    """Filters that share a way through the index do not take each other along."""
    typed = Filter(included_event_types=("Song.Requested",), subject_begins_with="genre/")
    wanted = [
        typed,
        msgspec.structs.replace(typed, subject_ends_with="/42"),
        msgspec.structs.replace(typed, advanced=(clause("data.x", "StringIn", "a", "b"),)),
        msgspec.structs.replace(typed, advanced=(clause("data.x", "StringIn", "b", "c"),)),
    ]
    event = event_grid_event({"x": "b"})

    for removed in range(len(wanted)):
        matcher = matcher_of(*wanted)
        matcher.remove(removed)
        left = [index for index in range(len(wanted)) if index != removed]
        assert list(matcher.match(event)) == left


def test_nothing_is_left_behind() -> None:
    """What was removed leaves nothing in the index."""
    matcher = matcher_of(
        Filter(included_event_types=("A", "B"), subject_begins_with="x", subject_ends_with="y"),
        advanced("data.x", "StringIn", "a", "b"),
        Filter(),
    )

    for key in range(3):
        matcher.remove(key)

    assert not matcher._groups
    assert not matcher._by_type
    assert matcher._every_type.is_empty


@pytest.mark.parametrize("count", [BRANCHES_MAX - 1, BRANCHES_MAX, BRANCHES_MAX + 1])
def test_branches_are_bounded(count: int) -> None:
    """A filter takes at most BRANCHES_MAX branches of the index; beyond, its clause is asked."""
    matcher = matcher_of(advanced("data.x", "NumberIn", *range(count)))

    branches = matcher._every_type.branches
    placed = sum(len(children) for children in branches.values()) if branches else 0

    assert placed == (count if count <= BRANCHES_MAX else 0)
    assert list(matcher.match(event_grid_event({"x": count - 1}))) == [0]
    assert list(matcher.match(event_grid_event({"x": count}))) == []


@pytest.mark.parametrize("count", [PLANS_MAX - 1, PLANS_MAX, PLANS_MAX + 1])
def test_remembered_plans_are_bounded(count: int) -> None:
    """At most PLANS_MAX event types are remembered, and types that no filter names never are."""
    matcher = matcher_of(*(Filter(included_event_types=(f"T{index}",)) for index in range(count)))

    for index in range(count):
        assert list(matcher.match(event_grid_event(event_type=f"T{index}"))) == [index]
        assert list(matcher.match(event_grid_event(event_type=f"U{index}"))) == []

    assert len(matcher._plans) == min(count, (count - 1) % PLANS_MAX + 1)


def test_many_subscriptions_that_differ_in_one_value() -> None:
    """Filters that differ only in the value of a key are found among thousands, and only they."""
    count = 3_000
    matcher = matcher_of(
        *(
            Filter(
                advanced=(
                    clause("data.kind", "StringIn", "order"),
                    clause("data.customer", "StringIn", f"c{index}"),
                )
            )
            for index in range(count)
        )
    )

    event = event_grid_event({"kind": "order", "customer": "C1234"})

    assert list(matcher.match(event)) == [1234]
    asked = [group for group in matcher._groups.values() if group.rest]
    assert asked == [], "every clause is looked up, none is asked one by one"


def test_identical_filters_are_one() -> None:
    """Subscriptions with the same filter share one evaluation."""
    wanted = advanced("data.x", "NumberGreaterThan", 5)
    matcher = matcher_of(*(wanted for _ in range(100)))

    assert len(matcher._groups) == 1
    assert list(matcher.match(event_grid_event({"x": 6}))) == list(range(100))
    assert list(matcher.match(event_grid_event({"x": 5}))) == []


def test_one_key_read_in_different_ways() -> None:
    """Filters that read one key as another type, with or without arrays, or with or without case do
    not disturb each other."""
    matcher = matcher_of(
        advanced("data.x", "StringIn", "a"),
        advanced("data.x", "StringIn", "a", is_array_read=True),
        advanced("data.x", "NumberIn", 1, is_array_read=True),
        advanced("data.x", "BoolEquals", True, is_array_read=True),
        Filter(subject_begins_with="GENRE"),
        Filter(subject_begins_with="GENRE", subject_case_sensitive=True),
    )

    def matched(x: object, subject: str = "other") -> list[int]:
        return list(matcher.match(event_grid_event({"x": x}, subject=subject)))

    assert matched("a") == [0, 1]
    assert matched(["a"]) == [1]
    assert matched(["a", 1]) == [1, 2]
    assert matched([True]) == [3]
    assert matched(1) == [2]
    assert matched(None, "genre/blues") == [4]
    assert matched(None, "GENRE/blues") == [4, 5]


def test_schemas_are_told_apart() -> None:
    """The same filter means something else for another schema."""
    matcher: Matcher[str] = Matcher()
    wanted = advanced("subject", "IsNotNull")
    matcher.add("grid", wanted, EVENT_GRID)
    matcher.add("cloud", wanted, CLOUD_EVENTS)

    assert list(matcher.match(cloud_event(subject="s"))) == ["grid", "cloud"]
    assert list(matcher.match(cloud_event())) == ["grid"]

"""A subscription's filter, compiled: does an event match, and if not, which clause said no.

Semantics are Event Grid's (https://learn.microsoft.com/azure/event-grid/event-filtering): clauses
are joined by AND, the values of one clause by OR. Event types are compared exactly, case included;
subjects without regard to case unless the filter says otherwise; all other texts without it.
"""

from eventpost.core.clauses import (
    AdvancedClause,
    Clause,
    ClauseResult,
    SubjectClause,
    TypeClause,
)
from eventpost.core.domains import DomainTopicClause
from eventpost.core.events import Event, Schema
from eventpost.core.fields import Fields
from eventpost.core.subscriptions import Filter

__all__ = ["ALL_TYPES", "ClauseResult", "CompiledFilter", "compile_filter"]

ALL_TYPES = "all"
"""In any case, among the included event types: every type."""


class CompiledFilter:
    """A filter that is ready to be asked. Immutable; any thread may ask.

    `types` is None when events of every type are wanted; `clauses` are all the others.
    """

    __slots__ = ("clauses", "types")

    def __init__(self, types: TypeClause | None, clauses: tuple[Clause, ...]) -> None:
        self.types = types
        self.clauses = clauses

    def matches(self, event: Event) -> bool:
        """Whether every clause is met. The event's data is read only if a clause asks for it."""
        if self.types is not None and event.type not in self.types.types:
            return False
        if not self.clauses:
            return True
        fields = Fields(event)
        return all(clause.is_met(fields) for clause in self.clauses)

    def explain(self, event: Event) -> list[ClauseResult]:
        """What each clause says, types and subject first. [] when the filter wants every event."""
        fields = Fields(event)
        types = [] if self.types is None else [self.types.explain(fields)]
        return types + [clause.explain(fields) for clause in self.clauses]


def compile_filter(filter: Filter, schema: Schema) -> CompiledFilter:  # noqa: A002 - the term
    """`filter` for the events of a topic of `schema`.

    Takes whatever `core.bounds.check_filter` allows. What that refuses (values of a type that the
    operator does not compare) matches nothing.
    """
    is_array_read = filter.advanced_filtering_on_arrays
    clauses = [
        AdvancedClause(declared, schema, is_array_read=is_array_read)
        for declared in filter.advanced
    ]
    of_topic = [DomainTopicClause(filter.domain_topic, schema)] if filter.domain_topic else []
    return CompiledFilter(_types(filter), (*of_topic, *_subject_clauses(filter), *clauses))


def _types(wanted: Filter) -> TypeClause | None:
    types = wanted.included_event_types
    if types is None or ALL_TYPES in map(str.casefold, types):
        return None
    return TypeClause(types)


def _subject_clauses(wanted: Filter) -> list[Clause]:
    sides = ((wanted.subject_begins_with, False), (wanted.subject_ends_with, True))
    return [
        SubjectClause(text, is_end=is_end, is_case_sensitive=wanted.subject_case_sensitive)
        for text, is_end in sides
        if text
    ]

"""Domains: which topic of its domain an event is of, and the clause that asks for it.

A domain is one log. A topic of it is a name that its events bear and subscriptions ask for; it has
no log of its own. It is written `DOMAIN/TOPIC`.
"""

import msgspec

from eventpost.core.clauses import ClauseResult, shown
from eventpost.core.dimensions import Alternative, Dimension
from eventpost.core.events import Schema
from eventpost.core.fields import Fields

SEPARATOR = "/"


class _Source(msgspec.Struct, gc=False):
    source: str = ""


class _Topic(msgspec.Struct, gc=False):
    topic: str = ""


_decode_source = msgspec.json.Decoder(_Source).decode
_decode_topic = msgspec.json.Decoder(_Topic).decode


def split(name: str) -> tuple[str, str]:
    """The domain and its topic; the latter is "" for what is no topic of a domain."""
    domain, _, topic = name.partition(SEPARATOR)
    return domain, topic


def joined(domain: str, topic: str) -> str:
    return f"{domain}{SEPARATOR}{topic}"


def named_by(wire: bytes, schema: Schema) -> str:
    """What an event of a domain says of its topic: a name, or a resource id that ends with it."""
    if schema is Schema.CLOUD_EVENTS:
        return _decode_source(wire).source
    return _decode_topic(wire).topic


def topic_of(wire: bytes, schema: Schema) -> str:
    """The name of the topic that an event of a domain is of."""
    return named_by(wire, schema).rpartition("/")[2]


class DomainTopicClause:
    """The event is of one topic of its domain, in any case. Answered by an index alone."""

    __slots__ = ("_declared", "_dimension", "_folded", "_schema")

    def __init__(self, topic: str, schema: Schema) -> None:
        self._declared = topic
        self._folded = topic.casefold()
        self._schema = schema
        self._dimension = _dimension(schema)

    def is_met(self, fields: Fields) -> bool:
        return _key(fields, self._schema) == self._folded

    def alternatives(self) -> tuple[Alternative, ...]:
        return ((self._dimension, self._folded),)

    def explain(self, fields: Fields) -> ClauseResult:
        found = _key(fields, self._schema)
        is_met = found == self._folded
        return ClauseResult(
            clause=f"topic of the domain is {shown(self._declared)}",
            is_met=is_met,
            found=shown(found),
            why="" if is_met else f"The event is of the domain's topic {shown(found)}.",
        )


def _dimension(schema: Schema) -> Dimension:
    return Dimension(f"domain topic {schema.value}", lambda fields: (_key(fields, schema),))


def _key(fields: Fields, schema: Schema) -> str:
    # Whatever is stored, routing goes on: what cannot be read is of no topic.
    try:
        return topic_of(fields.event.wire, schema).casefold()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""

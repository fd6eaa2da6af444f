"""Questions that an index can answer for many filters at once: what is an event's key in it?

A clause that is met exactly when an event has one of some keys in some dimension need not be asked
one by one: it is looked up.
"""

from collections.abc import Callable, Hashable

from eventpost.core.fields import Fields, Operand
from eventpost.core.operators import Candidates

Keys = tuple[Hashable, ...]


class Dimension:
    """One question. Dimensions of the same name ask the same."""

    __slots__ = ("keys", "name")

    def __init__(self, name: str, keys: Callable[[Fields], Keys]) -> None:
        self.name = name
        self.keys = keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dimension) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


Alternative = tuple[Dimension, Hashable]
"""A dimension and a key in it."""

NOTHING: Candidates = ()


def subject_head(length: int, *, is_case_sensitive: bool) -> Dimension:
    """The first `length` characters of the subject."""
    if is_case_sensitive:
        return Dimension(f"Subject[:{length}]", lambda fields: (fields.event.subject[:length],))
    return Dimension(f"subject[:{length}]", lambda fields: (fields.folded_subject[:length],))


def subject_tail(length: int, *, is_case_sensitive: bool) -> Dimension:
    """The last `length` characters of the subject, at least one."""
    if is_case_sensitive:
        return Dimension(f"Subject[-{length}:]", lambda fields: (fields.event.subject[-length:],))
    return Dimension(f"subject[-{length}:]", lambda fields: (fields.folded_subject[-length:],))


def value(operand: Operand) -> Dimension:
    """Every value of the operand."""
    return Dimension(f"value {operand.name}", lambda fields: fields.candidates(operand) or NOTHING)


def head(operand: Operand, length: int) -> Dimension:
    """The first `length` characters of every text of the operand."""
    return Dimension(
        f"head {length} {operand.name}",
        lambda fields: tuple(str(text)[:length] for text in fields.candidates(operand) or NOTHING),
    )


def tail(operand: Operand, length: int) -> Dimension:
    """The last `length` characters of every text of the operand."""

    def keys(fields: Fields) -> Keys:
        texts = map(str, fields.candidates(operand) or NOTHING)
        return tuple(text[-length:] if length else "" for text in texts)

    return Dimension(f"tail {length} {operand.name}", keys)

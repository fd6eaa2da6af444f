"""What all models of the management API have in common."""

from msgspec import Struct


class View(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything answered."""


PAGE_MAX = 1_000
"""The longest page of a list."""


class PageChoice(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `limit` values, those behind `after`; what follows is at `nextLink`."""

    after: str = ""
    limit: int = PAGE_MAX


class Count(View, frozen=True, kw_only=True):
    count: int


class Problem(View, frozen=True, kw_only=True):
    """RFC 9457, with what to do about it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    fix: str = ""

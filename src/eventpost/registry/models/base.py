"""What all models of the management API have in common."""

from msgspec import Struct


class View(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything answered."""


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

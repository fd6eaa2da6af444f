"""Long lists, a page at a time.

Layer: server. The management API and the routes of Azure Resource Manager share what a page is: so
many, behind the last one of the page before, which may be gone by now.
"""

from collections.abc import Iterable
from heapq import nsmallest
from operator import attrgetter
from typing import NamedTuple, Protocol, TypeVar

from eventpost.core.errors import InvalidRequest


class Numbered(Protocol):
    @property
    def id(self) -> int: ...


NUMBER_CHARS_MAX = 19
Value = TypeVar("Value")
Kept = TypeVar("Kept", bound=Numbered)


class Page(NamedTuple):
    """What was asked for: at most `limit` values behind `after`, "" for the beginning."""

    after: str
    limit: int

    @property
    def number(self) -> int:
        """Of the last value before, where they are in the order of their ids."""
        if self.after and not (self.after.isascii() and self.after.isdigit()):
            raise InvalidRequest(
                "InvalidField",
                f"There is no page behind {self.after!r}.",
                fix="Follow nextLink as it is.",
            )
        return int(self.after[:NUMBER_CHARS_MAX] or 0)


def checked(name: str, limit: int, most: int) -> int:
    """Raises InvalidRequest for a page that is empty or too long."""
    if not 1 <= limit <= most:
        raise InvalidRequest(
            "InvalidField", f"{name} is {limit}.", fix=f"Give 1 to {most}, then follow nextLink."
        )
    return limit


def by_id(values: Iterable[Kept], page: Page) -> tuple[list[Kept], str | None]:
    """A page in the order of ids, and what the next one is behind; None after the last one."""
    after = page.number
    found = nsmallest(
        page.limit + 1, (each for each in values if each.id > after), key=attrgetter("id")
    )
    return cut(found, page, [str(each.id) for each in found[: page.limit]])


def cut(found: list[Value], page: Page, names: list[str]) -> tuple[list[Value], str | None]:
    """The same of one more than were asked for; `names` are what the next page would be behind."""
    is_more = len(found) > page.limit
    return found[: page.limit], names[page.limit - 1] if is_more else None

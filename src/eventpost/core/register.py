"""Values by their names, of which there may be very many: read by name, or page by page in order.

Layer: core.
"""

from bisect import bisect_right
from typing import TypeVar

Value = TypeVar("Value")


class Register(dict[str, Value]):
    """A dictionary that hands out pages in the order of its keys. What is sorted is kept until a
    key comes or goes, so that a page costs nothing but itself. Changed by item only."""

    __slots__ = ("_order",)

    def __init__(self) -> None:
        super().__init__()
        self._order: list[str] | None = None

    def __setitem__(self, key: str, value: Value) -> None:
        if key not in self:
            self._order = None
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._order = None

    def page(self, after: str, count: int) -> list[Value]:
        """At most `count` values, those behind the key `after`, which need not be there; ""
        begins."""
        if self._order is None:
            self._order = sorted(self)
        first = bisect_right(self._order, after)
        return [self[key] for key in self._order[first : first + count]]

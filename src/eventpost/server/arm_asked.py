"""One request to the routes of Azure Resource Manager: what its path names, and what it answers.

Layer: server. Subscription and resource group of a path may be anything.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from eventpost.core.domains import joined
from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.core.subscriptions import Topic
from eventpost.server import paging
from eventpost.server.paging import Numbered, Page
from eventpost.server.ports import AppPort

PAGE_MAX = 100
"""The longest page, and the one without `$top`, as the SDKs' documentation has it."""
TOP = "$top"
SKIP_TOKEN = "$skiptoken"  # noqa: S105 - a parameter's name

Kept = TypeVar("Kept", bound=Numbered)


class Asked(NamedTuple):
    """One request. `parts` are what its path names; `url` is without the query."""

    app: AppPort
    parts: dict[str, str]
    body: dict[str, Any]
    url: str = ""
    query: dict[str, str] = {}

    @property
    def group(self) -> str:
        """The path of its resource group."""
        group = self.parts.get("group") or "local"
        return f"/subscriptions/{self.parts['account']}/resourceGroups/{group}"

    @property
    def topic(self) -> Topic:
        """What the path names: a topic, a domain, or a topic of one. Raises NotFound. Azure
        compares names without regard to case."""
        if "domain_topic" in self.parts:
            return self.app.domains.topic(self.parts["domain"], self.parts["domain_topic"])
        if "domain" in self.parts:
            return self.app.domains.get(self.parts["domain"])
        name = self.parts["topic"]
        folded = name.lower()
        topics = [each for each in self.app.topics() if not each.is_domain]
        found = [each for each in topics if each.name.lower() == folded]
        if len(found) == 1:
            return found[0]
        exact = self.app.topic(name)
        if exact.is_domain:
            raise NotFound("TopicNotFound", f"{name} is a domain, and no topic.")
        return exact

    @property
    def scope(self) -> Topic:
        """The same for a new subscription, which may make the topic of a domain."""
        if "domain_topic" not in self.parts:
            return self.topic
        return self.app.domains.wanted(joined(self.parts["domain"], self.parts["domain_topic"]))

    @property
    def page(self) -> Page:
        """What of a list is wanted. Raises InvalidRequest."""
        top = self.query.get(TOP, str(PAGE_MAX))
        if not (top.isascii() and top.isdigit()):
            raise InvalidRequest("InvalidField", f"{TOP} is {top!r}.", fix="Give a number.")
        return Page(self.query.get(SKIP_TOKEN, ""), paging.checked(TOP, int(top[:9]), PAGE_MAX))

    def listed(self, found: Iterable[Kept], show: Callable[[Kept], object]) -> "Answer":
        """A page of what was found, in the order of ids."""
        page, after = paging.by_id(found, self.page)
        return self.shown([show(each) for each in page], after)

    def shown(self, values: list[object], after: str | None) -> "Answer":
        """A page, and the URL of the next one, which is behind `after`."""
        if after is None:
            return 200, {"value": values}
        query = urlencode(self.query | {SKIP_TOKEN: after}, safe="$")
        return 200, {"value": values, "nextLink": f"{self.url}?{query}"}


Answer = tuple[int, object]
Handler = Callable[[Asked], Awaitable[Answer]]

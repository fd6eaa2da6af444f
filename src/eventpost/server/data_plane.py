"""The publish endpoint: finds the topic, checks the key, takes the events, answers once kept.

This is the hot path. No task, no exception and no needless object per request: what belongs to a
topic is looked up by the raw path and prepared once, and the answer waits in a callback.
Layer: server. All on the event loop's thread.
"""

import hmac
import re
from functools import partial
from time import perf_counter
from urllib.parse import unquote

from eventpost.core.errors import EventpostError, NotFound, Overloaded
from eventpost.core.subscriptions import Topic
from eventpost.credentials.bearer_settings import PUBLISH
from eventpost.formats import publish, topics
from eventpost.formats.custom import CustomInput
from eventpost.formats.domains import DomainInput
from eventpost.http.server.request import Request
from eventpost.server.authentication import authorize
from eventpost.server.ports import DataPort
from eventpost.server.publish_answers import PublishAnswers
from eventpost.server.pull import PullPlane, builtin, no_endpoint

PATHS_CACHED_MAX = 10_000
"""Spellings of known topics' paths that are kept; beyond it the cache starts anew."""

_PATH = re.compile(rb"(/topics|/domains)?(?:/([^/]+))?/api/events/?", re.IGNORECASE)
_KEY = publish.KEY
_decode = publish.decode_publish
_is_same = hmac.compare_digest


class _Entry:
    """What a request to one topic needs, prepared."""

    __slots__ = (
        *("custom", "domain", "id", "is_builtin", "key1", "key2"),
        *("name", "resource", "schema", "topic"),
    )

    def __init__(
        self,
        topic: Topic,
        resource: str,
        custom: CustomInput | None,
        domain: DomainInput | None,
    ) -> None:
        self.topic = topic
        self.id = topic.id
        self.name = topic.name
        self.is_builtin = topic.is_builtin
        self.key1 = topic.key1.encode()
        self.key2 = topic.key2.encode()
        self.schema = topic.input_schema
        self.custom = custom
        self.domain = domain
        self.resource = resource


class DataPlane:
    """The FastHandler of `/topics/{topic}/api/events`, `/domains/{domain}/api/events`,
    `/{topic}/api/events` and what `PullPlane` answers."""

    def __init__(self, app: DataPort) -> None:
        self._app = app
        self._answers = PublishAnswers()
        self._pull = PullPlane(app, self._topic)
        self._entries: dict[bytes, _Entry] = {}

    # --- http's FastHandler ----------------------------------------------------------------------

    def accepts(self, method: bytes, path: bytes) -> bool:
        """Whether `path` is a publish endpoint's, of a known topic or not, whatever the method."""
        return (
            path in self._entries or _PATH.fullmatch(path) is not None or self._pull.accepts(path)
        )

    def handle(self, request: Request) -> None:
        """Publish, or refuse. The answer to a publish comes once the events are on disk."""
        entry = self._entries.get(request.path)
        if entry is None and self._pull.accepts(request.path):
            self._pull.handle(request)
            return
        try:
            if entry is None or self._app.topic(entry.name) is not entry.topic:
                entry = self._look_up(request.path)
        except NotFound as error:
            self._unknown(request, error)
            return
        if request.method != b"POST":
            request.respond(self._no_post(request, entry))
            return
        started_s = perf_counter()
        index = request.index
        try:
            key = index.get(_KEY)
            # Which of the two good keys it was may be told by the time; what they are, not.
            if key is None or not (_is_same(key, entry.key1) or _is_same(key, entry.key2)):
                authorize(self._app, request, entry.topic, PUBLISH)
            if entry.is_builtin:
                raise builtin(entry.name)
            events = _decode(
                entry.schema, request.body, index, entry.resource, entry.custom, entry.domain
            )
            done = partial(self._kept, request, entry, started_s)
            self._app.grid.publish(entry.id, events, done)
        except EventpostError as error:
            self._refuse(request, entry, error)

    def stop_waiting(self) -> None:
        """The server stops: who waits for an event is answered now, with none."""
        self._pull.stop_waiting()

    def too_large(self, request: Request) -> bytes:
        """413 as Event Grid words it."""
        return self._answers.too_large(request)

    def malformed(self, request: Request | None, status: int, reason: str) -> bytes:
        """The answer to what the HTTP server refuses itself."""
        return self._answers.malformed(request, status, reason)

    # --- leaves ----------------------------------------------------------------------------------

    def _kept(
        self, request: Request, entry: _Entry, started_s: float, failure: Overloaded | None
    ) -> None:
        if failure is None:
            request.respond(self._answers.success(request))
            self._app.publish_times.observe((perf_counter() - started_s) * 1_000)
        else:
            self._refuse(request, entry, failure)

    def _refuse(self, request: Request, entry: _Entry, error: EventpostError) -> None:
        rejected = self._app.rejected
        rejected[entry.name] = rejected.get(entry.name, 0) + 1
        request.respond(self._answers.refusal(request, error))

    def _unknown(self, request: Request, error: NotFound) -> None:
        self._entries.pop(request.path, None)
        request.respond(self._answers.not_found(request, str(error)))

    def _no_post(self, request: Request, entry: _Entry) -> bytes:
        if request.method == b"OPTIONS":
            return self._answers.options(request, entry.schema)
        if request.method == b"HEAD":  # Event Grid knows no HEAD: 404, not 405
            return self._answers.not_found(request)
        return self._answers.method_not_allowed(request)

    def _look_up(self, path: bytes) -> _Entry:
        """The topic that `path` names. Raises NotFound."""
        self._entries.pop(path, None)
        match = _PATH.fullmatch(path)
        assert match is not None, "only accepted paths are handled"
        prefix, raw_name = match.group(1) or b"", match.group(2)
        if raw_name is None:
            prefix, raw_name = b"", prefix[1:]
        name = unquote(raw_name.decode("latin-1"))
        topic = self._topic(name)
        if topic.domain_id or (prefix.lower() == b"/domains" and not topic.is_domain):
            raise no_endpoint(topic)
        prefix_setting = self._app.settings.server.topic_resource_prefix
        resource = topics.resource_of(topic, prefix_setting)
        domain = self._app.domain_input(topic)
        entry = _Entry(topic, resource, self._app.custom_input(topic), domain)
        # Another spelling of the name is found anew each time: a topic of exactly that name may
        # come to be.
        if topic.name == name:
            if len(self._entries) >= PATHS_CACHED_MAX:
                self._entries.clear()
            self._entries[path] = entry
        return entry

    def _topic(self, name: str) -> Topic:
        try:
            return self._app.topic(name)
        except NotFound:
            folded = name.lower()
            for topic in self._app.topics():
                if topic.name.lower() == folded:
                    return topic
            raise

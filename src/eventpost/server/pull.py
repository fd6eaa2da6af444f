"""The namespaces protocol: publish, and receive, acknowledge, release, reject, renewLock.

Answers are those that Event Grid's clients read. A receive that finds nothing waits in a callback,
not in a task. Layer: server. All on the event loop's thread.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter

import msgspec

from eventpost.core.domains import split
from eventpost.core.errors import EventpostError, Forbidden, NotFound, Overloaded, Unauthorized
from eventpost.core.events import Delivery, Schema
from eventpost.core.namespaces import is_within
from eventpost.core.subscriptions import Topic
from eventpost.credentials.bearer_settings import PUBLISH, RECEIVE
from eventpost.formats import delivery as deliveries
from eventpost.formats import locktokens, publish, topics
from eventpost.formats.bodies import invalid
from eventpost.grid.pull import Handed
from eventpost.grid.settling import Action, Key, Result
from eventpost.http.server.request import Request
from eventpost.server import pull_requests as requests
from eventpost.server.authentication import authorize
from eventpost.server.ports import DataPort, LanePort
from eventpost.server.publish_answers import PublishAnswers

_ACTIONS = {action.value.lower(): action for action in Action}
_PUBLISHED = b"{}"
_NOTHING = b'{"value":[]}'
_BAD_TOKEN = "BadToken"  # noqa: S105  # Event Grid's code
_MESSAGES = {
    _BAD_TOKEN: "The lock token was not given out for this event subscription.",
    Result.LOST.value: "The lock is over: it ended in its time, or was settled already.",
    Result.FAILED.value: "The event could not be read; its lock is as it was.",
}


def builtin(name: str) -> Forbidden:
    return Forbidden(
        "Forbidden",
        f"The topic {name} is built in.",
        why="Only eventpost itself publishes to it.",
        fix="Publish to a topic of your own; subscriptions may attach to this one.",
    )


def no_endpoint(topic: Topic) -> NotFound:
    """What is published to elsewhere."""
    domain, name = split(topic.name)
    if not name:
        fix = f"Publish to /topics/{domain}/api/events." if not topic.is_domain else ""
        fix = fix or f"Publish to /domains/{domain}/api/events; each event names its topic."
        what = "a domain" if topic.is_domain else "no domain"
        return NotFound("TopicNotFound", f"{domain} is {what}.", fix=fix)
    return NotFound(
        "TopicNotFound",
        f"{name} is a topic of the domain {domain}, which has one endpoint for all of them.",
        fix=f"Publish to /domains/{domain}/api/events, with {name} as each event's topic.",
    )


class _Error(msgspec.Struct):
    code: str
    message: str


class _FailedToken(msgspec.Struct, rename="camel"):
    lock_token: str
    error: _Error


class _Settled(msgspec.Struct, rename="camel"):
    succeeded_lock_tokens: list[str]
    failed_lock_tokens: list[_FailedToken]


_encode = msgspec.json.Encoder().encode


class PullPlane:
    """Handles the requests whose path it accepts."""

    def __init__(self, app: DataPort, find: Callable[[str], Topic]) -> None:
        self._app = app
        self._find = find
        versions = ", ".join(requests.API_VERSIONS).encode()
        self._answers = PublishAnswers(versions, names_findings=False)
        self._waiting: dict[int, Request] = {}
        """Receives without an answer, by identity."""
        self._is_stopping = False

    def accepts(self, path: bytes) -> bool:
        return requests.called(path) is not None

    def handle(self, request: Request) -> None:
        """Answer now or later. Raises nothing that a client causes."""
        called = requests.called(request.path)
        assert called is not None, "only accepted paths are handled"
        try:
            topic = self._find(called.topic)
            if request.method != b"POST":
                request.respond(self._no_post(request, topic))
                return
            action = RECEIVE if called.subscription else PUBLISH
            self._authorize(request, topic, action)
            query = requests.Query(request.query)
            if not called.subscription:
                self._publish(request, topic)
                return
            lane = self._app.pulled(topic, called.subscription)
            if called.operation == "receive":
                self._receive(request, topic, lane, query)
            else:
                self._settle(request, lane, _ACTIONS[called.operation], query)
        except EventpostError as error:
            self._refuse(request, error)

    def stop_waiting(self) -> None:
        """Answer who waits, with nothing; from now on nobody waits."""
        self._is_stopping = True
        for request in list(self._waiting.values()):
            self._respond(request, _NOTHING)
        self._waiting.clear()

    def _authorize(self, request: Request, topic: Topic, action: str) -> None:
        """By the topic's own credentials, or by the keys of the namespace that it is in."""
        try:
            authorize(self._app, request, topic, action)
        except Unauthorized:
            namespace = self._app.namespaces.namespace
            if namespace is None or not is_within(topic):
                raise
            authorize(self._app, request, namespace.keyed(topic), action)

    # --- publish ----------------------------------------------------------------------------------

    def _publish(self, request: Request, topic: Topic) -> None:
        if topic.is_builtin:
            raise builtin(topic.name)
        if topic.is_domain or topic.domain_id:
            raise no_endpoint(topic)
        if topic.input_schema is not Schema.CLOUD_EVENTS:
            raise invalid(
                f"The topic {topic.name} takes events of schema '{topic.input_schema}' at "
                f"/topics/{topic.name}/api/events; here CloudEvents are published."
            )
        started_s = perf_counter()
        resource = self._resource(topic)
        events = publish.decode_publish(topic.input_schema, request.body, request.index, resource)
        self._app.grid.publish(topic.id, events, partial(self._kept, request, topic, started_s))

    def _kept(
        self, request: Request, topic: Topic, started_s: float, failure: Overloaded | None
    ) -> None:
        if failure is not None:
            self._app.rejected[topic.name] = self._app.rejected.get(topic.name, 0) + 1
            self._refuse(request, failure)
            return
        self._respond(request, _PUBLISHED)
        self._app.publish_times.observe((perf_counter() - started_s) * 1_000)

    # --- receive ----------------------------------------------------------------------------------

    def _receive(
        self, request: Request, topic: Topic, lane: LanePort, query: requests.Query
    ) -> None:
        settings = self._app.settings.pull
        count, wait_s = query.events(settings), query.wait_s(settings)
        self._waiting[id(request)] = request
        try:
            lane.receive(
                count,
                0 if self._is_stopping else wait_s,
                lambda: request.is_awaited,
                partial(self._received, request, topic, lane),
            )
        except EventpostError:
            self._waiting.pop(id(request), None)
            raise

    def _received(
        self, request: Request, topic: Topic, lane: LanePort, answer: Handed | EventpostError
    ) -> None:
        self._waiting.pop(id(request), None)
        if isinstance(answer, EventpostError):
            self._refuse(request, answer)
        elif not answer.deliveries:
            self._respond(request, _NOTHING)
        else:
            head = self._app.lock_tokens.head(lane.subscription.id, answer.lock)
            self._respond(request, self._handed(topic, head, answer.deliveries))

    def _handed(self, topic: Topic, head: str, handed: list[Delivery]) -> bytes:
        """The body of a receive. Bytes in = bytes out."""
        is_converted = topic.input_schema is not Schema.CLOUD_EVENTS
        resource = self._resource(topic)
        parts = []
        for each in handed:
            wire = each.event.wire
            event = deliveries.cloud_event(wire, resource) if is_converted else wire
            token = locktokens.token(
                head, each.position, 0 if each.row is None else each.row.dead_letter_id
            )
            parts.append(
                b'{"brokerProperties":{"lockToken":"%b","deliveryCount":%d},"event":%b}'
                % (token.encode(), each.attempts, event)
            )
        return b'{"value":[%b]}' % b",".join(parts)

    # --- settle -----------------------------------------------------------------------------------

    def _settle(
        self, request: Request, lane: LanePort, action: Action, query: requests.Query
    ) -> None:
        delay_s = query.release_delay_s() if action is Action.RELEASE else 0
        count_max = self._app.settings.pull.lock_tokens_max
        tokens = requests.lock_tokens(request.body, count_max)
        found = self._app.lock_tokens.read(lane.subscription.id, tokens)
        keys = [Key(*place) for place in found if place is not None]
        is_good = [place is not None for place in found]
        done = partial(self._settled, request, tokens, is_good)
        if keys:
            lane.settle(action, keys, delay_s * 1_000, done)
        else:
            done([])

    def _settled(
        self,
        request: Request,
        tokens: list[str],
        is_good: list[bool],
        results: list[Result] | EventpostError,
    ) -> None:
        if isinstance(results, EventpostError):
            self._refuse(request, results)
            return
        if all(is_good) and not any(results):
            self._respond(request, _encode(_Settled(tokens, [])))
            return
        told = iter(results)
        answer = _Settled([], [])
        for token, is_one in zip(tokens, is_good, strict=True):
            code = next(told).value if is_one else _BAD_TOKEN
            if code:
                error = _Error(code, _MESSAGES[code])
                answer.failed_lock_tokens.append(_FailedToken(token, error))
            else:
                answer.succeeded_lock_tokens.append(token)
        self._respond(request, _encode(answer))

    # --- leaves -----------------------------------------------------------------------------------

    def _resource(self, topic: Topic) -> str:
        return topics.resource_of(topic, self._app.settings.server.topic_resource_prefix)

    def _no_post(self, request: Request, topic: Topic) -> bytes:
        if request.method == b"OPTIONS":
            return self._answers.options(request, topic.input_schema)
        return self._answers.method_not_allowed(request)

    def _respond(self, request: Request, body: bytes) -> None:
        request.respond(self._answers.json(request, body))

    def _refuse(self, request: Request, error: EventpostError) -> None:
        request.respond(self._answers.refusal(request, error))

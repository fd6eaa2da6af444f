"""The routes of Azure Resource Manager, as far as the management SDKs for Event Grid need them.

Layer: server. Topics, domains and their event subscriptions are those of the management API: there
is one model, and this is another view of it. Subscription and resource group of a path may be
anything.
Rules: Microsoft.EventGrid, api-version 2025-02-15; what its Python client takes as an answer.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from eventpost.core.domains import joined
from eventpost.core.errors import Conflict, EventpostError, InvalidRequest, NotFound
from eventpost.core.subscriptions import Topic
from eventpost.registry import shapes
from eventpost.server import arm_resources, domains, problems
from eventpost.server.authentication import check_token
from eventpost.server.ports import AppPort

METHODS = ["GET", "PUT", "PATCH", "DELETE", "POST"]

_EVENT_GRID = r"/providers/Microsoft\.EventGrid"
_ROOT = rf"/+subscriptions/(?P<account>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?{_EVENT_GRID}"
ROOT = _ROOT
"""Of every path here, for other tables of routes."""
_TOPIC = rf"{_ROOT}/topics/(?P<topic>[^/]+)"
_DOMAIN = rf"{_ROOT}/domains/(?P<domain>[^/]+)"
_DOMAIN_TOPIC = rf"{_DOMAIN}/topics/(?P<domain_topic>[^/]+)"
_SCOPE = (
    rf"{_ROOT}/(?:topics/(?P<topic>[^/]+)"
    r"|domains/(?P<domain>[^/]+)(?:/topics/(?P<domain_topic>[^/]+))?)"
)
_SUBSCRIPTIONS = rf"{_SCOPE}(?:{_EVENT_GRID})?/eventSubscriptions"
_ONE = rf"{_SUBSCRIPTIONS}/(?P<name>[^/]+)"
_ALL = rf"{_ROOT}(?:/locations/[^/]+)?(?:/topicTypes/(?P<type>[^/]+))?/eventSubscriptions"
_TOPICS_TYPE = "microsoft.eventgrid.topics"
_DOMAINS_TYPE = "microsoft.eventgrid.domains"

_log = logging.getLogger(__name__)


class MethodNotAllowed(InvalidRequest):
    status = 405


class Asked(NamedTuple):
    """One request. `parts` are what its path names."""

    app: AppPort
    parts: dict[str, str]
    body: dict[str, Any]

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


Answer = tuple[int, object]
Handler = Callable[[Asked], Awaitable[Answer]]
Table = tuple[tuple[str, re.Pattern[str], Handler], ...]
"""What answers which method on which path."""


def routes(app: AppPort, more: Table = ()) -> list[Route]:
    """Those of the table here and of `more`. A scope that begins with a slash makes two of them in
    the SDK's URLs."""
    table = _ROUTES + more

    async def answer(request: Request) -> Response:
        try:
            check_token(request, app.admin_token)
            status, content = await _answered(app, table, request)
        except EventpostError as error:
            return _refusal(error)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - the API's edge: recorded, and answered
            _log.exception("api.failed", extra={"operation": "arm"})
            return _refusal(problems.unexpected())
        if content is None:
            return Response(status_code=status)
        return _json(status, content)

    paths = ("/subscriptions/{rest:path}", "//subscriptions/{rest:path}")
    return [Route(path, answer, methods=METHODS) for path in paths]


async def _answered(app: AppPort, table: Table, request: Request) -> Answer:
    path = request.url.path
    known = [(method, run) for method, pattern, run in table if pattern.fullmatch(path)]
    for method, pattern, run in table:
        match = pattern.fullmatch(path)
        if match is not None and method == request.method:
            _check_query(request)
            parts = {name: value for name, value in match.groupdict().items() if value}
            return await run(Asked(app, parts, await _body(request)))
    if known:
        raise MethodNotAllowed(
            "MethodNotAllowed",
            f"{path} does not support {request.method}.",
            fix=f"Use {', '.join(method for method, _ in known)}.",
        )
    raise NotFound(
        "ResourceNotSupported",
        f"There is nothing at {path}.",
        why="Of Azure Resource Manager topics, domains and namespaces of Microsoft.EventGrid and "
        "their event subscriptions are here; system topics and partners are not.",
        fix="Everything else is made with the management API.",
    )


def _check_query(request: Request) -> None:
    if "$filter" in request.query_params:
        raise InvalidRequest(
            "FieldNotSupported",
            "The query parameter $filter is not supported.",
            fix="Leave it out, and choose from the list.",
        )


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()  # bounded by the HTTP server
    if not raw.strip():
        return {}
    body = shapes.decode_json(raw)
    if not isinstance(body, dict):
        raise InvalidRequest("InvalidJson", "The body is no object.")
    return body


def _refusal(error: EventpostError) -> Response:
    found = problems.problem(error)
    text = f"{found.detail} {found.fix}".strip()
    return _json(found.status, {"error": {"code": found.code, "message": text}})


def _json(status: int, content: object) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


# --- topics ---------------------------------------------------------------------------------------


async def list_topics(asked: Asked) -> Answer:
    topics = [each for each in asked.app.topics() if not each.is_domain]
    return 200, {"value": [arm_resources.topic(asked.app, asked.group, each) for each in topics]}


async def show_topic(asked: Asked) -> Answer:
    return 200, arm_resources.topic(asked.app, asked.group, asked.topic)


async def put_topic(asked: Asked) -> Answer:
    declared = arm_resources.declared_topic(asked.parts["topic"], asked.body)
    try:
        topic = asked.topic
    except NotFound:
        app = asked.app
        topic = await app.create_topic(declared.name, declared.schema, declared.mapping)
    if (topic.input_schema, topic.input_mapping) != (declared.schema, declared.mapping):
        raise Conflict(
            "TopicExists",
            f"There is a topic {topic.name!r} with another input schema.",
            fix="A topic keeps schema and mapping: delete it first, or choose another name.",
        )
    return 201, arm_resources.topic(asked.app, asked.group, topic)


async def patch_topic(asked: Asked) -> Answer:
    topic = asked.topic
    arm_resources.declared_topic(topic.name, asked.body)  # what has no meaning here is refused
    return 200, arm_resources.topic(asked.app, asked.group, topic)


async def delete_topic(asked: Asked) -> Answer:
    try:
        await asked.app.delete_topic(asked.topic.name)
    except NotFound:
        return 204, None
    return 204, None


async def list_keys(asked: Asked) -> Answer:
    topic = asked.topic
    return 200, {"key1": topic.key1, "key2": topic.key2}


async def regenerate_key(asked: Asked) -> Answer:
    name = asked.body.get("keyName")
    topic = await asked.app.regenerate_key(asked.topic.name, str(name))
    return 200, {"key1": topic.key1, "key2": topic.key2}


# --- domains --------------------------------------------------------------------------------------


async def list_domains(asked: Asked) -> Answer:
    found = asked.app.domains.all()
    return 200, {"value": [arm_resources.domain(asked.app, asked.group, each) for each in found]}


async def show_domain(asked: Asked) -> Answer:
    return 200, arm_resources.domain(asked.app, asked.group, asked.topic)


async def put_domain(asked: Asked) -> Answer:
    declared = arm_resources.declared_domain(asked.parts["domain"], asked.body)
    app = asked.app
    try:
        domain = asked.topic
    except NotFound:
        domain = await app.domains.create(
            declared.name, declared.schema, declared.mapping, declared.rules
        )
    else:
        domain = await domains.change(app, domain, declared)
    return 201, arm_resources.domain(app, asked.group, domain)


async def patch_domain(asked: Asked) -> Answer:
    declared = arm_resources.patched_domain(asked.topic, asked.body)
    domain = await domains.change(asked.app, asked.topic, declared)
    return 200, arm_resources.domain(asked.app, asked.group, domain)


async def list_domain_topics(asked: Asked) -> Answer:
    found = asked.app.domains.topics(asked.parts["domain"])
    shown = [arm_resources.domain_topic(asked.group, each) for each in found]
    return 200, {"value": shown}


async def show_domain_topic(asked: Asked) -> Answer:
    return 200, arm_resources.domain_topic(asked.group, asked.topic)


async def put_domain_topic(asked: Asked) -> Answer:
    try:
        topic = asked.topic
    except NotFound:
        domain, name = asked.parts["domain"], asked.parts["domain_topic"]
        topic = await asked.app.domains.create_topic(domain, name)
    return 201, arm_resources.domain_topic(asked.group, topic)


# --- event subscriptions --------------------------------------------------------------------------


async def list_all(asked: Asked) -> Answer:
    kind = asked.parts.get("type", "")
    found = asked.app.subscriptions()
    if kind != "":
        found = [each for each in found if _type_of(asked.app.topic_of(each)) == kind.lower()]
    return 200, {"value": [arm_resources.subscription(asked.app, asked.group, s) for s in found]}


def _type_of(topic: Topic) -> str:
    return _DOMAINS_TYPE if topic.is_domain or topic.domain_id else _TOPICS_TYPE


async def list_subscriptions(asked: Asked) -> Answer:
    found = asked.app.subscriptions(asked.topic.name)
    return 200, {"value": [arm_resources.subscription(asked.app, asked.group, s) for s in found]}


async def show_subscription(asked: Asked) -> Answer:
    _, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    return 200, arm_resources.subscription(asked.app, asked.group, subscription)


async def put_subscription(asked: Asked) -> Answer:
    properties = asked.body.get("properties")
    if not isinstance(properties, dict):
        raise InvalidRequest("InvalidField", "properties is missing.", fix="Give properties.")
    topic, name = asked.scope, asked.parts["name"]
    try:
        _, current = arm_resources.found(asked.app, topic, name)
    except NotFound:
        made = await arm_resources.create(asked.app, topic, name, properties)
        return 201, arm_resources.subscription(asked.app, asked.group, made)
    changed = await arm_resources.update(asked.app, topic, current, properties, is_whole=True)
    return 201, arm_resources.subscription(asked.app, asked.group, changed)


async def patch_subscription(asked: Asked) -> Answer:
    """Its properties stand at the top, not in `properties`."""
    topic, current = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    changed = await arm_resources.update(asked.app, topic, current, asked.body, is_whole=False)
    return 201, arm_resources.subscription(asked.app, asked.group, changed)


async def delete_subscription(asked: Asked) -> Answer:
    try:
        topic, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    except NotFound:
        return 204, None
    await asked.app.delete_subscription(topic.name, subscription.name)
    return 204, None


async def show_full_url(asked: Asked) -> Answer:
    _, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    return 200, {"endpointUrl": subscription.endpoint.address}


async def show_attributes(asked: Asked) -> Answer:
    _, subscription = arm_resources.found(asked.app, asked.topic, asked.parts["name"])
    return 200, {"value": arm_resources.attributes(subscription)}


def route(method: str, pattern: str, run: Handler) -> tuple[str, re.Pattern[str], Handler]:
    return method, re.compile(pattern, re.IGNORECASE), run


_route = route


_ROUTES = (
    _route("GET", rf"{_ROOT}/topics", list_topics),
    _route("GET", _TOPIC, show_topic),
    _route("PUT", _TOPIC, put_topic),
    _route("PATCH", _TOPIC, patch_topic),
    _route("DELETE", _TOPIC, delete_topic),
    _route("POST", rf"{_TOPIC}/listKeys", list_keys),
    _route("POST", rf"{_TOPIC}/regenerateKey", regenerate_key),
    _route("GET", rf"{_ROOT}/domains", list_domains),
    _route("GET", _DOMAIN, show_domain),
    _route("PUT", _DOMAIN, put_domain),
    _route("PATCH", _DOMAIN, patch_domain),
    _route("DELETE", _DOMAIN, delete_topic),
    _route("POST", rf"{_DOMAIN}/listKeys", list_keys),
    _route("POST", rf"{_DOMAIN}/regenerateKey", regenerate_key),
    _route("GET", rf"{_DOMAIN}/topics", list_domain_topics),
    _route("GET", _DOMAIN_TOPIC, show_domain_topic),
    _route("PUT", _DOMAIN_TOPIC, put_domain_topic),
    _route("DELETE", _DOMAIN_TOPIC, delete_topic),
    _route("GET", _ALL, list_all),
    _route("GET", _SUBSCRIPTIONS, list_subscriptions),
    _route("GET", _ONE, show_subscription),
    _route("PUT", _ONE, put_subscription),
    _route("PATCH", _ONE, patch_subscription),
    _route("DELETE", _ONE, delete_subscription),
    _route("POST", rf"{_ONE}/getFullUrl", show_full_url),
    _route("POST", rf"{_ONE}/getDeliveryAttributes", show_attributes),
)

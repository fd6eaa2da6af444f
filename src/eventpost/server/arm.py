"""The routes of Azure Resource Manager, as far as the management SDKs for Event Grid need them.

Layer: server. Topics, domains and their event subscriptions are those of the management API: there
is one model, and this is another view of it. Subscription and resource group of a path may be
anything.
Rules: Microsoft.EventGrid, api-version 2025-02-15; what its Python client takes as an answer.
"""

import logging
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from eventpost.core.errors import EventpostError, InvalidRequest, NotFound
from eventpost.registry import shapes
from eventpost.server import problems
from eventpost.server.arm_asked import Answer, Asked
from eventpost.server.arm_routes import ROUTES
from eventpost.server.authentication import check_token
from eventpost.server.ports import AppPort

METHODS = ["GET", "PUT", "PATCH", "DELETE", "POST"]

_log = logging.getLogger(__name__)


class MethodNotAllowed(InvalidRequest):
    status = 405


def routes(app: AppPort) -> list[Route]:
    """A scope that begins with a slash makes two of them in the SDK's URLs."""

    async def answer(request: Request) -> Response:
        try:
            check_token(request, app.admin_token)
            status, content = await _answered(app, request)
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


async def _answered(app: AppPort, request: Request) -> Answer:
    path = request.url.path
    known = [(method, run) for method, pattern, run in ROUTES if pattern.fullmatch(path)]
    for method, pattern, run in ROUTES:
        match = pattern.fullmatch(path)
        if match is not None and method == request.method:
            _check_query(request)
            parts = {name: value for name, value in match.groupdict().items() if value}
            query = dict(request.query_params)
            return await run(Asked(app, parts, await _body(request), _url(app, request), query))
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


def _url(app: AppPort, request: Request) -> str:
    """Where this was asked for, for links that go on from here: with TLS when it is spoken before
    a proxy, as the public URL tells."""
    is_tls = app.public_url.startswith("https:")
    url = request.url.replace(scheme="https") if is_tls else request.url
    return str(url.replace(query=""))


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

"""The management API as an ASGI application: `/admin/v1`, probes, metrics, validation.

Layer: server. It runs on the event loop's thread, like the application it speaks to.
"""

from collections.abc import Awaitable, Callable
from functools import cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from eventpost.core.errors import InvalidRequest, NotFound
from eventpost.registry import shapes
from eventpost.server import (
    arm,
    connections,
    deadletters,
    domains,
    events,
    openapi,
    problems,
    sources,
    status,
    store,
    subscriptions,
    topics,
)
from eventpost.server.endpoint import endpoint
from eventpost.server.ports import AppPort
from eventpost.server.probes import OPENAPI_PATH, Probes
from eventpost.server.routes import Operation

HTTPExceptionHandler = Callable[[Request, Exception], Awaitable[Response]]

SUBJECTS = (
    topics.subject,
    domains.subject,
    subscriptions.subject,
    connections.subject,
    sources.subject,
    deadletters.subject,
    events.subject,
    store.subject,
    status.subject,
)


def operations() -> list[Operation]:
    """Every operation of the management API, in the order of the documentation."""
    return [operation for subject in SUBJECTS for operation in subject.operations]


def build(app: AppPort) -> ASGIApp:
    """The ASGI application for everything but the data plane. May be called more than once."""
    routes = [
        *Probes(app, _document()).routes(),
        *(_route(operation, app) for operation in operations()),
        *arm.routes(app),
    ]
    api = Starlette(routes=routes, exception_handlers={HTTPException: _unrouted(routes)})
    # A redirect would lose the token and the body; the problem document names the routes instead.
    api.router.redirect_slashes = False
    return api


@cache
def _document() -> bytes:
    """Written once: a process that starts many servers, as tests do, spends most of a start on
    it."""
    return openapi.document(operations())


def _route(operation: Operation, app: AppPort) -> Route:
    route = Route(
        operation.path,
        endpoint(operation, app),
        methods=[operation.method],
        name=operation.name,
    )
    assert route.methods is not None
    route.methods.discard("HEAD")  # which Starlette adds to GET: it would run a stream for nothing
    return route


def _unrouted(routes: list[Route]) -> HTTPExceptionHandler:
    """The answer to what no route takes: 405 with what the path does take, else 404."""

    async def answer(request: Request, _: Exception) -> Response:
        method, path = request.method, request.url.path
        allowed = {
            each for route in routes if route.path_regex.match(path) for each in route.methods or ()
        }
        if allowed:
            return problems.response(
                MethodNotAllowed(
                    "MethodNotAllowed",
                    f"{path} does not support {method}.",
                    fix=f"Use {', '.join(sorted(allowed))}.",
                ),
                {"Allow": ", ".join(sorted(allowed))},
            )
        near = shapes.nearest(path, [route.path_format for route in routes])
        return problems.response(
            NotFound(
                "RouteNotFound",
                f"There is nothing at {path}.",
                fix=f"{near}All routes are in {OPENAPI_PATH}.",
            )
        )

    return answer


class MethodNotAllowed(InvalidRequest):
    status = 405

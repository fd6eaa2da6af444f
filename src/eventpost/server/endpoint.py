"""Turns an operation into an HTTP endpoint: bounds, decoding, the handler, the answer."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, get_args, get_origin

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from eventpost.core.errors import EventpostError
from eventpost.registry import shapes
from eventpost.server import problems, streams
from eventpost.server.authentication import check_token
from eventpost.server.ports import AppPort
from eventpost.server.routes import Call, Lines, Operation

_log = logging.getLogger(__name__)


class NoQuery(msgspec.Struct):
    """The query of an operation that takes none, so that a parameter is refused by its name."""


Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(operation: Operation, app: AppPort) -> Endpoint:
    """The ASGI endpoint of `operation`. Whatever goes wrong is a problem document."""

    async def answer(request: Request) -> Response:
        try:
            check_token(request, app.admin_token)
            call = await _call(operation, app, request)
            return _response(operation, call, await operation.handler(call))
        except EventpostError as error:
            return problems.response(error)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - the API's edge: recorded, and answered as a problem
            _log.exception("api.failed", extra={"operation": operation.name})
            return problems.response(problems.unexpected())

    return answer


async def _call(operation: Operation, app: AppPort, request: Request) -> Call[Any, Any]:
    return Call(
        app=app,
        path=dict(request.path_params),
        query=_query(operation, request),
        body=await _body(operation, request),
        request=request,
    )


def _query(operation: Operation, request: Request) -> object:
    kind = operation.query or NoQuery
    lists = {field.encode_name for field in msgspec.structs.fields(kind) if _is_list(field.type)}
    given = request.query_params
    values = {name: given.getlist(name) if name in lists else given[name] for name in given}
    query = shapes.read(values, kind, where="query", is_text=True)
    return query if operation.query else None


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(_is_list(each) for each in get_args(kind))


async def _body(operation: Operation, request: Request) -> object:
    kind = operation.body
    if kind is None:
        return None
    body = await request.body()  # bounded by the HTTP server
    if kind is bytes:
        return body
    value = shapes.decode_json(body)
    return value if get_origin(kind) is dict else shapes.read(value, kind)


def _response(operation: Operation, call: Call[Any, Any], answer: object) -> Response:
    if isinstance(answer, Lines):
        return streams.response(answer, call.request, call.app.stopping)
    if answer is None:
        return Response(status_code=operation.status)
    return Response(
        msgspec.json.encode(answer),
        operation.status,
        {"Cache-Control": "no-store"},
        media_type="application/json",
    )

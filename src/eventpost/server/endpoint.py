"""Turns an operation into an HTTP endpoint: bounds, decoding, the handler, the answer."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, get_args, get_origin

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.registry import shapes
from eventpost.server import problems, streams
from eventpost.server.authentication import check_token
from eventpost.server.limits import ApiLimits
from eventpost.server.ports import AppPort
from eventpost.server.routes import Call, Lines, Operation

_log = logging.getLogger(__name__)


class NoQuery(msgspec.Struct):
    """The query of an operation that takes none, so that a parameter is refused by its name."""


class TooLarge(InvalidRequest):
    status = 413


Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(operation: Operation, app: AppPort, limits: ApiLimits) -> Endpoint:
    """The ASGI endpoint of `operation`. Whatever goes wrong is a problem document."""

    async def answer(request: Request) -> Response:
        try:
            check_token(request, app.admin_token)
            call = await _call(operation, app, request, limits)
            return _response(operation, request, await operation.handler(call), limits)
        except EventpostError as error:
            return problems.response(error)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001 - the API's edge: recorded, and answered as a problem
            _log.exception("api.failed", extra={"operation": operation.name})
            return problems.response(problems.unexpected())

    return answer


async def _call(
    operation: Operation, app: AppPort, request: Request, limits: ApiLimits
) -> Call[Any, Any]:
    return Call(
        app=app,
        path=dict(request.path_params),
        query=_query(operation, request),
        body=await _body(operation, request, limits),
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


async def _body(operation: Operation, request: Request, limits: ApiLimits) -> object:
    kind = operation.body
    if kind is None:
        return None
    is_raw = kind is bytes
    body = await _read(request, limits.publish_bytes_max if is_raw else limits.body_bytes_max)
    if is_raw:
        return body
    value = shapes.decode_json(body)
    return value if get_origin(kind) is dict else shapes.read(value, kind)


async def _read(request: Request, bytes_max: int) -> bytes:
    """The body, at most `bytes_max`. Raises TooLarge as soon as there is more."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise TooLarge(
                "BodyTooLarge",
                f"The body is larger than {bytes_max:,} bytes.",
                fix="Send less in one request.",
            )
    return bytes(body)


def _response(
    operation: Operation, request: Request, answer: object, limits: ApiLimits
) -> Response:
    if isinstance(answer, Lines):
        return streams.response(answer, request, limits.stream_idle_s)
    if answer is None:
        return Response(status_code=operation.status)
    return Response(
        msgspec.json.encode(answer),
        operation.status,
        {"Cache-Control": "no-store"},
        media_type="application/json",
    )

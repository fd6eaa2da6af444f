"""The OpenAPI 3.1 document, written from the operations and their models."""

from collections.abc import Sequence
from typing import Any

import msgspec

from eventpost.core.version import VERSION
from eventpost.registry.models import Problem
from eventpost.server.problems import MEDIA_TYPE
from eventpost.server.routes import Operation
from eventpost.server.streams import EVENT_STREAM, NDJSON

REF_TEMPLATE = "#/components/schemas/{name}"
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


def document(operations: Sequence[Operation]) -> bytes:
    """The whole document as JSON."""
    models = [model for each in operations for model in (each.body, each.answer) if _named(model)]
    _, components = msgspec.json.schema_components(
        [Problem, *dict.fromkeys(models)], ref_template=REF_TEMPLATE, schema_hook=_any_value
    )
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path.replace(":path", ""), {})
        path[operation.method.lower()] = _operation(operation)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "eventpost management API",
                "version": VERSION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "security": [{"adminToken": []}],
            "tags": [{"name": tag} for tag in dict.fromkeys(each.tag for each in operations)],
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"adminToken": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _operation(operation: Operation) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": {
            str(operation.status): _answer(operation),
            "default": {
                "description": "What went wrong, and what to do about it.",
                "content": {MEDIA_TYPE: {"schema": _reference(Problem)}},
            },
        },
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body is not None:
        described["requestBody"] = _request_body(operation.body)
    return described


def _path_parameters(operation: Operation) -> list[dict[str, object]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in operation.path_names
    ]


def _query_parameters(operation: Operation) -> list[dict[str, object]]:
    if operation.query is None:
        return []
    _, components = msgspec.json.schema_components([operation.query], ref_template=REF_TEMPLATE)
    properties: dict[str, dict[str, Any]] = components[operation.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _request_body(body: type[Any]) -> dict[str, object]:
    if body is bytes:
        schema: dict[str, object] = {"description": "One event or an array, in the topic's schema."}
        content = {
            JSON: {"schema": schema},
            "application/cloudevents+json": {"schema": schema},
            "application/cloudevents-batch+json": {"schema": schema},
        }
        return {"required": True, "content": content}
    if not _named(body):
        schema = {"type": "object", "description": "A JSON merge patch (RFC 7396)."}
        content = {media_type: {"schema": schema} for media_type in (MERGE_PATCH, JSON)}
        return {"required": True, "content": content}
    return {"required": True, "content": {JSON: {"schema": _reference(body)}}}


def _answer(operation: Operation) -> dict[str, object]:
    if operation.answer is None:
        return {"description": "Done."}
    schema = _reference(operation.answer)
    if not operation.is_stream:
        return {"description": "Done.", "content": {JSON: {"schema": schema}}}
    return {
        "description": "One value per line, each sent when it is there.",
        "content": {NDJSON: {"schema": schema}, EVENT_STREAM: {"schema": schema}},
    }


def _any_value(kind: type[Any]) -> dict[str, object]:
    """The schema of a field that may hold any JSON value, written `object`."""
    assert kind is object, f"{kind} has no JSON schema"
    return {"description": "Any JSON value."}


def _named(model: type[Any] | None) -> bool:
    return isinstance(model, type) and issubclass(model, msgspec.Struct)


def _reference(model: type[Any]) -> dict[str, object]:
    return {"$ref": REF_TEMPLATE.format(name=model.__name__)}

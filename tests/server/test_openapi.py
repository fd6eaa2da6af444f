"""The OpenAPI document describes what the API does."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from eventpost.server import api, openapi
from tests.server.running import Served

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(openapi.document(api.operations()))
    return made


def described(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def nested(value: object) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nested(item)
    elif isinstance(value, list):
        for item in value:
            yield from nested(item)


def test_every_route_is_described(document: dict[str, Any]) -> None:
    """No route is missing, and none is described that is not there."""
    routes = {(each.method.lower(), each.path.replace(":path", "")) for each in api.operations()}

    assert {(method, path) for method, path, _ in described(document)} == routes


def test_the_document_has_the_shape_of_openapi(document: dict[str, Any]) -> None:
    """Version, info, operations with unique ids, summaries, and an answer each."""
    operations = [operation for _, _, operation in described(document)]
    ids = [operation["operationId"] for operation in operations]

    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"]
    assert len(set(ids)) == len(ids)
    for method, _, operation in described(document):
        assert method in METHODS
        assert operation["summary"]
        assert set(operation["responses"]) & {"200", "201", "204"}
        problem = operation["responses"]["default"]["content"]["application/problem+json"]
        assert problem["schema"]["$ref"].endswith("/Problem")


def test_the_parameters_of_a_path_are_declared(document: dict[str, Any]) -> None:
    """Each placeholder of a path is a required parameter, and there are no others."""
    for _, path, operation in described(document):
        declared = {
            each["name"]: each["required"]
            for each in operation["parameters"]
            if each["in"] == "path"
        }
        placeholders = {part.split("}")[0] for part in path.split("{")[1:]}

        assert declared == dict.fromkeys(placeholders, True)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """Every $ref names a schema of the document."""
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = {each["$ref"] for each in nested(document) if "$ref" in each}

    assert used <= known


def test_bodies_and_queries_are_described(document: dict[str, Any]) -> None:
    """What a route takes is in its description, by the names on the wire."""
    create = document["paths"]["/admin/v1/subscriptions"]["post"]
    reference = create["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    listed = document["paths"]["/admin/v1/deadletters"]["get"]["parameters"]

    assert "eventDeliverySchema" in schema["properties"]
    assert schema["additionalProperties"] is False
    assert {"subscription", "since", "limit", "after"} <= {each["name"] for each in listed}


def test_it_is_served_without_a_token(http: httpx.Client, server: Served) -> None:
    """Tools fetch the document as it is; it holds nothing secret."""
    answer = http.get("/admin/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["openapi"] == "3.1.0"
    assert server.token not in answer.text

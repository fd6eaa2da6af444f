"""Deliveries to AWS Lambda behind a function URL, API Gateway (both formats) or a load balancer.

Layer: receive. Shapes: https://docs.aws.amazon.com/apigateway/latest/developerguide/
http-api-develop-integrations-lambda.html and
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html.
"""

import base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from eventpost.receive.answers import Answer
from eventpost.receive.handling import AnyHandle, handled_here

if TYPE_CHECKING:
    from eventpost.receive.receiver import EventGridReceiver

LambdaHandler = Callable[[dict[str, Any], object], dict[str, Any]]


def handler(receiver: "EventGridReceiver", handle: AnyHandle) -> LambdaHandler:
    """What it raises fails the invocation, which the caller sees as 502; the sender tries again."""

    def lambda_handler(event: dict[str, Any], context: object) -> dict[str, Any]:
        received = receiver.receive(
            _method(event), _headers(event), _body(event), query=_query(event)
        )
        return _response(event, received.answer or handled_here(handle, received.events))

    return lambda_handler


def _method(event: Mapping[str, Any]) -> str:
    http = event.get("requestContext", {}).get("http")
    method = http["method"] if http else event.get("httpMethod")
    if not isinstance(method, str):
        raise TypeError(
            "this is no HTTP request: the handler is for function URLs, API Gateway and load "
            "balancers; a function that is invoked directly gets the events themselves"
        )
    return method


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """The last value of each name, where a name may have several."""
    several = event.get("multiValueHeaders")
    if several:
        return {name: values[-1] for name, values in several.items() if values}
    return dict(event.get("headers") or {})


def _query(event: Mapping[str, Any]) -> str:
    if "rawQueryString" in event:
        return str(event["rawQueryString"])
    several = event.get("multiValueQueryStringParameters")
    pairs = (
        [(name, value) for name, values in several.items() for value in values]
        if several
        else list((event.get("queryStringParameters") or {}).items())
    )
    if "elb" in event.get("requestContext", {}):  # a load balancer decodes nothing
        return "&".join(f"{name}={value}" for name, value in pairs)
    return urlencode(pairs)


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _response(event: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    response: dict[str, Any] = {
        "statusCode": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body.decode(),
        "isBase64Encoded": False,
    }
    if event.get("multiValueHeaders"):
        # A load balancer that sends several values takes them in this form alone.
        response["multiValueHeaders"] = {name: [text] for name, text in answer.headers.items()}
    return response

"""`EventGridReceiver`: one request in, events or an answer out; and the same behind frameworks.

Layer: receive. Nothing here reads a socket: see the modules of the adapters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventpost.core.errors import EventpostError, InvalidRequest, Unauthorized
from eventpost.formats import standardwebhooks
from eventpost.receive import answers, credentials, events
from eventpost.receive.answers import Answer
from eventpost.receive.events import ReceivedEvent
from eventpost.receive.handling import AnyHandle, Handle

if TYPE_CHECKING:
    from eventpost.receive.asgi import ASGIReceiver
    from eventpost.receive.azure_functions import AsyncFunction, Function
    from eventpost.receive.lambda_function import LambdaHandler
    from eventpost.receive.wsgi import WSGIApp

BODY_BYTES_MAX = 2_097_152
"""Of one delivery: twice the 1,024 KB that a batch may prefer, so that no delivery is refused."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came. Either `answer` is there, and is all that there is to do, or there are `events`.

    `subscription` is the event subscription's name as the sender writes it, in upper case, and
    `attempt` how many attempts were made before this one.
    """

    events: tuple[ReceivedEvent, ...] = ()
    answer: Answer | None = None
    subscription: str = ""
    attempt: int = 0


class EventGridReceiver:
    """Takes deliveries of eventpost and of Azure Event Grid, in all of their schemas.

    It holds no state: one receiver serves any number of threads, tasks and event subscriptions.

    A request must carry one of `secrets` (in `secret_header`, which a delivery property sets, or in
    the query as `secret_query`), and a signature made with one of `signing_secrets` (Standard
    Webhooks); whichever is given. Each may be the text itself or a reference (`env:NAME`,
    `file:PATH`), read once. Several are valid at the same time, so that they can be rotated.
    Without any, `is_unverified=True` says that something else keeps strangers out.

    `origins` are those who may deliver CloudEvents, by host name or `*`, and `rate_per_minute`
    is what they are allowed. `is_custom` takes objects of any shape (a custom input schema).

    Raises InvalidRequest for settings that cannot be.
    """

    def __init__(
        self,
        *,
        secrets: Sequence[str] = (),
        secret_header: str | None = None,
        secret_query: str | None = None,
        signing_secrets: Sequence[str] = (),
        is_unverified: bool = False,
        is_custom: bool = False,
        origins: Sequence[str] = ("*",),
        rate_per_minute: int | None = None,
        body_bytes_max: int = BODY_BYTES_MAX,
        tolerance_s: float = standardwebhooks.TOLERANCE_S,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        _check_texts(secrets=secrets, signing_secrets=signing_secrets, origins=origins)
        if not (secrets or signing_secrets or is_unverified):
            raise InvalidRequest(
                "ReceiverUnverified",
                "The receiver has no secret, so that anybody could deliver to it.",
                fix="Give signing_secrets or secrets, or is_unverified=True behind something "
                "that keeps strangers out.",
            )
        self._shared = (
            credentials.shared_secret(secrets, secret_header, secret_query) if secrets else None
        )
        self._keys = credentials.signing_keys(signing_secrets)
        self._is_custom = is_custom
        self._origins = frozenset(origin.lower() for origin in origins)
        self._rate_per_minute = rate_per_minute
        self._tolerance_s = tolerance_s
        self._now_s = now_s
        self.body_bytes_max = body_bytes_max

    # --- one request -----------------------------------------------------------------------------

    def receive(
        self, method: str, headers: Mapping[str, str], body: bytes, *, query: str = ""
    ) -> Received:
        """Verify one request and read it. `query` is as it stood in the URL, without the `?`.

        Handshakes, farewells and whatever is refused come back with their answer; a delivery comes
        back with its events, and is to be answered with 200 once they are safe. Raises nothing.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        try:
            return self._received(method.upper(), lower, body, query)
        except EventpostError as error:
            return Received(answer=answers.refused(error))

    def _received(
        self, method: str, headers: Mapping[str, str], body: bytes, query: str
    ) -> Received:
        if method not in ("POST", "OPTIONS"):
            return Received(answer=answers.method_not_allowed())
        if len(body) > self.body_bytes_max:
            raise too_large(self.body_bytes_max)
        if self._shared is not None:
            self._shared.check(headers, query)
        if method == "OPTIONS":
            # Nothing is signed in this question; it only asks, and deliveries are verified.
            return Received(answer=self._consent(headers))
        if self._keys:
            standardwebhooks.verify(
                self._keys, headers, body, self._now_s(), tolerance_s=self._tolerance_s
            )
        return self._read(headers, body)

    def _read(self, headers: Mapping[str, str], body: bytes) -> Received:
        kind = headers.get("aeg-event-type", "Notification").lower()
        if kind == "subscriptionvalidation":
            return Received(answer=answers.code_echoed(events.validation_code(body)))
        if kind == "subscriptiondeletion":
            return Received(answer=Answer())
        count = headers.get("aeg-delivery-count", "")
        return Received(
            events=events.read(headers, body, is_custom=self._is_custom),
            subscription=headers.get("aeg-subscription-name", ""),
            attempt=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 0,
        )

    def _consent(self, headers: Mapping[str, str]) -> Answer:
        origin = headers.get("webhook-request-origin", "").strip()
        if not origin:
            return answers.method_not_allowed()
        if not self._origins & {"*", origin.lower()}:
            raise Unauthorized(
                "OriginUnknown",
                "This origin may not deliver here.",
                fix="Name its host in the receiver's `origins`.",
            )
        return answers.consent(origin, self._rate_per_minute)

    # --- behind a framework ----------------------------------------------------------------------

    def asgi(self, handle: AnyHandle) -> "ASGIReceiver":
        """An ASGI application (Starlette, FastAPI): route to it where deliveries arrive.

        `handle` gets one event after the other. A coroutine function is awaited, a plain one runs
        in a thread. What it raises: see `handling`.
        """
        from eventpost.receive.asgi import ASGIReceiver

        return ASGIReceiver(self, handle)

    def wsgi(self, handle: AnyHandle) -> "WSGIApp":
        """A WSGI application (Flask): a view returns it where deliveries arrive."""
        from eventpost.receive import wsgi

        return wsgi.application(self, handle)

    def azure_function(self, handle: Handle) -> "Function":
        """The function of an HTTP trigger of Azure Functions, Python model v1 or v2."""
        from eventpost.receive import azure_functions

        return azure_functions.function(self, handle)

    def async_azure_function(self, handle: AnyHandle) -> "AsyncFunction":
        """The same, as a coroutine function."""
        from eventpost.receive import azure_functions

        return azure_functions.async_function(self, handle)

    def lambda_handler(self, handle: AnyHandle) -> "LambdaHandler":
        """A handler for AWS Lambda behind a function URL, API Gateway or a load balancer."""
        from eventpost.receive import lambda_function

        return lambda_function.handler(self, handle)


def too_large(bytes_max: int) -> EventpostError:
    """The sender makes a dead letter of what is too large: sending it again would not help."""
    error = InvalidRequest("TooLarge", f"The delivery has more than {bytes_max} bytes.")
    error.status = 413
    return error


def _check_texts(**lists: Sequence[str]) -> None:
    """One text in place of a list of texts would be read letter by letter."""
    for name, value in lists.items():
        if isinstance(value, str):
            raise InvalidRequest(
                "NotAList", f"{name} is one text.", fix=f"Write {name}=[...] with one or more."
            )

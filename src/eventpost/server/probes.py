"""What is not under the management prefix: health, metrics, webhook validation, OpenAPI."""

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from eventpost.core.errors import NotFound, Unauthorized
from eventpost.diagnosis import codes
from eventpost.registry.models import HealthView
from eventpost.server import problems
from eventpost.server.authentication import check_token, is_local
from eventpost.server.ports import AppPort
from eventpost.server.status import health

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CURED_BY_NO_RESTART = frozenset({"store-room"})
"""Checks that say nothing about the process: restarting it makes no room on a disk."""
OPENAPI_PATH = "/admin/openapi.json"


class Probes:
    """Routes that need no admin token, each for its own reason."""

    def __init__(self, app: AppPort, document: bytes) -> None:
        self._app = app
        self._document = document

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self.show_liveness, methods=["GET"]),
            Route("/readyz", self.show_readiness, methods=["GET"]),
            Route("/metrics", self.show_metrics, methods=["GET"]),
            Route("/validate/{token}", self.complete_validation, methods=["GET", "POST"]),
            Route(OPENAPI_PATH, self.show_openapi, methods=["GET"]),
        ]

    async def show_liveness(self, request: Request) -> Response:
        """200 while every worker inside does its work, else 503: a restart may help.

        What is wrong is said to callers of this machine and to those with the admin token.
        """
        return self._health(request, without=CURED_BY_NO_RESTART)

    async def show_readiness(self, request: Request) -> Response:
        """200 while events can be published, else 503, with what is wrong as above."""
        return self._health(request)

    async def show_metrics(self, request: Request) -> Response:
        """Prometheus' text format; beyond loopback with the admin token or `metrics.public`."""
        if not (self._app.settings.metrics.public or self._is_trusted(request)):
            return problems.response(
                Unauthorized(
                    codes.ADMIN_UNAUTHORIZED,
                    "Metrics are shown beyond this machine only with the admin token.",
                    fix="Send `Authorization: Bearer TOKEN`, or set metrics.public.",
                )
            )
        return Response(await self._app.metrics(), media_type=METRICS_MEDIA_TYPE)

    async def complete_validation(self, request: Request) -> Response:
        """The consent of a webhook's owner: opened by hand, or called back by the endpoint."""
        if request.method == "HEAD":  # a look, by a link checker for example, is no consent
            return Response()
        if self._app.complete_validation(request.path_params["token"]):
            return PlainTextResponse("The webhook is validated; deliveries begin.\n")
        return problems.response(
            NotFound(
                "ValidationNotFound",
                "No endpoint waits for this validation.",
                why="It was done already, its time is over, or the address is not complete.",
                fix="Look at provisioningState with eventpost subscription show; when it is "
                "Failed, update the endpoint to ask anew.",
            )
        )

    async def show_openapi(self, _: Request) -> Response:
        """The OpenAPI document; it holds nothing that is not public."""
        return Response(self._document, media_type="application/json")

    def _health(self, request: Request, *, without: frozenset[str] = frozenset()) -> Response:
        view = health(self._app, without=without, is_probe=True)
        shown = view if self._is_trusted(request) else HealthView(status=view.status, checks=[])
        return Response(
            msgspec.json.encode(shown),
            200 if view.status == "ok" else 503,
            {"Cache-Control": "no-store"},
            media_type="application/json",
        )

    def _is_trusted(self, request: Request) -> bool:
        if is_local(request):
            return True
        try:
            check_token(request, self._app.admin_token)
        except Unauthorized:
            return False
        return True

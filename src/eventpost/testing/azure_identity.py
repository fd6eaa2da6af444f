"""The places where Azure hands out tokens, for tests: a real HTTP service on loopback.

    with AzureIdentity() as identity:
        for name, value in identity.app_service().items():
            monkeypatch.setenv(name, value)

It is the managed identity service as App Service and virtual machines have it, and the token
endpoint of Microsoft Entra. It speaks their documented protocols: "How to use managed identities
for App Service", "How to use managed identities on a virtual machine", and "OAuth 2.0 client
credentials flow".
"""

import base64
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from eventpost.testing.receiver import Answer, Reaction, Received
from eventpost.testing.scripted import ScriptedService

APP_SERVICE_PATH = "/msi/token"
INSTANCE_PATH = "/metadata/identity/oauth2/token"
TENANT = "11111111-2222-4333-8444-555555555555"
APPLICATION = "99999999-8888-4777-8666-555555555555"
LIFE_S = 24 * 3_600.0
"""As long as the tokens of managed identities."""


def refusal(code: str, error: str = "invalid_client", status: int = 401) -> Answer:
    """What Entra answers when it gives no token; `code` is such as `AADSTS7000215`."""
    text = f"{code}: as told by the test. Trace ID: 00000000-0000-4000-8000-000000000000"
    return _json({"error": error, "error_description": text}, status)


class AzureIdentity(ScriptedService):
    """Listens from when it is made until `close`. For the test's thread.

    `application` is the managed identity, None when the resource has none. `authority` is where
    Entra's tokens say they come from.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        life_s: float = LIFE_S,
    ) -> None:
        self.life_s = life_s
        self.application: str | None = APPLICATION
        self.tokens: list[str] = []
        """All tokens that were handed out."""
        self.tenant = TENANT
        """Whose tokens these are."""
        self.entra_answer: Reaction | None = None
        """What Entra answers to a request for a token, until it is None again."""
        self.assertion: str | None = None
        """The federated token that is taken; None takes any."""
        self._header = secrets.token_hex(16)
        super().__init__(host=host, port=port, tls=tls)

    # --- how a program is pointed to it ----------------------------------------------------------

    def app_service(self) -> dict[str, str]:
        """The environment of an app, a function or a container app with a managed identity."""
        return {
            "IDENTITY_ENDPOINT": self.url + APP_SERVICE_PATH,
            "IDENTITY_HEADER": self._header,
        }

    def instance(self) -> dict[str, str]:
        """The environment of a virtual machine whose metadata service this is."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url}

    def entra(self) -> dict[str, str]:
        """Where Entra is, for a service with TLS: the SDK takes no other."""
        return {"AZURE_AUTHORITY_HOST": self.url, "AZURE_TENANT_ID": TENANT}

    # --- the protocols --------------------------------------------------------------------------

    def answer(self, request: Received) -> Reaction:
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == APP_SERVICE_PATH:
            return self._app_service(request, asked)
        if parts.path == INSTANCE_PATH:
            return self._instance(request, asked)
        if parts.path.endswith("/oauth2/v2.0/token"):
            return self._entra(request) if self.entra_answer is None else self.entra_answer
        if parts.path.endswith("/discovery/instance"):
            return self._discovery(request)
        if parts.path.endswith("/.well-known/openid-configuration"):
            return self._configuration(request)
        return 404

    def _app_service(self, request: Received, asked: dict[str, str]) -> Reaction:
        if request.headers.get("x-identity-header") != self._header:
            return _json({"statusCode": 401, "message": "No Managed Identity header."}, 401)
        if not self._has(asked.get("client_id")):
            text = "No User Assigned or Delegated Managed Identity found for specified ClientId"
            return _json({"statusCode": 400, "message": text}, 400)
        token, expires_s = self._token(asked["resource"])
        return _json(
            {
                "access_token": token,
                "expires_on": str(int(expires_s)),
                "resource": asked["resource"],
                "token_type": "Bearer",
                "client_id": str(self.application),
            }
        )

    def _instance(self, request: Received, asked: dict[str, str]) -> Reaction:
        if request.headers.get("metadata") != "true":
            text = "Required metadata header not specified"
            return _json({"error": "bad_request_102", "error_description": text}, 400)
        if not self._has(asked.get("client_id")):
            return _json(
                {"error": "invalid_request", "error_description": "Identity not found"}, 400
            )
        token, expires_s = self._token(asked["resource"])
        return _json(
            {
                "access_token": token,
                "client_id": str(self.application),
                "expires_in": str(int(self.life_s)),
                "expires_on": str(int(expires_s)),
                "resource": asked["resource"],
                "token_type": "Bearer",
            }
        )

    def _entra(self, request: Received) -> Reaction:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if self.assertion is not None and form.get("client_assertion") != self.assertion:
            return refusal("AADSTS700213: No matching federated identity record found")
        audience = form["scope"].partition(" ")[0].removesuffix("/.default")
        return self.grant(audience, form["client_id"])

    def grant(self, audience: str, application: str) -> Answer:
        """What Entra answers when it gives a token."""
        token, _ = self._token(audience, application)
        answer = {"token_type": "Bearer", "expires_in": int(self.life_s), "access_token": token}
        return _json(answer)

    def _discovery(self, request: Received) -> Reaction:
        host = request.headers["host"]
        names = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        endpoint = f"https://{host}/{TENANT}/v2.0/.well-known/openid-configuration"
        document: dict[str, object] = {
            "tenant_discovery_endpoint": endpoint,
            "metadata": [names],
        }
        return _json(document)

    def _configuration(self, request: Received) -> Reaction:
        base = f"https://{request.headers['host']}/{TENANT}"
        return _json(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
        )

    def _has(self, wanted: str | None) -> bool:
        return self.application is not None and wanted in (None, self.application)

    def _token(self, audience: str, application: str | None = None) -> tuple[str, float]:
        expires_s = time.time() + self.life_s
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self.tenant}/",
            "iat": int(time.time()),
            "nbf": int(time.time()) - 60,
            "exp": int(expires_s),
            "tid": self.tenant,
            "appid": application or self.application,
            "jti": secrets.token_hex(8),
        }
        parts = (
            json.dumps({"alg": "RS256", "typ": "JWT"}),
            json.dumps(claims),
            secrets.token_hex(64),
        )
        made = ".".join(_base64(part.encode()) for part in parts)
        self.tokens.append(made)
        return made, expires_s


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _json(document: Mapping[str, object], status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

"""The places where AWS hands out credentials, for tests: a real HTTP service on loopback.

    with AwsMetadata() as metadata:
        for name, value in metadata.container().items():
            monkeypatch.setenv(name, value)
        ...
        metadata.rotate(); metadata.script(500, HANG)

It is the container credentials service (ECS and EKS Pod Identity) and version 2 of the instance
metadata service. It speaks their documented protocols: "Task IAM role" in the ECS developer guide,
"EKS Pod Identity", and "Use the Instance Metadata Service" in the EC2 user guide.
"""

import json
import secrets
from pathlib import Path

from eventpost.testing.aws_keys import LIFE_S, Issued, Issuer
from eventpost.testing.receiver import HANG, Answer, Reaction, Received
from eventpost.testing.scripted import ScriptedService

CONTAINER_PATH = "/v2/credentials/00000000-0000-4000-8000-000000000000"
POD_PATH = "/v1/credentials"
TOKEN_PATH = "/latest/api/token"  # noqa: S105  # a path
ROLES_PATH = "/latest/meta-data/iam/security-credentials/"
TOKEN_TTL_S_MAX = 21_600


class AwsMetadata(ScriptedService):
    """Listens from when it is made until `close`. For the test's thread.

    `role` is the instance's role, None when it has none. `allows_version_1` answers questions
    without a session token. `loses_token_replies` is what a hop limit of 1 does to a container: the
    answer to the PUT never arrives.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, life_s: float = LIFE_S) -> None:
        self.keys = Issuer(life_s)
        self.role: str | None = "station"
        self.allows_version_1 = False
        self.loses_token_replies = False
        self.is_off = False
        """The instance's metadata service is turned off: 403 to everything."""
        self._authorization = ""
        self._authorization_file: Path | None = None
        self._tokens: set[str] = set()
        super().__init__(host=host, port=port)

    # --- what it answers ------------------------------------------------------------------------

    def rotate(self, *, revoke: bool = False) -> Issued:
        """Hand out new keys from now on; `revoke` ends the earlier ones at once."""
        return self.keys.rotate(revoke=revoke)

    # --- how a program is pointed to it -----------------------------------------------------------

    def container(self, *, token: str = "", token_file: Path | None = None) -> dict[str, str]:
        """The environment of a task or pod whose credentials come from here.

        With `token` the service takes only questions that carry it; with `token_file`, only those
        that carry what the file holds at that moment.
        """
        path = POD_PATH if token_file is not None else CONTAINER_PATH
        environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": self.url + path}
        self._authorization, self._authorization_file = token, token_file
        if token:
            environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token
        if token_file is not None:
            environment["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(token_file)
        return environment

    def instance(self) -> dict[str, str]:
        """The environment of an instance whose metadata service this is."""
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url}

    # --- the protocols --------------------------------------------------------------------------

    def answer(self, request: Received) -> Reaction:
        if request.path in (CONTAINER_PATH, POD_PATH):
            return self._container(request)
        if self.is_off:
            return 403
        if request.path == TOKEN_PATH:
            return self._token(request)
        return self._metadata(request)

    def _container(self, request: Received) -> Reaction:
        wanted = self._authorization
        if self._authorization_file is not None:
            wanted = self._authorization_file.read_text()
        if wanted and request.headers.get("authorization") != wanted:
            return Answer(401, b'{"message":"the authorization token is not valid"}')
        keys = self.keys.current
        return _json(
            {
                "RoleArn": "arn:aws:iam::123456789012:role/station",
                "AccessKeyId": keys.access_key_id,
                "SecretAccessKey": keys.secret_access_key,
                "Token": keys.session_token,
                "Expiration": keys.expiration,
            }
        )

    def _token(self, request: Received) -> Reaction:
        if request.method != "PUT":
            return 405
        ttl = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not ttl.isdecimal() or not 1 <= int(ttl) <= TOKEN_TTL_S_MAX:
            return 400
        if self.loses_token_replies:
            return HANG
        token = secrets.token_urlsafe(40)
        self._tokens.add(token)
        return Answer(200, token.encode())

    def _metadata(self, request: Received) -> Reaction:
        token = request.headers.get("x-aws-ec2-metadata-token")
        if token not in self._tokens and (token is not None or not self.allows_version_1):
            return 401
        if self.role is None:
            return 404
        if request.path == ROLES_PATH:
            return Answer(200, self.role.encode())
        if request.path != ROLES_PATH + self.role:
            return 404
        keys = self.keys.current
        return _json(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": keys.access_key_id,
                "SecretAccessKey": keys.secret_access_key,
                "Token": keys.session_token,
                "Expiration": keys.expiration,
            }
        )


def _json(document: dict[str, str]) -> Answer:
    return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

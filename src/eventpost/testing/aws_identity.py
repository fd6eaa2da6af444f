"""AWS STS and IAM Identity Center, as much as a chain of credentials asks of them, for tests.

`AssumeRole`, `AssumeRoleWithWebIdentity` and `GetCallerIdentity` of the Security Token Service,
`GetRoleCredentials` of IAM Identity Center: each in the form of its public API reference.
"""

import json
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

from eventpost.testing.aws_keys import LIFE_S, Issuer
from eventpost.testing.receiver import Answer, Reaction, Received
from eventpost.testing.scripted import ScriptedService

_ANSWER = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<{action}Result><Credentials><AccessKeyId>{key_id}</AccessKeyId>
<SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>
<Expiration>{expiration}</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/station/session</Arn>
<AssumedRoleId>AROA00000000EXAMPLE:session</AssumedRoleId></AssumedRoleUser>
</{action}Result><ResponseMetadata><RequestId>sts-request</RequestId></ResponseMetadata>
</{action}Response>"""
_CALLER = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/station/session</Arn>
<UserId>AROA00000000EXAMPLE:session</UserId><Account>123456789012</Account>
</GetCallerIdentityResult><ResponseMetadata><RequestId>sts-request</RequestId></ResponseMetadata>
</GetCallerIdentityResponse>"""
_REFUSAL = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
<RequestId>sts-request</RequestId></ErrorResponse>"""


def refusal(code: str, message: str, status: int = 400) -> Answer:
    """What STS answers when it does not do what was asked."""
    return Answer(status, _REFUSAL.format(code=code, message=message).encode())


class AwsIdentity(ScriptedService):
    """Listens from when it is made until `close`. For the test's thread."""

    def __init__(self, *, life_s: float = LIFE_S) -> None:
        self.keys = Issuer(life_s)
        self.web_identity_token: str | None = None
        """The token that is taken; None takes any."""
        self.caller_refusal: Answer | None = None
        """What whoever asks who he is is told instead."""
        super().__init__()

    def environment(self) -> dict[str, str]:
        """Where the SDK is to find these services."""
        return {"AWS_ENDPOINT_URL_STS": self.url, "AWS_ENDPOINT_URL_SSO": self.url}

    def answer(self, request: Received) -> Reaction:
        if urlsplit(request.path).path == "/federation/credentials":
            return self._role_credentials()
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form["Action"] == "GetCallerIdentity":
            return self._caller()
        wanted = self.web_identity_token
        if wanted is not None and form.get("WebIdentityToken") != wanted:
            return refusal("InvalidIdentityToken", "the token is not the one of the pod")
        keys = self.keys.current
        answer = _ANSWER.format(
            action=form["Action"],
            key_id=keys.access_key_id,
            secret=keys.secret_access_key,
            token=keys.session_token,
            expiration=keys.expiration,
        )
        return Answer(200, answer.encode(), {"Content-Type": "text/xml"})

    def _caller(self) -> Answer:
        answer = self.caller_refusal or Answer(200, _CALLER.encode(), {"Content-Type": "text/xml"})
        return Answer(
            answer.status, answer.body, {**answer.headers, "Date": formatdate(usegmt=True)}
        )

    def _role_credentials(self) -> Answer:
        keys = self.keys.current
        credentials = {
            "accessKeyId": keys.access_key_id,
            "secretAccessKey": keys.secret_access_key,
            "sessionToken": keys.session_token,
            "expiration": round(keys.expires_s * 1_000),
        }
        body = json.dumps({"roleCredentials": credentials}).encode()
        return Answer(200, body, {"Content-Type": "application/json"})

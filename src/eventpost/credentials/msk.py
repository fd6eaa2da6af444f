"""Tokens with which Kafka clients sign in to Amazon MSK by IAM, from the SDK's own chain.

Layer: credentials. A token is a presigned URL of `kafka-cluster:Connect`, in base64: the form of
AWS's own signers (aws-msk-iam-sasl-signer-python, aws-msk-iam-auth), which the brokers verify.
"""

import asyncio
import base64
import calendar
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence
from eventpost.core.version import VERSION
from eventpost.credentials import aws, opinions
from eventpost.credentials.aws_session import check_region
from eventpost.credentials.reports import Report
from eventpost.credentials.uncollected import UNCOLLECTED

TOKEN_LIFE_S = 900
"""What AWS's signers ask for, and the longest that brokers take."""
KEYS_RESERVE_S_MAX = 60.0
KEYS_RESERVE_SHARE = 0.1
"""A token ends so long before the keys that signed it, or this share of their time if that is less:
brokers refuse a token whose keys are over, and do not say why."""
RENEW_SHARE = 0.8
"""The share of its life after which a token is replaced, as librdkafka counts too."""

_HOST = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$")
_TOKEN_PROVIDERS = ("kafka.sasl.oauth", "kafka.net.sasl.oauth", "kafka.oauth.abstract")
"""Where kafka-python keeps its `AbstractTokenProvider`: 2.1 and later, 3.0 and later, 2.0."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token. Times are UTC in seconds."""

    value: str = field(repr=False)
    signed_s: float
    expires_s: float
    key_id: str = field(repr=False)

    def is_fresh(self, now_s: float) -> bool:
        """Whether it is young enough to be handed out without making another."""
        return now_s < self.signed_s + RENEW_SHARE * (self.expires_s - self.signed_s)


class MSKTokenProvider:
    """Tokens for one region, made when they are needed and shared until 80 % of their life.

        producer = confluent_kafka.Producer({..., "oauth_cb": provider.oauth_cb})
        producer = KafkaProducer(..., sasl_oauth_token_provider=provider.for_kafka_python())
        producer = AIOKafkaProducer(..., sasl_oauth_token_provider=provider.for_aiokafka())

    Without keys the SDK's chain finds who we are. Keys, and halves of a set, are taken or refused
    as for a connection of kind `aws`. For any thread.
    """

    def __init__(
        self,
        region: str,
        *,
        profile: str = "",
        access_key_id: str = "",
        secret_access_key: str = "",
        session_token: str = "",
        session: aws.Session | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Raises InvalidRequest for a region that there is not, and for half a set of keys.

        `session` instead of profile and keys: one that exists already.
        """
        keys = aws.given(access_key_id, secret_access_key, session_token)
        if session is None:
            session = aws.session(aws.AwsConnection(region=region, profile=profile), keys)
        elif keys is not None or profile:
            raise InvalidRequest(
                "KeysGivenTwice",
                "A session already knows its profile and keys.",
                fix="Give the session, or the profile and keys.",
            )
        check_region(region)
        self.region = region
        self.session = session
        self.failure: Evidence | None = None
        """Why the last token could not be made; Kafka clients lose what `oauth_cb` raises."""
        self.opinion = opinions.of(session, region)
        """What AWS says of the keys, for brokers refuse tokens without a reason."""
        self._now_s = now_s
        self._token: Token | None = None
        self._lock = threading.Lock()
        self.for_kafka_python()

    # --- for Kafka clients ------------------------------------------------------------------------

    def oauth_cb(self, config: str = "") -> tuple[str, float]:
        """For confluent-kafka: the token, and when it expires in seconds UTC."""
        with UNCOLLECTED:
            token = self.current()
            return token.value, token.expires_s

    def token(self) -> str:
        """For kafka-python, which asks at every connection."""
        return self.current().value

    def extensions(self) -> dict[str, str]:
        """What goes along with a token: nothing."""
        return {}

    def for_kafka_python(self) -> "MSKTokenProvider":
        """This object, known to kafka-python as an `AbstractTokenProvider` if it is imported."""
        _register(type(self), *_TOKEN_PROVIDERS)
        return self

    def for_aiokafka(self) -> "AsyncTokens":
        """The same tokens for aiokafka, whose event loop never waits for a credentials service."""
        _register(AsyncTokens, "aiokafka.abc")
        return AsyncTokens(self)

    # --- tokens ---------------------------------------------------------------------------------

    def current(self) -> Token:
        """A token that is valid now: a new one when the one in hand has aged, or the keys changed.

        While new keys cannot be had, the token in hand is given as long as it is valid. Raises what
        the SDK raises when there is none; `failure` holds it as evidence.
        """
        with self._lock:
            try:
                return self._renewed()
            except Exception as error:
                self.failure = aws.evidence_of(
                    error, "connect", credential=self.session.report().link
                )
                held = self._token
                if held is None or self._now_s() >= held.expires_s:
                    raise
                return held

    def report(self) -> Report:
        """Who signs the tokens, and until when. Refreshes nothing, asks nobody."""
        return self.session.report()

    def renew(self) -> None:
        """Forget token and keys: a broker refused them. The next call finds both anew."""
        with self._lock:
            self._token = None
        self.session.renew()

    def _renewed(self) -> Token:
        keys, keys_expire_s = self.session.frozen()
        held = self._token
        if held is None or held.key_id != keys.access_key or not held.is_fresh(self._now_s()):
            self._token = signed(self.region, keys, keys_expire_s)
        self.failure = None
        assert self._token is not None
        return self._token


class AsyncTokens:
    """`AbstractTokenProvider` as aiokafka has it: `token` is a coroutine."""

    def __init__(self, provider: MSKTokenProvider) -> None:
        self._provider = provider

    async def token(self) -> str:
        return await asyncio.to_thread(self._provider.token)

    def extensions(self) -> dict[str, str]:
        return {}


def signed(region: str, keys: aws.Frozen, keys_expire_s: float | None) -> Token:
    """A token of these keys, signed now. Ends with its own life or ahead of the keys'."""
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(
        method="GET",
        url=f"https://kafka.{region}.amazonaws.com/",
        params={"Action": "kafka-cluster:Connect"},
    )
    SigV4QueryAuth(keys, "kafka-cluster", region, expires=TOKEN_LIFE_S).add_auth(request)
    signed_s = calendar.timegm(time.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ"))
    # Appended after signing, as AWS's signers do: brokers leave it out of the signature.
    url = f"{request.url}&User-Agent=eventpost%2F{VERSION}"
    expires_s = float(signed_s + TOKEN_LIFE_S)
    if keys_expire_s is not None:
        reserve_s = min(KEYS_RESERVE_S_MAX, KEYS_RESERVE_SHARE * (keys_expire_s - signed_s))
        expires_s = min(expires_s, keys_expire_s - reserve_s)
    value = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
    return Token(value, float(signed_s), expires_s, keys.access_key)


def region_of_broker(host: str) -> str | None:
    """The region in an MSK broker's host name; None for any other host."""
    found = _HOST.search(host.partition(":")[0].lower())
    return found[1] if found else None


def _register(kind: type, *module_names: str) -> None:
    """Known by isinstance to whichever of these modules is imported; none is imported here."""
    for name in module_names:
        base = getattr(sys.modules.get(name), "AbstractTokenProvider", None)
        register = getattr(base, "register", None)
        if register is not None:
            register(kind)

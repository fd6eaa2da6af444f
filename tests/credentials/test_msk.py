"""Tokens for Amazon MSK: those of AWS's own signer, renewed in time, for every Kafka client."""

import asyncio
import base64
import hashlib
import hmac
import importlib
import subprocess
import sys
import time
import types
import warnings
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import aiokafka.abc
import aiokafka.conn
import botocore.auth
import confluent_kafka
import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import aws
from eventpost.credentials.msk import (
    KEYS_RESERVE_S_MAX,
    RENEW_SHARE,
    TOKEN_LIFE_S,
    region_of_broker,
)
from eventpost.diagnosis.classify import classify
from eventpost.kafka import MSKTokenProvider
from eventpost.testing.aws_metadata import AwsMetadata
from tests.credentials.conftest import Surround

REGION = "us-west-2"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
DUE_S = TOKEN_LIFE_S * RENEW_SHARE


def url_of(token: str) -> str:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()


def without_user_agent(token: str) -> str:
    url, _, agent = url_of(token).rpartition("&User-Agent=")
    assert url, "the agent comes last"
    assert agent
    return url


def signature(token: str, secret: str) -> str:
    """The signature that a broker computes, with the standard library alone."""
    parts = urlsplit(url_of(token))
    left_out = ("X-Amz-Signature=", "User-Agent=")
    query = "&".join(sorted(p for p in parts.query.split("&") if not p.startswith(left_out)))
    values = {name: value[0] for name, value in parse_qs(parts.query).items()}
    empty = hashlib.sha256(b"").hexdigest()
    canonical = f"GET\n/\n{query}\nhost:{parts.netloc}\n\nhost\n{empty}"
    scope = values["X-Amz-Credential"].partition("/")[2]
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{values['X-Amz-Date']}\n{scope}\n{hashed}"
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


class Clock:
    """A time ahead of the machine's."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


# --- the token ----------------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    region=st.sampled_from(["us-west-2", "eu-central-1", "cn-north-1", "us-gov-west-1"]),
    key_id=st.from_regex(r"A[KS]IA[A-Z0-9]{16}", fullmatch=True),
    secret=st.from_regex(r"[A-Za-z0-9+/]{40}", fullmatch=True),
    token=st.from_regex(r"[A-Za-z0-9+/=]{1,300}", fullmatch=True),
    moment=st.datetimes(datetime(2024, 1, 1), datetime(2037, 1, 1)),  # noqa: DTZ001
)
def test_equal_to_the_signer_of_aws(
    region: str, key_id: str, secret: str, token: str, moment: datetime
) -> None:
    """With the same keys at the same time a token is that of AWS's signer, the agent aside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: moment.replace(tzinfo=UTC))
        patch.setenv("AWS_ACCESS_KEY_ID", key_id)
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        patch.setenv("AWS_SESSION_TOKEN", token)
        expected, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
        found = MSKTokenProvider(region, session=aws.Session(aws.AwsConnection())).current()

    assert without_user_agent(found.value) == without_user_agent(expected)
    assert found.expires_s * 1_000 == expires_ms


def test_equal_without_a_session_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long-lived keys make a token without a session token, as AWS's signer does."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    moment = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: moment)

    expected, _ = MSKAuthTokenProvider.generate_auth_token(REGION)
    token, expires_s = MSKTokenProvider(REGION).oauth_cb("")

    assert without_user_agent(token) == without_user_agent(expected)
    assert "X-Amz-Security-Token" not in url_of(token)
    assert expires_s == moment.timestamp() + TOKEN_LIFE_S


def test_a_broker_can_verify_it(metadata: AwsMetadata, surround: Surround) -> None:
    """The signature is the one that a broker computes from the same keys, and from no others."""
    surround(**metadata.container())

    token = MSKTokenProvider(REGION).token()

    sent = parse_qs(urlsplit(url_of(token)).query)
    assert sent["X-Amz-Signature"] == [signature(token, metadata.keys.current.secret_access_key)]
    assert sent["X-Amz-Signature"] != [signature(token, "another")]
    assert sent["X-Amz-Security-Token"] == [metadata.keys.current.session_token]
    assert unquote(sent["User-Agent"][0]).startswith("eventpost/")


# --- renewal ------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(metadata: AwsMetadata, surround: Surround, clock: Clock) -> MSKTokenProvider:
    surround(**metadata.container())
    return MSKTokenProvider(REGION, now_s=clock)


def test_a_token_is_shared_until_it_has_aged(provider: MSKTokenProvider, clock: Clock) -> None:
    """Connections share one token for 80 % of its life; after that each asks for a younger one."""
    first = provider.current()

    clock.ahead_s = DUE_S - 5
    assert provider.current() is first
    clock.ahead_s = DUE_S + 1
    assert provider.current() is not first


def test_a_token_follows_the_keys(provider: MSKTokenProvider, metadata: AwsMetadata) -> None:
    """When the keys rotate, the next token is signed with the new ones, however young the old."""
    metadata.keys.life_s = 660.0  # the SDK refreshes such keys at every use
    metadata.rotate()
    first = provider.current()
    metadata.rotate()

    second = provider.current()

    assert first.key_id != second.key_id == metadata.keys.current.access_key_id


def test_a_token_ends_before_its_keys(provider: MSKTokenProvider, metadata: AwsMetadata) -> None:
    """A token that would outlive its keys is given with an earlier end, so that it is renewed."""
    metadata.keys.life_s = 660.0
    issued = metadata.rotate()

    token, expires_s = provider.oauth_cb("")

    assert expires_s <= int(issued.expires_s) - KEYS_RESERVE_S_MAX
    assert expires_s > time.time() + 500
    assert "X-Amz-Expires=900" in url_of(token)


def test_threads_share_one_token(provider: MSKTokenProvider, metadata: AwsMetadata) -> None:
    """Connections that are opened together ask the credentials service once, for one token."""
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: provider.token(), range(40)))

    assert len(tokens) == 1
    assert len(metadata.asked) == 1


@pytest.mark.slow
def test_an_outage_is_bridged(
    provider: MSKTokenProvider, metadata: AwsMetadata, clock: Clock
) -> None:
    """While no keys can be had, the token in hand is given as long as it is valid, and the reason
    is kept; then it is raised."""
    metadata.keys.life_s = 500.0  # so near its end that a failed refresh is an error
    metadata.rotate()
    held = provider.current()
    metadata.script(*[500] * 6)

    assert provider.current() is held
    assert provider.failure is not None
    assert classify(provider.failure) == "EP4504"
    clock.ahead_s = 600.0
    with pytest.raises(CredentialRetrievalError):
        provider.current()
    provider.current()
    assert provider.failure is None


def test_a_refused_token_is_forgotten(provider: MSKTokenProvider, metadata: AwsMetadata) -> None:
    """After a refusal token and keys are found anew."""
    first = provider.current()
    metadata.rotate(revoke=True)
    assert provider.current() is first

    provider.renew()

    assert provider.current().key_id == metadata.keys.current.access_key_id


def test_no_credentials(surround: Surround) -> None:
    """Without credentials the reason is raised and kept, not a missing attribute."""
    provider = MSKTokenProvider(REGION)

    with pytest.raises(NoCredentialsError):
        provider.token()

    assert provider.failure is not None
    assert classify(provider.failure) == "EP4501"


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("region", ["us-west2", "us-west-2a", "Us-West-2 ", "", "../evil"])
def test_a_region_that_is_none(region: str) -> None:
    """A misspelt region is refused at once, with its number; a token for it never would be."""
    with pytest.raises(InvalidRequest) as caught:
        MSKTokenProvider(region)

    assert caught.value.code == "EP4524"


def test_a_near_region_is_named() -> None:
    """A misspelt region is answered with the nearest ones."""
    with pytest.raises(InvalidRequest, match="us-east-1"):
        MSKTokenProvider("us-east1")


def test_half_a_set_of_keys() -> None:
    """Half a set of keys is refused here as everywhere."""
    with pytest.raises(InvalidRequest, match="secret_access_key is missing"):
        MSKTokenProvider(REGION, access_key_id=KEY_ID)


def test_given_keys() -> None:
    """Complete keys are used, whatever the machine offers."""
    provider = MSKTokenProvider(REGION, access_key_id=KEY_ID, secret_access_key=SECRET)

    assert f"X-Amz-Credential={KEY_ID}%2F" in url_of(provider.token())
    assert provider.session.report().link == "explicit"


def test_a_session_and_keys() -> None:
    """A session already knows its keys: others beside it are refused."""
    session = aws.Session(aws.AwsConnection())

    with pytest.raises(InvalidRequest):
        MSKTokenProvider(REGION, session=session, access_key_id=KEY_ID, secret_access_key=SECRET)
    with pytest.raises(InvalidRequest):
        MSKTokenProvider(REGION, session=session, profile="jobs")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com:9098", "us-east-1"),
        ("boot-abc.c1.kafka-serverless.eu-central-1.amazonaws.com", "eu-central-1"),
        ("b-2.demo.abc123.c3.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
        ("kafka.example.com:9098", None),
        ("b-1.kafka.us-east-1.amazonaws.com.evil.example", None),
    ],
)
def test_the_region_of_a_broker(host: str, region: str | None) -> None:
    """The region is read from the names that MSK gives its brokers, and from no others."""
    assert region_of_broker(host) == region


def test_no_secret_is_shown(provider: MSKTokenProvider) -> None:
    """Neither the token nor a whole key id stands in a printed form."""
    token = provider.current()

    for text in (repr(token), repr(provider), str(vars(provider))):
        assert token.value not in text
        assert token.key_id not in text


# --- Kafka clients ------------------------------------------------------------------------------


@pytest.mark.slow
def test_confluent_kafka_takes_it(provider: MSKTokenProvider, metadata: AwsMetadata) -> None:
    """confluent-kafka calls it while it connects; a producer is made when the token was taken, and
    asks again when the token has aged."""
    metadata.keys.life_s = 660.0
    metadata.rotate()
    calls: list[tuple[str, float]] = []

    def remembered(config: str) -> tuple[str, float]:
        calls.append(provider.oauth_cb(config))
        return calls[-1]

    # Nobody listens there: the token is taken before the first connection.
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": "127.0.0.1:1",
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "OAUTHBEARER",
            "oauth_cb": remembered,
            "log_level": 0,
        }
    )
    producer.purge()

    [(token, expires_s)] = calls
    assert urlsplit(url_of(token)).hostname == f"kafka.{REGION}.amazonaws.com"
    assert time.time() < expires_s < time.time() + TOKEN_LIFE_S


@pytest.mark.slow
def test_kafka_python_takes_it(provider: MSKTokenProvider) -> None:
    """kafka-python 3 takes it for one of its own providers, and sends its token."""
    with warnings.catch_warnings():
        # kafka-python 3.0 reads its files in a way that Python 3.11 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        oauth = importlib.import_module("kafka.net.sasl.oauth")

    made = oauth.SaslMechanismOAuth(sasl_oauth_token_provider=provider.for_kafka_python())

    assert made.auth_bytes() == f"n,,\x01auth=Bearer {provider.token()}\x01\x01".encode()


class AbstractTokenProvider(ABC):
    """As kafka-python 2.x has it, which cannot be installed beside 3.x."""

    @abstractmethod
    def token(self) -> str: ...


@pytest.mark.parametrize("name", ["kafka.sasl.oauth", "kafka.oauth.abstract"])
def test_older_kafka_python_takes_it(
    provider: MSKTokenProvider, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The places where older versions keep their class are known; none of them is imported."""
    module = types.ModuleType(name)
    module.AbstractTokenProvider = AbstractTokenProvider  # type: ignore[attr-defined]  # a module
    monkeypatch.setitem(sys.modules, name, module)

    assert isinstance(provider.for_kafka_python(), AbstractTokenProvider)


def test_aiokafka_takes_it(provider: MSKTokenProvider) -> None:
    """aiokafka takes it for one of its own providers, and awaits its token."""
    tokens = provider.for_aiokafka()

    async def authenticate() -> bytes:
        connection = aiokafka.conn.AIOKafkaConnection(
            "127.0.0.1",
            1,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_provider=tokens,
        )
        message, _ = await connection.authenticator_oauth().step(None)
        return bytes(message)

    assert isinstance(tokens, aiokafka.abc.AbstractTokenProvider)
    assert asyncio.run(authenticate()).startswith(f"n,,\x01auth=Bearer {provider.token()}".encode())


@pytest.mark.slow
def test_nothing_of_kafka_is_imported() -> None:
    """A program that uses tokens pays for no Kafka client that it does not use."""
    program = """
import sys
from eventpost.kafka import MSKTokenProvider
MSKTokenProvider("us-west-2").for_kafka_python()
MSKTokenProvider("us-west-2").for_aiokafka()
sys.exit(any(name in sys.modules for name in ("kafka", "aiokafka", "confluent_kafka")))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

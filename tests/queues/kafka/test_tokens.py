"""When a client needs another token, and what is told of one that was refused."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import botocore.auth
import pytest
from confluent_kafka import KafkaError

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials import aws
from eventpost.credentials.msk import MSKTokenProvider
from eventpost.diagnosis.classify import classify
from eventpost.queues.kafka.refusals import Causes, Logged
from eventpost.queues.kafka.tokens import ASK_AGAIN_S, OTHER_S_MIN, Tokens
from tests.services.aws import REGION

NO_TOKEN = "sasl_ssl://b-1:9098: Failed to acquire SASL OAUTHBEARER token: timed out"


class Clocks:
    """The one that signs, and the one that waits."""

    ahead_s = 0.0
    monotonic = 1_000.0

    def signing(self) -> datetime:
        return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=self.ahead_s)

    def monotonic_s(self) -> float:
        return self.monotonic


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocks]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret that opens nothing")
    clocks = Clocks()
    monkeypatch.setattr(botocore.auth, "get_current_datetime", clocks.signing)
    yield clocks
    aws.close_all()


@pytest.fixture
def tokens(clocks: Clocks) -> Tokens:
    made = Tokens(MSKTokenProvider(REGION), clocks.monotonic_s)
    made.oauth_cb("")
    return made


def test_the_same_keys_at_the_same_time_are_nothing_new(tokens: Tokens) -> None:
    """A token that differs in nothing that brokers look at is not worth another connection."""
    assert not tokens.are_outdated()


@pytest.mark.parametrize("ahead_s", [OTHER_S_MIN + 5, -OTHER_S_MIN - 5])
def test_a_clock_that_was_set(tokens: Tokens, clocks: Clocks, ahead_s: float) -> None:
    """A token that was signed with a wrong clock is replaced once the clock was set."""
    clocks.ahead_s = ahead_s

    assert tokens.are_outdated()


def test_other_keys(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that were replaced are found at once."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAANOTHER")

    assert tokens.are_outdated()


def test_they_are_looked_for_now_and_then(tokens: Tokens, clocks: Clocks) -> None:
    """Between two looks nobody is asked."""
    tokens.are_outdated()
    clocks.ahead_s = 600.0

    assert not tokens.are_outdated()
    clocks.monotonic += ASK_AGAIN_S
    assert tokens.are_outdated()


def test_keys_that_cannot_be_renewed_are_no_refusal_of_kafka() -> None:
    """When no token can be made in mid-run, what fails for it is told by the credentials' own
    finding."""
    causes = Causes()
    causes.credentials = lambda: Evidence(
        stage=Stage.CREDENTIALS,
        fault=Fault.UNAVAILABLE,
        system="aws",
        operation="connect",
        code="ContainerUnreachable",
        detail="nobody listens",
    )
    Logged(causes).log(3, "%s", NO_TOKEN)

    failed = causes.failed(KafkaError(KafkaError._MSG_TIMED_OUT), "send")

    assert isinstance(failed, Failed)
    assert classify(failed.evidence) == "EP4503", failed
    assert failed.evidence.operation == "send"

"""What AWS says of keys that a service refused, as a scripted STS plays it."""

import time
from datetime import UTC, datetime, timedelta

import botocore.auth
import pytest

from eventpost.credentials import aws, opinions
from eventpost.credentials.aws_session import Frozen, new_session
from eventpost.credentials.aws_settings import AwsConnection
from eventpost.credentials.opinions import ASK_S, Opinion, SecondOpinion, opinion_of
from eventpost.diagnosis.classify import classify
from eventpost.testing.aws_identity import AwsIdentity, refusal
from eventpost.testing.receiver import Answer
from tests.credentials.conftest import Surround
from tests.services.aws import REGION

SECRET = "a secret of forty characters and some more"
KEYS = Frozen("ASIA0001EXAMPLE", SECRET, "a session token")
REFUSALS = {
    "expired": (refusal("ExpiredToken", "The security token has expired", 403), "EP4511"),
    "unknown": (refusal("InvalidClientTokenId", "The security token is invalid", 403), "EP4520"),
    "wrong secret": (refusal("SignatureDoesNotMatch", "The signature differs", 403), "EP4518"),
    "clock far behind": (
        refusal("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier", 403),
        "EP4519",
    ),
    "clock far ahead": (
        refusal("SignatureDoesNotMatch", "Signature not yet current: it is still later", 403),
        "EP4519",
    ),
}


@pytest.fixture(autouse=True)
def sts(identity: AwsIdentity, surround: Surround) -> AwsIdentity:
    surround(**identity.environment())
    return identity


def asked() -> Opinion:
    return opinion_of(KEYS, REGION)


def at(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """A machine whose clock is wrong."""
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda: datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=ahead_s),
    )


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_with_keys(sts: AwsIdentity, case: str) -> None:
    """Keys that AWS refuses, too, are told by AWS's own reason."""
    sts.caller_refusal, code = REFUSALS[case]

    found = asked()

    assert found.evidence is not None
    assert classify(found.evidence) == code
    assert SECRET not in repr(found)


def test_good_keys_are_told_by_their_owner() -> None:
    """Nothing is wrong with keys that AWS knows: it is told as whom."""
    found = asked()

    assert found.evidence is None
    assert "arn:aws:sts::123456789012:assumed-role/station" in found.detail


@pytest.mark.parametrize("ahead_s", [600.0, -600.0])
def test_a_clock_that_is_ten_minutes_off(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """STS takes what is up to 15 minutes off, brokers 5: the clock is told all the same."""
    at(monkeypatch, ahead_s)

    found = asked()

    assert found.evidence is not None
    assert classify(found.evidence) == "EP4519"
    assert ("ahead of" if ahead_s > 0 else "behind") in found.detail


@pytest.mark.parametrize("ahead_s", [200.0, -200.0])
def test_a_clock_that_brokers_take(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """A clock that is off by less than brokers allow is not blamed."""
    at(monkeypatch, ahead_s)

    assert asked().evidence is None


def test_an_answer_without_a_time(sts: AwsIdentity) -> None:
    """What a proxy wrote instead of the time is no reason to blame the clock."""
    sts.script(Answer(403, b"", {"Date": "yesterday"}))

    assert asked().evidence is None


def test_nobody_answers(sts: AwsIdentity) -> None:
    """Where STS cannot be reached there is no opinion, and that is said."""
    sts.refuse()

    found = asked()

    assert found.evidence is None
    assert "could not be asked" in found.detail


def test_it_is_asked_once_in_a_while(surround: Surround, sts: AwsIdentity) -> None:
    """However often a broker refuses, STS is asked once in 30 s; an opinion grows old."""
    surround(AWS_ACCESS_KEY_ID="AKIAEXAMPLE", AWS_SECRET_ACCESS_KEY=SECRET)
    now = [0.0]
    session = aws.session(aws.AwsConnection(region=REGION))
    second = SecondOpinion(session, REGION, monotonic_s=lambda: now[0])
    assert second.present is None

    second.ask()
    second.ask()
    wait_for(second)
    now[0] = ASK_S - 1
    second.ask()
    assert len(sts.asked) == 1

    now[0] = 2 * ASK_S
    assert second.present is None
    second.ask()
    wait_for(second)
    assert len(sts.asked) == 2


def test_other_keys_are_another_question(surround: Surround, sts: AwsIdentity) -> None:
    """What was said of keys that are gone is not said of those that came after them."""
    surround(AWS_ACCESS_KEY_ID="AKIAEXAMPLE1", AWS_SECRET_ACCESS_KEY=SECRET)
    session = aws.session(aws.AwsConnection(region=REGION))
    second = SecondOpinion(session, REGION)
    second.ask()
    wait_for(second)

    surround(AWS_ACCESS_KEY_ID="AKIAEXAMPLE2")
    session.renew()
    session.frozen()

    assert second.present is None
    second.ask()
    wait_for(second)
    assert len(sts.asked) == 2


def test_no_keys_are_no_opinion() -> None:
    """Without any keys there is nobody to ask about."""
    second = SecondOpinion(aws.session(aws.AwsConnection(region=REGION)), REGION)

    second.ask()
    wait_for(second)

    assert second.present is not None
    assert second.present.evidence is None


def test_all_queues_of_a_session_share_it() -> None:
    """The opinion belongs to the keys, not to whoever uses them."""
    session = aws.session(aws.AwsConnection(region=REGION))

    assert opinions.of(session, REGION) is opinions.of(session, REGION)


def wait_for(second: SecondOpinion) -> None:
    end_s = time.monotonic() + 120.0
    while second.present is None:
        assert time.monotonic() < end_s, "it was not said"
        time.sleep(0.01)


def test_what_is_read_of_services_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are refused for hours are asked about again and again, by a session of their own
    each time: these share what they read of services, unless they are to look elsewhere."""
    first, second = (new_session(AwsConnection(region=REGION), None) for _ in range(2))
    assert first.get_component("data_loader") is second.get_component("data_loader")

    monkeypatch.setenv("AWS_DATA_PATH", "/nowhere")
    other = new_session(AwsConnection(region=REGION), None).get_component("data_loader")
    assert other is not first.get_component("data_loader")
    assert "/nowhere" in other.search_paths

"""Queues of an Amazon MSK that verifies tokens: whose they are, and keys that change in mid-run."""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import pytest
from msgspec.structs import replace

from eventpost.core.outcomes import Delivered, Failed, Stage
from eventpost.credentials import aws, reports
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message
from eventpost.queues.kafka import KafkaConnection
from eventpost.testing.aws_metadata import AwsMetadata
from tests.conftest import Say
from tests.queues.kafka.groups import (
    REQUEST_MS_MAX,
    Group,
    Members,
    Sending,
    again_count,
    eventually,
)
from tests.queues.kafka.roles import LIFE_S, Role
from tests.services.aws import REGION
from tests.services.kafka import Kafka

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which nobody is signed in."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    aws.close_all()
    yield
    aws.close_all()


@pytest.fixture
def role(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    with AwsMetadata() as metadata:
        for name, value in metadata.container().items():
            monkeypatch.setenv(name, value)
        yield Role(kafka, metadata)


@pytest.fixture
def group(kafka: Kafka) -> Iterator[Group]:
    with Group(kafka, partitions=2) as group:
        group.connection = connection(kafka)
        yield group


def connection(kafka: Kafka) -> KafkaConnection:
    return KafkaConnection(
        bootstrap=(kafka.address("iam"),),
        auth="msk-iam",
        region=REGION,
        ca_file=str(kafka.ca_file),
        request_timeout_ms=15_000,
        config={"broker.address.family": "v4"},
    )


def test_who_signs_is_known(
    kafka: Kafka, group: Group, role: Role, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the first use nobody is asked; after it whoever has the same settings learns which
    link answered and until when, and the log says it once, without a secret."""
    caplog.set_level(logging.INFO, "eventpost.credentials")
    queue = group.queue()
    assert reports.known(connection(kafka)) is None
    assert role.metadata.asked == []

    [outcome] = queue.send([Message(body=b"1")])

    issued = role.metadata.keys.current
    report = reports.known(connection(kafka))
    assert isinstance(outcome, Delivered)
    assert report is not None
    assert (report.link, report.region) == ("container-role", REGION)
    assert report.expires_ms is not None
    assert report.expires_ms / 1000 == pytest.approx(issued.expires_s, abs=1)
    assert caplog.messages == ["credentials.found"]
    assert issued.access_key_id not in str(caplog.records[0].__dict__)


def test_nobody_is_signed_in(group: Group) -> None:
    """Without credentials every call fails for that reason, and says what was looked for, long
    before its time is over; librdkafka alone would wait for that, and lose the reason."""
    group.connection = replace(group.connection, request_timeout_ms=REQUEST_MS_MAX)
    queue = group.queue()

    [sent] = queue.send([Message(body=b"lost?")])
    page = queue.receive(1, 10.0, 60.0)
    rung = queue.probe()[-1]

    assert rung.name == "credentials"
    for failed in (sent, page, rung.failed):
        assert isinstance(failed, Failed)
        assert failed.evidence.stage is Stage.CREDENTIALS
        assert classify(failed.evidence) == "EP4501"


def test_keys_rotate_in_mid_run(group: Group, role: Role, say: Say) -> None:
    """While keys rotate as a platform rotates them, the old ones good a while beside the new ones,
    nothing fails, and nothing is lost."""
    role.metadata.keys.life_s = LIFE_S
    role.rotate()
    with Members(group) as members, Sending(group) as sending:
        member = members.join()
        for _ in range(5):
            count = len(member.done)
            next_s = time.monotonic() + LIFE_S / 2
            eventually(lambda: time.monotonic() > next_s and len(member.done) > count)  # noqa: B023 - called at once
            role.rotate(left=3)
        sending.__exit__()
        eventually(lambda: set(member.numbers()) >= set(sending.confirmed))
        eventually(group.is_finished)

    keys = len(role.metadata.keys.issued)
    say(f"{len(sending.confirmed)} confirmed over {keys} sets of keys")
    assert not sending.failures
    assert not member.failures
    assert again_count(Counter(member.numbers())) == 0


def test_keys_are_revoked_in_mid_run(group: Group, role: Role, say: Say) -> None:
    """When keys are revoked before their time, brokers refuse them, which is told with whose they
    are; new ones are found at once and not when the old token has aged, and nothing is lost."""
    with Members(group) as members, Sending(group) as sending:
        member = members.join()
        eventually(lambda: len(member.done) > 50)
        role.rotate(left=1)
        revoked_s = time.monotonic()
        eventually(lambda: bool(member.failures))
        count = len(sending.confirmed)
        eventually(lambda: len(sending.confirmed) > count + 100)
        found_s = time.monotonic() - revoked_s
        sending.__exit__()
        eventually(lambda: set(member.numbers()) >= set(sending.confirmed))
        eventually(group.is_finished)

    say(f"{len(sending.confirmed)} confirmed, found after {found_s:.0f} s")
    refused = [one for one in member.failures if classify(one.evidence) == "EP4402"]
    assert refused
    assert {one.evidence.credential for one in refused} == {"container-role"}, refused
    again = again_count(Counter(member.numbers()))
    assert again <= len(sending.failures) + member.lost_count + 20


def test_a_clock_that_is_ten_minutes_behind(
    group: Group, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that were signed ten minutes ago are good for five more: brokers take them, and
    nothing is refused. Of a clock that is ahead `tests/sources/test_kafka_keys.py` tells."""
    monkeypatch.setattr(
        botocore.auth,
        "get_current_datetime",
        lambda: datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=10),
    )
    queue = group.queue()

    [sent] = queue.send([Message(body=b"1")])
    page = queue.receive(1, REQUEST_MS_MAX / 1000, 60.0)

    assert isinstance(sent, Delivered), sent
    assert isinstance(page, list), page
    assert [one.body for one in page] == [b"1"]

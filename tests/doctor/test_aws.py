"""An AWS account's ladder, and those of its queues and functions, on moto."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from eventpost.credentials import aws_links
from tests.doctor.wards import black_hole, connected, examined, names, refused_port, verdict
from tests.services.aws import ACCESS_KEY_ID, ACCOUNT_ID, REGION, SECRET_ACCESS_KEY
from tests.services.aws_clients import client
from tests.services.fixtures import OwnServices
from tests.services.moto import Moto, MotoWithPolicies
from tests.services.service import fresh_name

slow = pytest.mark.slow


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)


def config(url: str, queue: str) -> dict[str, object]:
    at = {"connection": "patient", "topic": "songs"}
    return {
        "connections": {"patient": {"kind": "aws", "region": REGION, "endpoint_url": url}},
        "topics": {"songs": {}},
        "sources": {"jobs": {"kind": "sqs", "queue": queue, **at}},
        "subscriptions": {
            "out": {"endpoint_type": "sqs", "endpoint": queue, **at},
            "call": {"endpoint_type": "lambda", "endpoint": queue, **at},
        },
    }


@slow
def test_healthy(moto: Moto, keys: None) -> None:
    """An account and a queue that can be used have no finding; the link that answered is named."""
    queue = fresh_name("queue")
    client(moto.url, "sqs").create_queue(QueueName=queue)
    declared = config(moto.url, queue)

    account, jobs, out = (examined(declared, name) for name in ("patient", "jobs", "out"))

    assert [verdict(each) for each in (account, jobs, out)] == [("", "")] * 3, (account, jobs, out)
    assert names(account) == ["settings", "credentials", "clock", "authentication"]
    assert account.rungs[1].detail.startswith("env (")
    assert ACCOUNT_ID in account.rungs[3].detail
    assert "endpoint" in names(jobs)
    assert names(jobs)[-2:] == ["queue", "authorization"]
    assert jobs.rungs[-1].detail == (
        "send allowed, receive not refused, settle allowed, extend allowed"
    )


@slow
def test_a_missing_queue(moto: Moto, keys: None) -> None:
    """A queue that is not there is told as such."""
    assert verdict(examined(config(moto.url, fresh_name("missing")), "jobs")) == ("queue", "EP4106")


@slow
def test_a_missing_function(moto: Moto, keys: None) -> None:
    """A function that is not there is told, and none is invoked to find out."""
    found = examined(config(moto.url, fresh_name("missing")), "call")

    assert verdict(found) == ("authorization", "EP4155"), found


@slow
def test_a_role_without_the_action(
    own_service: OwnServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An action that is missing is named, with the statement that allows it, while those that are
    there are proven good."""
    service = own_service(MotoWithPolicies).service
    given = user_who_may(service, "sqs:GetQueueUrl", "sqs:CreateQueue", "sqs:ReceiveMessage")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
    client(service.url, "sqs", given["AccessKeyId"], given["SecretAccessKey"]).create_queue(
        QueueName="jobs"
    )

    declared = config(service.url, "jobs")
    found, out = examined(declared, "jobs"), examined(declared, "out")

    assert verdict(found) == ("authorization", "EP4101"), found
    assert found.broken is not None
    assert found.broken.detail.startswith(
        "send refused, receive not refused, settle refused, extend refused."
    )
    assert '"Action":"sqs:DeleteMessage"' in found.broken.detail
    assert {"authentication", "queue"} <= set(found.proven)
    assert verdict(out) == ("authorization", "EP4101"), out
    assert out.broken is not None
    assert '"Action":"sqs:SendMessage"' in out.broken.detail


@slow
def test_a_role_that_may_only_send(
    own_service: OwnServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who only sends has no finding for what it need not do; and asking stores nothing."""
    service = own_service(MotoWithPolicies).service
    # Moto takes a batch for an action of its own, which AWS has not.
    needed = ("sqs:GetQueueUrl", "sqs:SendMessage", "sqs:SendMessageBatch")
    given = user_who_may(service, *needed, "sqs:CreateQueue", "sqs:GetQueueAttributes")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
    own: Any = client(service.url, "sqs", given["AccessKeyId"], given["SecretAccessKey"])
    url = own.create_queue(QueueName="jobs")["QueueUrl"]

    out = examined(config(service.url, "jobs"), "out")

    assert verdict(out) == ("", ""), out
    assert out.rungs[-1].detail.startswith("send allowed, receive refused")
    counts = [f"ApproximateNumberOfMessages{each}" for each in ("", "Delayed", "NotVisible")]
    held = own.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
    assert set(held.values()) == {"0"}


def user_who_may(service: Moto, *actions: str) -> dict[str, str]:
    iam: Any = client(service.url, "iam")
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.create_user(UserName="singer")
    iam.create_policy(PolicyName="songs", PolicyDocument=json.dumps(policy))
    iam.attach_user_policy(UserName="singer", PolicyArn=f"arn:aws:iam::{ACCOUNT_ID}:policy/songs")
    given: dict[str, str] = iam.create_access_key(UserName="singer")["AccessKey"]
    return given


@slow
def test_an_endpoint_behind_a_firewall(keys: None) -> None:
    """A VPC without a way to the service is told at the route of who uses it; the account itself,
    which needs no network, has no fault."""
    with black_hole() as port:
        declared = config(f"http://127.0.0.1:{port}", "jobs")
        jobs, account = examined(declared, "jobs"), examined(declared, "patient")

    assert verdict(jobs) == ("route", "EP2006"), jobs
    assert verdict(account) == ("", ""), account


@slow
@pytest.mark.parametrize("is_named", [True, False])
def test_a_network_without_a_way_to_sts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_named: bool
) -> None:
    """Keys that STS would have to issue, on a network that drops what goes there, or does not know
    its name: that is told, and not that something took too long, as the SDK would wait minutes."""
    token = tmp_path / "token"
    token.write_text("a token")
    monkeypatch.setenv("AWS_ROLE_ARN", f"arn:aws:iam::{ACCOUNT_ID}:role/radio")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    with black_hole() as port:
        host = "127.0.0.1" if is_named else "sts.radio.invalid"
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://{host}:{port}")
        found = examined(config("", "jobs"), "patient")

    assert verdict(found) == ("credentials", "EP4522"), found
    assert host in str(found.broken)


def test_nobody_is_signed_in() -> None:
    """Without credentials every link of the chain says what it has to go by."""
    found = connected({"kind": "aws", "region": REGION})

    assert verdict(found) == ("credentials", "EP4501"), found
    assert found.broken is not None
    for link in ("env", "assume-role-with-web-identity", "container-role", "iam-role"):
        assert f"{link}: " in found.broken.detail


def test_half_of_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key id without its secret is told as half a pair, not as no credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    found = connected({"kind": "aws", "region": REGION})

    assert verdict(found) == ("credentials", "EP4502"), found
    assert found.broken is not None
    assert "AWS_SECRET_ACCESS_KEY is missing beside AWS_ACCESS_KEY_ID" in found.broken.detail


@pytest.mark.parametrize(
    ("settings", "missing", "extra"),
    [
        ({"kind": "aws", "region": REGION}, "botocore", "aws"),
        ({"kind": "aws"}, "botocore", "aws"),
        (
            {"kind": "kafka", "auth": "msk-iam", "region": REGION, "bootstrap": ["127.0.0.1:9"]},
            "botocore",
            "aws",
        ),
        ({"kind": "azure-storage", "account": "bluesradio"}, "azure.identity", "azure"),
    ],
)
def test_a_library_that_is_not_installed(
    settings: dict[str, object], missing: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a connection's library is missing the extra to install is named, and no fault of ours
    is told."""
    for name in list(sys.modules):
        if name == missing or name.startswith(f"{missing}."):
            monkeypatch.setitem(sys.modules, name, None)
    for name in (missing, f"{missing}.session", f"{missing}.config", f"{missing}.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)

    found = connected(settings)

    assert found.broken is not None
    assert verdict(found) == (found.broken.name, "EP6003"), found
    assert found.broken.name in ("settings", "credentials")
    assert f"eventpost[{extra}]" in found.broken.detail


def test_a_misspelt_region() -> None:
    """A region that is none is told on paper; of one that may be new, the nearest ones are."""
    none = connected({"kind": "aws", "region": "us-east1"})
    unknown = connected({"kind": "aws", "region": "eu-wset-1"})

    assert verdict(none) == ("settings", "EP4524"), none
    assert none.broken is not None
    assert "us-east-1" in none.broken.detail
    assert "eu-west-1" in unknown.rungs[0].detail


def test_keys_of_the_environment_that_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that were exported with their end are renewed by nobody: who has them is warned."""
    ends = datetime.now(UTC) + timedelta(minutes=12)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}"
        found = connected({"kind": "aws", "region": REGION, "endpoint_url": url})

    [rung] = [each for each in found.rungs if each.name == "credentials"]
    assert rung.explanation is not None
    assert rung.explanation.code == "EP6005"
    assert "not renewed" in rung.detail


def test_keys_that_end_soon() -> None:
    """Keys that nobody renews and that end within minutes are a warning; renewed ones are none."""
    from eventpost.app.doctor.aws import judged
    from eventpost.credentials.reports import Report
    from eventpost.diagnosis.doctor.ladder import Warned

    fixed = Report(system="aws", link="shared-credentials-file", identity="ASIA****1234")
    renewed = Report(system="aws", link="container-role", is_renewed=True)

    ending = judged(fixed, 1_000.0, 101.0)
    assert isinstance(ending, Warned)
    assert ending.code == "EP6005"
    assert isinstance(judged(fixed, 1_000.0, 99.0), str)
    assert isinstance(judged(renewed, 1_000.0, 999.0), str)


@pytest.mark.parametrize(
    ("environ", "link", "said"),
    [
        ({}, "env", "AWS_ACCESS_KEY_ID is not set"),
        ({"AWS_SECRET_ACCESS_KEY": "x"}, "env", "AWS_ACCESS_KEY_ID is missing beside"),
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token", "AWS_ROLE_ARN": "arn"},
            "assume-role-with-web-identity",
            "/nonexistent/token is not there",
        ),
        (
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/token"},
            "assume-role-with-web-identity",
            "AWS_ROLE_ARN is missing beside",
        ),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "u"}, "container-role", "FULL_URI is set"),
        ({"AWS_EC2_METADATA_DISABLED": "TRUE"}, "iam-role", "turned off"),
        ({"AWS_CONFIG_FILE": "/nonexistent/c", "AWS_PROFILE": "dev"}, "config-file", "profile dev"),
    ],
)
def test_what_each_link_says(environ: dict[str, str], link: str, said: str) -> None:
    """Each link of the chain tells what it finds, by the names of variables and never a value."""
    found = {each.name: each.said for each in aws_links.links(environ)}

    assert said in found[link]

"""The SDK's chain, untouched: which link answers is the SDK's choice, and ours to report."""

import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
import pytest
from botocore.exceptions import EndpointConnectionError

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Stage
from eventpost.credentials import aws
from eventpost.diagnosis.classify import classify
from eventpost.testing.aws_identity import AwsIdentity
from eventpost.testing.aws_metadata import AwsMetadata
from tests.credentials import fresh
from tests.credentials.aws_service import AwsService
from tests.credentials.aws_service import Keys as Known
from tests.credentials.conftest import Surround

REGION = "eu-central-1"


class Machine:
    """What surrounds the program: each method adds one source of credentials to the machine."""

    def __init__(
        self, home: Path, surround: Surround, metadata: AwsMetadata, identity: AwsIdentity
    ) -> None:
        self.home = home
        self.surround = surround
        self.metadata = metadata
        self.identity = identity
        (home / ".aws").mkdir()

    def env(self) -> None:
        self.surround(AWS_ACCESS_KEY_ID="AKIAENV0000000000000", AWS_SECRET_ACCESS_KEY="env")

    def shared_file(self) -> None:
        (self.home / ".aws/credentials").write_text(
            "[default]\naws_access_key_id=AKIASHARED0000000000\naws_secret_access_key=shared\n"
        )

    def config_file(self) -> None:
        self._profile("aws_access_key_id=AKIACONFIG0000000000\naws_secret_access_key=config")

    def process(self) -> None:
        document = {"Version": 1, "AccessKeyId": "AKIAPROCESS000000000", "SecretAccessKey": "p"}
        program = self.home / "process.py"
        program.write_text(f"print('''{json.dumps(document)}''')")
        self._profile(f"credential_process={sys.executable} {program}")

    def sso(self) -> None:
        self.surround(**self.identity.environment())
        self._profile(
            "sso_start_url=https://station.awsapps.com/start\nsso_region=eu-central-1\n"
            "sso_account_id=123456789012\nsso_role_name=station"
        )
        cache = self.home / ".aws/sso/cache"
        cache.mkdir(parents=True)
        token = {"accessToken": "signed-in", "expiresAt": "2099-01-01T00:00:00Z"}
        name = hashlib.sha1(b"https://station.awsapps.com/start").hexdigest()
        (cache / f"{name}.json").write_text(json.dumps(token))

    def assume_role(self) -> None:
        self.surround(**self.identity.environment())
        self._profile(
            "role_arn=arn:aws:iam::123456789012:role/station\nsource_profile=base\n"
            "[profile base]\naws_access_key_id=AKIABASE000000000000\naws_secret_access_key=base"
        )

    def web_identity(self) -> None:
        token = self.home / "web-identity"
        token.write_text("a.b.c")
        self.surround(
            AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
            AWS_ROLE_ARN="arn:aws:iam::123456789012:role/station",
            **self.identity.environment(),
        )

    def container(self) -> None:
        self.surround(**self.metadata.container())

    def instance(self) -> None:
        self.surround(AWS_EC2_METADATA_DISABLED=None, **self.metadata.instance())

    def answered(self) -> dict[str, Any]:
        """The report of a session that was used. botocore finds the cache of SSO's tokens once,
        when it is imported, so that a process of its own is needed for it."""
        if (self.home / ".aws/sso").exists():
            report: dict[str, Any] = fresh.told(aws.AwsConnection(region=REGION))["report"]
            return report
        session = aws.session(aws.AwsConnection(region=REGION))
        assert session.report().link == ""
        session.frozen()
        found: dict[str, Any] = msgspec.to_builtins(session.report())
        return found

    def _profile(self, lines: str) -> None:
        with (self.home / ".aws/config").open("a") as file:
            file.write(f"[default]\n{lines}\n")


@pytest.fixture
def machine(
    home: Path, surround: Surround, metadata: AwsMetadata, identity: AwsIdentity
) -> Machine:
    return Machine(home, surround, metadata, identity)


ORDER: list[tuple[Callable[[Machine], None], str]] = [
    (Machine.env, "env"),
    (Machine.assume_role, "assume-role"),
    (Machine.web_identity, "assume-role-with-web-identity"),
    (Machine.sso, "sso"),
    (Machine.shared_file, "shared-credentials-file"),
    (Machine.process, "custom-process"),
    (Machine.config_file, "config-file"),
    (Machine.container, "container-role"),
    (Machine.instance, "iam-role"),
]
"""The links of the chain in the SDK's order."""
LINKS = [
    pytest.param(source, link, id=link, marks=[pytest.mark.slow] * (link == "sso"))
    for source, link in ORDER
]
FIRST = [
    pytest.param(index, id=link, marks=[pytest.mark.slow] * (link == "sso"))
    for index, (_, link) in enumerate(ORDER)
]
ONE_PROFILE = {"assume-role", "sso", "custom-process", "config-file"}
"""Links that are configured in the one profile: of these a machine has one in these tests."""


@pytest.mark.parametrize(("source", "link"), LINKS)
def test_each_link_is_found_and_reported(
    machine: Machine, source: Callable[[Machine], None], link: str
) -> None:
    """Whatever the platform offers is found, used, and reported in the SDK's own word."""
    source(machine)
    before = dict(os.environ)

    report = machine.answered()

    assert report["link"] == link
    assert re.fullmatch(r"A[KS]IA\*{4}[0-9A-F]{4}", report["identity"])
    assert (report["region"], report["region_from"]) == (REGION, "settings")
    assert dict(os.environ) == before


@pytest.mark.parametrize("first", FIRST)
def test_the_first_link_wins(machine: Machine, first: int) -> None:
    """Of all that a machine offers from this link on, this link is used: the SDK's order holds."""
    link = ORDER[first][1]
    for source, other in ORDER[first:]:
        if other == link or other not in ONE_PROFILE or link not in ONE_PROFILE:
            if other in ONE_PROFILE and (machine.home / ".aws/config").exists():
                continue
            source(machine)
    before = dict(os.environ)

    assert machine.answered()["link"] == link
    assert dict(os.environ) == before


def test_complete_keys_come_before_everything(machine: Machine) -> None:
    """Keys that the user gave completely are used, whatever the machine offers."""
    for source in (Machine.env, Machine.shared_file, Machine.container):
        source(machine)
    keys = aws.given("AKIAGIVEN00000000000", "given")
    session = aws.session(aws.AwsConnection(region=REGION), keys)

    assert session.frozen()[0] == aws.Frozen("AKIAGIVEN00000000000", "given", None)

    report = session.report()
    assert (report.link, report.identity) == ("explicit", "AKIA****0000")
    assert not report.is_renewed
    assert machine.metadata.asked == []


def test_a_role_of_the_container_is_found_when_keys_are_not_given(machine: Machine) -> None:
    """On Fargate nothing is configured but the region, and the task's role is used."""
    machine.container()
    session = aws.session(aws.AwsConnection(region=REGION))

    keys, expires_s = session.frozen()

    issued = machine.metadata.keys.current
    assert keys == (issued.access_key_id, issued.secret_access_key, issued.session_token, None)
    assert expires_s == pytest.approx(issued.expires_s, abs=1)
    assert session.report().is_renewed
    assert session.report().expires_ms == int(issued.expires_s) * 1_000


def test_empty_settings_are_no_keys(machine: Machine) -> None:
    """Settings that a template left empty are no keys: the role is used, not half a set."""
    machine.container()
    settings = {"access_key_id": "", "secret_access_key": "", "session_token": ""}
    session = aws.session(msgspec.convert(settings | {"region": REGION}, aws.AwsConnection))

    session.frozen()

    assert session.report().link == "container-role"


def test_half_a_set_never_becomes_the_role(machine: Machine) -> None:
    """Half a set of keys is refused although the machine has a role, and nobody is asked."""
    machine.container()

    with pytest.raises(InvalidRequest):
        aws.session(aws.AwsConnection(region=REGION, access_key_id="AKIAHALF000000000000"))
    with pytest.raises(InvalidRequest):
        aws.session(aws.AwsConnection(region=REGION), aws.given("AKIAHALF000000000000"))

    assert machine.metadata.asked == []


def test_a_profile_is_passed_on(machine: Machine) -> None:
    """A profile of the settings is the SDK's profile, which then passes over the environment."""
    machine.env()
    (machine.home / ".aws/config").write_text(
        "[profile jobs]\nregion=us-west-2\naws_access_key_id=AKIAJOBS000000000000\n"
        "aws_secret_access_key=jobs\n"
    )
    session = aws.session(aws.AwsConnection(profile="jobs"))

    keys, _ = session.frozen()

    assert keys.access_key == "AKIAJOBS000000000000"
    report = session.report()
    assert (report.region, report.region_from) == ("us-west-2", "profile jobs")


def test_where_the_region_came_from(machine: Machine, surround: Surround) -> None:
    """A region out of the environment is reported with its variable's name."""
    machine.env()
    surround(AWS_DEFAULT_REGION="eu-west-3")
    session = aws.session(aws.AwsConnection())

    session.client("sqs")

    report = session.report()
    assert (report.region, report.region_from) == ("eu-west-3", "AWS_DEFAULT_REGION")
    assert report.endpoint == "https://sqs.eu-west-3.amazonaws.com"


def test_the_endpoint_is_reported(machine: Machine, service: AwsService) -> None:
    """An endpoint of the settings is where calls go, and is reported."""
    machine.env()
    service.keys["AKIAENV0000000000000"] = Known("env")
    session = aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url))

    session.request("sqs", "list_queues")

    assert session.report().endpoint == service.url
    assert service.taken == ["AKIAENV0000000000000"]


def test_a_report_asks_nobody(machine: Machine, metadata: AwsMetadata) -> None:
    """Reporting, before and after the first call, sends nothing to the metadata service."""
    machine.container()
    session = aws.session(aws.AwsConnection(region=REGION))

    session.report()
    assert metadata.asked == []
    session.frozen()
    for _ in range(10):
        session.report()

    assert len(metadata.asked) == 1


def test_a_report_refreshes_nothing(machine: Machine, metadata: AwsMetadata) -> None:
    """Reporting does not refresh keys that are due for it, and tells when they expire."""
    metadata.keys.life_s = 660.0  # within the window in which every use of the keys refreshes them
    metadata.rotate()
    machine.container()
    session = aws.session(aws.AwsConnection(region=REGION))
    session.frozen()
    asked = len(metadata.asked)

    reports = [session.report() for _ in range(10)]

    assert len(metadata.asked) == asked
    assert {report.identity for report in reports} == {reports[0].identity}
    assert reports[0].expires_ms == int(metadata.keys.current.expires_s) * 1_000


def test_one_session_for_the_same_settings() -> None:
    """Same settings, same session, same client; other settings, another one."""
    settings = aws.AwsConnection(region=REGION)
    keys = aws.Keys("AKIAGIVEN00000000000", "given")

    one = aws.session(settings, keys)

    assert aws.session(aws.AwsConnection(region=REGION), keys) is one
    assert one.client("sqs") is one.client("sqs")
    assert one.client("sqs", wait_s=20.0) is not one.client("sqs")
    assert aws.session(aws.AwsConnection(region="us-east-1"), keys) is not one
    assert aws.session(settings, aws.Keys("AKIAOTHER00000000000", "o")) is not one


def test_bounds_reach_the_client() -> None:
    """Timeouts, pool and attempts of the settings are those of the client."""
    settings = aws.AwsConnection(
        region=REGION,
        connect_timeout_s=2.5,
        request_timeout_s=7.0,
        pool_connections_max=33,
        attempts_max=2,
    )
    session = aws.session(settings, aws.Keys("AKIAGIVEN00000000000", "given"))

    config = session.client("sqs", wait_s=20.0).meta.config

    assert (config.connect_timeout, config.read_timeout) == (2.5, 27.0)
    assert config.max_pool_connections == 33
    assert config.retries["total_max_attempts"] == 2
    alone = session.client("sqs", attempts_max=1).meta.config
    assert alone.retries["total_max_attempts"] == 1


def test_a_region_that_is_none() -> None:
    """Nothing is sent for a region that there is not, and the nearest one is named; where the
    endpoint is given, a region may be called anything."""
    keys = aws.Keys("AKIAGIVEN00000000000", "given")
    misspelt = aws.session(aws.AwsConnection(region="us-east1"), keys)
    emulated = aws.AwsConnection(region="elasticmq", endpoint_url="http://127.0.0.1:9")

    with pytest.raises(InvalidRequest, match="us-east1") as caught:
        misspelt.request("sqs", "list_queues")
    evidence = misspelt.failure(caught.value, "send", system="sqs")

    assert classify(evidence) == "EP4524"
    assert evidence.stage is Stage.SETTINGS
    assert "us-east-1" in evidence.detail
    assert aws.session(emulated, keys).client("sqs").meta.region_name == "elasticmq"


@pytest.mark.parametrize(("region", "is_told"), [("eu-wset-1", True), ("eu-west-1", False)])
def test_a_region_that_may_be_new(region: str, *, is_told: bool) -> None:
    """A region that looks like one is asked for; when it has no host, the nearest one is told. Of
    one that the SDK knows nothing is said."""
    session = aws.session(
        aws.AwsConnection(region=region), aws.Keys("AKIAGIVEN00000000000", "given")
    )
    url = session.client("sqs").meta.endpoint_url
    unknown = EndpointConnectionError(endpoint_url=url)
    unknown.__context__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    evidence = session.failure(unknown, "send", system="sqs")

    assert classify(evidence) == "EP2001"
    assert ("near it: eu-west-1" in evidence.detail) is is_told, evidence
    assert ("does not know" in evidence.detail) is is_told


def test_the_sdk_decides_on_retries_when_nobody_else_does() -> None:
    """Without a setting the client has the SDK's own retries, by its own environment."""
    session = aws.session(
        aws.AwsConnection(region=REGION), aws.Keys("AKIAGIVEN00000000000", "given")
    )

    plain = botocore.session.Session().create_client("sqs", region_name=REGION)
    assert session.client("sqs").meta.config.retries == plain.meta.config.retries
    plain.close()

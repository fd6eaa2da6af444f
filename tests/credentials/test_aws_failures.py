"""Every way in which AWS credentials fail, through the real SDK, to the finding that is read."""

import hashlib
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.credentials import aws
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.classify import classify, explain
from eventpost.diagnosis.services.aws import FINDINGS
from eventpost.testing.aws_identity import AwsIdentity, refusal
from eventpost.testing.aws_metadata import AwsMetadata
from eventpost.testing.receiver import HANG, Answer
from tests.credentials import fresh
from tests.credentials.aws_service import AwsService, Keys, error
from tests.credentials.conftest import Surround

REGION = "eu-central-1"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ROLE = "arn:aws:iam::123456789012:role/station"


@dataclass
class Scene:
    """What a case may arrange, and the session that then fails."""

    home: Path
    surround: Surround
    metadata: AwsMetadata
    identity: AwsIdentity
    service: AwsService
    session: aws.Session

    def with_settings(self, **settings: object) -> None:
        values = {"region": REGION, "endpoint_url": self.service.url, **settings}
        self.session = aws.session(aws.AwsConnection(**values))  # type: ignore[arg-type]  # by name

    def config(self, text: str) -> None:
        (self.home / ".aws").mkdir(exist_ok=True)
        (self.home / ".aws/config").write_text(text)

    def env_keys(self) -> None:
        self.surround(AWS_ACCESS_KEY_ID="AKIAENV0000000000000", AWS_SECRET_ACCESS_KEY=SECRET)

    def web_identity(self, token: str | None = "a.b.c") -> None:
        file = self.home / "token"
        if token is not None:
            file.write_text(token)
        self.surround(
            AWS_WEB_IDENTITY_TOKEN_FILE=str(file),
            AWS_ROLE_ARN=ROLE,
            **self.identity.environment(),
        )

    def instance(self) -> None:
        self.surround(AWS_EC2_METADATA_DISABLED=None, **self.metadata.instance())


@pytest.fixture
def scene(
    home: Path,
    surround: Surround,
    metadata: AwsMetadata,
    identity: AwsIdentity,
    service: AwsService,
) -> Scene:
    session = aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url))
    return Scene(home, surround, metadata, identity, service, session)


def evidence_of(scene: Scene) -> Evidence:
    """What a call of this scene fails with."""
    with pytest.raises(Exception) as caught:  # the table must know it
        scene.session.request("sqs", "list_queues")
    found = aws.evidence_of(caught.value, "send", credential=scene.session.report().link)
    assert found is not None, repr(caught.value)
    return found


# --- cases --------------------------------------------------------------------------------------


def nothing(scene: Scene) -> None:
    pass


def secret_without_id(scene: Scene) -> None:
    scene.surround(AWS_SECRET_ACCESS_KEY=SECRET)


def id_without_secret(scene: Scene) -> None:
    scene.surround(AWS_ACCESS_KEY_ID="AKIAENV0000000000000")


def half_a_profile(scene: Scene) -> None:
    scene.config("[default]\naws_access_key_id=AKIACONFIG0000000000\n")


def container_gone(scene: Scene) -> None:
    scene.surround(**scene.metadata.container())
    scene.metadata.refuse()


def container_fails(scene: Scene) -> None:
    scene.surround(**scene.metadata.container())
    scene.metadata.script(*[500] * 3)


def container_path_of_another(scene: Scene) -> None:
    scene.surround(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{scene.metadata.url}/v2/credentials/other")


def container_token_refused(scene: Scene) -> None:
    scene.surround(**scene.metadata.container(token="right"))
    scene.surround(AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong")


def container_is_a_web_page(scene: Scene) -> None:
    scene.surround(**scene.metadata.container())
    scene.metadata.script(*[Answer(200, b"<html>")] * 3)


def container_without_keys(scene: Scene) -> None:
    scene.surround(**scene.metadata.container())
    scene.metadata.script(Answer(200, b'{"Code": "Failed"}'))


def container_elsewhere(scene: Scene) -> None:
    scene.surround(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://192.0.2.1/credentials")


def container_by_name(scene: Scene) -> None:
    scene.surround(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://agent.internal/credentials")


def token_file_missing(scene: Scene) -> None:
    scene.surround(**scene.metadata.container(token_file=scene.home / "not-mounted"))


def token_file_with_line_break(scene: Scene) -> None:
    file = scene.home / "token"
    file.write_text("token\n")
    scene.surround(**scene.metadata.container(token_file=file))


def token_with_line_break(scene: Scene) -> None:
    scene.surround(**scene.metadata.container(token="token\n"))


def container_slow(scene: Scene) -> None:
    scene.surround(**scene.metadata.container())
    scene.metadata.script(*[HANG] * 3)


def hop_limit(scene: Scene) -> None:
    scene.instance()
    scene.metadata.loses_token_replies = True


def hop_limit_and_no_version_1(scene: Scene) -> None:
    hop_limit(scene)
    scene.surround(AWS_EC2_METADATA_V1_DISABLED="true")


def instance_metadata_off(scene: Scene) -> None:
    scene.instance()
    scene.metadata.is_off = True
    scene.surround(AWS_EC2_METADATA_V1_DISABLED="true")


def instance_without_role(scene: Scene) -> None:
    scene.instance()
    scene.metadata.role = None


def instance_address_unusable(scene: Scene) -> None:
    scene.surround(
        AWS_EC2_METADATA_DISABLED=None, AWS_EC2_METADATA_SERVICE_ENDPOINT="169.254.169.254"
    )


def instance_that_stops_answering(scene: Scene) -> None:
    scene.instance()
    scene.metadata.keys.life_s = 900.0
    scene.metadata.rotate()
    scene.session.client("sqs")
    # The SDK gives keys of an instance some time beyond their end: past it, by its own clock.
    scene.session._credentials._expiry_time = scene.session._credentials._time_fetcher()
    scene.metadata.refuse()


def session_token_expired(scene: Scene) -> None:
    scene.surround(
        AWS_ACCESS_KEY_ID="ASIAENV0000000000000",
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_SESSION_TOKEN="expired",
    )


def renewed_but_expired(scene: Scene) -> None:
    scene.metadata.keys.life_s = -60.0
    scene.metadata.rotate()
    scene.surround(**scene.metadata.container())


def profile_unknown(scene: Scene) -> None:
    scene.with_settings(profile="nobody")


def profile_unknown_in_the_environment(scene: Scene) -> None:
    scene.surround(AWS_PROFILE="nobody")


def role_without_source(scene: Scene) -> None:
    scene.config(f"[default]\nrole_arn={ROLE}\nsource_profile=nobody\n")


def broken_file(scene: Scene) -> None:
    scene.config("this is no ini file\n")


def not_signed_in(scene: Scene) -> None:
    scene.config(
        "[default]\nsso_start_url=https://nobody.awsapps.com/start\nsso_region=eu-central-1\n"
        "sso_account_id=123456789012\nsso_role_name=station\n"
    )


def no_web_identity_file(scene: Scene) -> None:
    scene.web_identity(token=None)


def web_identity_without_role(scene: Scene) -> None:
    scene.web_identity()
    scene.surround(AWS_ROLE_ARN=None)


def web_identity_of_another(scene: Scene) -> None:
    scene.web_identity()
    scene.identity.web_identity_token = "x.y.z"


def web_identity_not_trusted(scene: Scene) -> None:
    scene.web_identity()
    text = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    scene.identity.script(refusal("AccessDenied", text, 403))


def web_identity_expired(scene: Scene) -> None:
    scene.web_identity()
    scene.identity.script(refusal("ExpiredTokenException", "Token expired: current date/time"))


def sts_unreachable(scene: Scene) -> None:
    scene.web_identity()
    scene.identity.refuse()
    scene.surround(AWS_MAX_ATTEMPTS="1")


def no_region(scene: Scene) -> None:
    scene.env_keys()
    scene.with_settings(region="", endpoint_url="")


def secret_wrong(scene: Scene) -> None:
    scene.env_keys()
    scene.service.keys["AKIAENV0000000000000"] = Keys("another secret")


def secret_wrong_in_the_newer_protocol(scene: Scene) -> None:
    scene.env_keys()
    scene.service.script(error("InvalidSignatureException", "The request signature we calculated"))


def clock_behind(scene: Scene) -> None:
    scene.env_keys()
    text = "Signature expired: 20261121T100000Z is now earlier than 20261121T100500Z"
    scene.service.script(error("InvalidSignatureException", text))


def clock_ahead(scene: Scene) -> None:
    scene.env_keys()
    text = "Signature not yet current: 20261121T101000Z is still later than 20261121T100500Z"
    scene.service.script(error("InvalidSignatureException", text))


def clock_behind_as_sts_says_it(scene: Scene) -> None:
    scene.env_keys()
    text = "Signature expired: 20261121T100000Z is now earlier than 20261121T104500Z"
    scene.service.script(error("SignatureDoesNotMatch", text))


def clock_far_off(scene: Scene) -> None:
    scene.env_keys()
    scene.service.script(error("RequestTimeTooSkewed", "The difference is too large."))


def key_unknown(scene: Scene) -> None:
    scene.env_keys()


def key_unknown_in_the_newer_protocol(scene: Scene) -> None:
    scene.env_keys()
    scene.service.script(*[error("UnrecognizedClientException", "The token is invalid.")] * 2)


def process_fails(scene: Scene) -> None:
    scene.config("[default]\ncredential_process=/bin/sh -c 'echo vault is sealed >&2; exit 3'\n")


def process_without_secret(scene: Scene) -> None:
    scene.config("""[default]\ncredential_process=/bin/echo '{"Version":1,"AccessKeyId":"A"}'\n""")


def process_missing(scene: Scene) -> None:
    scene.config("[default]\ncredential_process=/not/installed\n")


def process_that_prints_something_else(scene: Scene) -> None:
    scene.config("[default]\ncredential_process=/bin/echo signed in as nobody\n")


def process_without_a_time(scene: Scene) -> None:
    keys = '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","Expiration":"soon"}'
    scene.config(f"[default]\ncredential_process=/bin/echo '{keys}'\n")


def container_without_a_time(scene: Scene) -> None:
    scene.surround(**scene.metadata.container())
    body = b'{"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t", "Expiration": "soon"}'
    scene.metadata.script(Answer(200, body))


def web_identity_that_is_no_text(scene: Scene) -> None:
    scene.web_identity()
    (scene.home / "token").write_bytes(b"\xff\xfe")


def instance_without_a_time(scene: Scene) -> None:
    scene.instance()
    body = b'{"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t", "Expiration": "soon"}'
    scene.metadata.script(Answer(200, b"token"), Answer(200, b"station"), Answer(200, body))


def signed_in_without_the_library(scene: Scene) -> None:
    scene.config("[default]\nlogin_session=arn:aws:iam::123456789012:user/nobody\n")


def secret_reference_to_nothing(scene: Scene) -> None:
    scene.with_settings(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="env:NOT_THERE")


def secret_file_empty(scene: Scene) -> None:
    file = scene.home / "secret"
    file.write_text("\n")
    scene.with_settings(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key=f"file:{file}")


Case = Callable[[Scene], None]
QUICK: list[tuple[Case, str, Fault]] = [
    (nothing, "EP4501", Fault.NOT_FOUND),
    (secret_without_id, "EP4502", Fault.INCOMPLETE),
    (id_without_secret, "EP4502", Fault.INCOMPLETE),
    (half_a_profile, "EP4502", Fault.INCOMPLETE),
    (container_without_keys, "EP4504", Fault.MALFORMED),
    (container_elsewhere, "EP4505", Fault.FORBIDDEN_ADDRESS),
    (container_by_name, "EP4505", Fault.FORBIDDEN_ADDRESS),
    (token_file_missing, "EP4506", Fault.NOT_FOUND),
    (token_file_with_line_break, "EP4506", Fault.MALFORMED),
    (token_with_line_break, "EP4506", Fault.MALFORMED),
    (instance_metadata_off, "EP4509", Fault.REFUSED),
    (instance_without_role, "EP4501", Fault.NOT_FOUND),
    (instance_address_unusable, "EP4523", Fault.MALFORMED),
    (instance_that_stops_answering, "EP4510", Fault.UNAVAILABLE),
    (session_token_expired, "EP4511", Fault.REFUSED),
    (renewed_but_expired, "EP4512", Fault.REFUSED),
    (profile_unknown, "EP4513", Fault.NOT_FOUND),
    (profile_unknown_in_the_environment, "EP4513", Fault.NOT_FOUND),
    (role_without_source, "EP4513", Fault.MALFORMED),
    (broken_file, "EP4513", Fault.MALFORMED),
    (not_signed_in, "EP4514", Fault.NOT_FOUND),
    (no_web_identity_file, "EP4515", Fault.NOT_FOUND),
    (web_identity_without_role, "EP4513", Fault.MALFORMED),
    (web_identity_of_another, "EP4516", Fault.REFUSED),
    (web_identity_not_trusted, "EP4516", Fault.REFUSED),
    (web_identity_expired, "EP4516", Fault.REFUSED),
    (sts_unreachable, "EP4522", Fault.UNAVAILABLE),
    (no_region, "EP4517", Fault.NOT_FOUND),
    (secret_wrong, "EP4518", Fault.REFUSED),
    (secret_wrong_in_the_newer_protocol, "EP4518", Fault.REFUSED),
    (clock_behind, "EP4519", Fault.REFUSED),
    (clock_ahead, "EP4519", Fault.REFUSED),
    (clock_far_off, "EP4519", Fault.REFUSED),
    (clock_behind_as_sts_says_it, "EP4519", Fault.REFUSED),
    (key_unknown, "EP4520", Fault.REFUSED),
    (key_unknown_in_the_newer_protocol, "EP4520", Fault.REFUSED),
    (process_fails, "EP4521", Fault.UNAVAILABLE),
    (process_without_secret, "EP4521", Fault.UNAVAILABLE),
    (process_missing, "EP4521", Fault.NOT_FOUND),
    (process_that_prints_something_else, "EP4521", Fault.MALFORMED),
    (process_without_a_time, "EP4521", Fault.MALFORMED),
    (container_without_a_time, "EP4504", Fault.MALFORMED),
    (web_identity_that_is_no_text, "EP4515", Fault.MALFORMED),
    (instance_without_a_time, "EP4500", Fault.UNEXPECTED),
    (signed_in_without_the_library, "EP4525", Fault.NOT_FOUND),
    (secret_reference_to_nothing, "EP4042", Fault.NOT_FOUND),
    (secret_file_empty, "EP4042", Fault.NOT_FOUND),
]
SLOW: list[tuple[Case, str, Fault]] = [
    (container_gone, "EP4503", Fault.UNAVAILABLE),
    (container_fails, "EP4504", Fault.STATUS),
    (container_path_of_another, "EP4504", Fault.STATUS),
    (container_token_refused, "EP4504", Fault.STATUS),
    (container_is_a_web_page, "EP4504", Fault.MALFORMED),
    (container_slow, "EP4507", Fault.TIMED_OUT),
    (hop_limit, "EP4508", Fault.TIMED_OUT),
    (hop_limit_and_no_version_1, "EP4509", Fault.REFUSED),
]
"""The SDK waits here, by constants of its own."""


def name_of(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize(("arrange", "code", "fault"), QUICK, ids=name_of)
def test_a_failure_is_explained(scene: Scene, arrange: Case, code: str, fault: Fault) -> None:
    """What is wrong with the credentials is told by its number, its cause and its fix."""
    check(scene, arrange, code, fault)


@pytest.mark.slow
@pytest.mark.parametrize(("arrange", "code", "fault"), SLOW, ids=name_of)
def test_a_failure_that_takes_time_is_explained(
    scene: Scene, arrange: Case, code: str, fault: Fault
) -> None:
    """A credentials service that does not answer, or refuses, is told apart from all others."""
    check(scene, arrange, code, fault)


def check(scene: Scene, arrange: Case, code: str, fault: Fault) -> None:
    arrange(scene)

    evidence = evidence_of(scene)

    assert classify(evidence) == code, evidence
    assert evidence.fault is fault
    assert evidence.stage is (Stage.SETTINGS if code == "EP4517" else Stage.CREDENTIALS)
    assert (evidence.system, evidence.operation) == ("aws", "send")
    assert evidence.detail
    assert explain(evidence).fix
    for secret in (SECRET, scene.metadata.keys.current.secret_access_key):
        assert secret not in repr(evidence)


def test_every_finding_of_aws_credentials_has_a_case() -> None:
    """No finding in this range is without a failure of the real SDK that leads to it."""
    reproduced = {code for _, code, _ in [*QUICK, *SLOW]}
    elsewhere = {"EP4524"}  # a region that is none: test_aws_chain.py

    known = {code for code in catalogue.all_codes() if code.startswith("EP45")}
    assert known == {code for code in FINDINGS.values() if code.startswith("EP45")}
    assert known - elsewhere <= reproduced


@pytest.mark.slow
def test_a_sign_in_that_is_over(home: Path) -> None:
    """A sign-in to IAM Identity Center whose time is over is told as one."""
    cache = home / ".aws/sso/cache"
    cache.mkdir(parents=True)
    token = {"accessToken": "signed-in", "expiresAt": "2020-01-01T00:00:00Z"}
    name = hashlib.sha1(b"https://station.awsapps.com/start").hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token))
    (home / ".aws/config").write_text(
        "[default]\nsso_start_url=https://station.awsapps.com/start\nsso_region=eu-central-1\n"
        "sso_account_id=123456789012\nsso_role_name=station\n"
    )

    told = fresh.told(aws.AwsConnection(region=REGION))

    evidence = msgspec.convert(told["evidence"], Evidence)
    assert classify(evidence) == "EP4514"
    assert evidence.fault is Fault.REFUSED


def test_no_secret_is_logged(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged of keys that are found, renewed and refused holds none of them."""
    caplog.set_level(logging.DEBUG, "eventpost")
    scene.surround(**scene.metadata.container())
    scene.service.issuer = scene.metadata.keys
    scene.session.request("sqs", "list_queues")
    scene.metadata.rotate(revoke=True)
    scene.session.request("sqs", "list_queues")

    ours = [record for record in caplog.records if record.name.startswith("eventpost")]

    assert [record.message for record in ours] == ["credentials.found", "credentials.renewed"]
    text = repr([vars(record) for record in ours])
    for issued in scene.metadata.keys.issued:
        for secret in (issued.access_key_id, issued.secret_access_key, issued.session_token):
            assert secret not in text


def test_what_is_set_is_told_by_name(scene: Scene) -> None:
    """When nothing answered, the variables of the chain that are set are named, without values."""
    scene.surround(AWS_ROLE_ARN=ROLE, AWS_CONFIG_FILE="/not/there")

    evidence = evidence_of(scene)

    assert "AWS_ROLE_ARN" in evidence.detail
    assert "AWS_CONFIG_FILE" in evidence.detail
    assert ROLE not in evidence.detail
    assert "AWS_ACCESS_KEY_ID" not in evidence.detail


def test_status_and_elapsed_are_kept(scene: Scene) -> None:
    """The status of a refusal and the request's id go with the evidence."""
    web_identity_not_trusted(scene)

    evidence = evidence_of(scene)

    assert (evidence.status, evidence.request_id) == (403, "sts-request")
    assert evidence.credential == "assume-role-with-web-identity"
    assert "AssumeRoleWithWebIdentity" in evidence.detail


@pytest.mark.slow
def test_the_hop_limit_is_told_with_its_time(scene: Scene) -> None:
    """The time that the metadata service was waited for stands in the explanation."""
    hop_limit(scene)

    evidence = evidence_of(scene)

    assert evidence.elapsed_ms >= 1_000
    assert "hop limit" in explain(evidence).cause


def test_a_signature_s_refusal_tells_no_secret(scene: Scene) -> None:
    """AWS repeats what should have been signed, session token included: it is taken out."""
    token = "FwoGZXIvYXdzEBYaD" + "K7MDENGbPxRfiCY" * 20
    scene.surround(
        AWS_ACCESS_KEY_ID="ASIAENV0000000000000",
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_SESSION_TOKEN=token,
    )
    scene.service.keys["ASIAENV0000000000000"] = Keys("another", token)

    evidence = evidence_of(scene)

    assert classify(evidence) == "EP4518"
    assert "x-amz-security-token:***" in evidence.detail
    assert token[:40] not in evidence.detail
    assert "ASIAENV0000000000000" not in repr(evidence)


@pytest.mark.parametrize("code", ["AccessDenied", "QueueDoesNotExist", "OverLimit", "Throttling"])
def test_other_refusals_are_the_adapter_s(scene: Scene, code: str) -> None:
    """What a service refuses though it knows us is not about credentials."""
    scene.env_keys()
    scene.with_settings(attempts_max=1)
    scene.service.script(error(code, "as told", 400))
    with pytest.raises(ClientError) as caught:
        scene.session.request("sqs", "list_queues")

    assert aws.evidence_of(caught.value, "send") is None


def test_an_unreachable_service_is_the_adapter_s(scene: Scene) -> None:
    """A queue that cannot be reached is no failure of credentials, though the SDK's words for it
    are those of an unreachable token service."""
    scene.env_keys()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        scene.with_settings(endpoint_url=url, attempts_max=1)
        with pytest.raises(EndpointConnectionError) as caught:
            scene.session.request("sqs", "list_queues")

    assert aws.evidence_of(caught.value, "send") is None


@pytest.mark.parametrize("error", [ValueError("Unsupported host 'x'"), KeyError("a")])
def test_errors_of_others_are_not_taken(error: Exception) -> None:
    """Errors that were not raised while credentials were looked for are left alone."""
    assert aws.evidence_of(error, "send") is None


def test_half_a_set_of_settings_is_evidence_too() -> None:
    """Half a set that is noticed only when a queue is opened leads to the same finding."""
    with pytest.raises(Exception, match="incomplete") as caught:
        aws.given("AKIAIOSFODNN7EXAMPLE")

    evidence = aws.evidence_of(caught.value, "send")
    assert evidence is not None
    assert classify(evidence) == "EP4502"

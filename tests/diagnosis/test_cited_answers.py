"""Answers that real services gave and somebody published, through the real client, to the finding.

The answers and where they are told stand in `answers`. Each goes over a real connection: from a
server on loopback that says nothing else, through the SDK, into our adapter.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from eventpost.core.outcomes import Evidence, Failed
from eventpost.credentials import aws, azure
from eventpost.credentials.aws import AwsConnection
from eventpost.destinations.places import parse
from eventpost.destinations.s3 import S3Storage
from eventpost.diagnosis.classify import classify, explain
from eventpost.queues.interfaces import Message
from eventpost.testing.aws_identity import AwsIdentity
from eventpost.testing.aws_metadata import AwsMetadata
from eventpost.testing.azure_identity import APPLICATION, AzureIdentity
from eventpost.testing.destination_conformance import Recorder, delivery
from eventpost.testing.receiver import Answer, Receiver
from tests.destinations.functions import LambdaHarness, subscription
from tests.destinations.test_email import connection as mail_connection
from tests.destinations.test_email import deliver as deliver_mail
from tests.diagnosis.answers import CASES, Case
from tests.queues.sqs.answering import Answer as SqsAnswer
from tests.queues.sqs.answering import AnsweringServer
from tests.queues.sqs.answering import queue as sqs_queue
from tests.services.mailserver import MailServer

pytestmark = pytest.mark.slow

REGION = "eu-central-1"
KEYS = ("LAMBDA_TEST", "SQS_TEST", "S3_TEST")
PREFIXES = ("AWS_", "AZURE_", "IDENTITY_", "MSI_", "IMDS_", "BOTO")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine on which nobody is signed in, with keys that open nothing."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in KEYS:
        monkeypatch.setenv(f"{name}_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        monkeypatch.setenv(f"{name}_SECRET", "a secret")
    monkeypatch.setenv("EVENTPOST_TEST_MAIL", "dust my broom")
    yield tmp_path
    aws.close_all()
    azure.close_all()


def failed(found: object) -> Evidence:
    assert isinstance(found, Failed), found
    return found.evidence


# --- who is asked ---------------------------------------------------------------------------------


def of_sqs(case: Case, _: pytest.MonkeyPatch, __: Path) -> Evidence:
    assert isinstance(case.answer, Answer)
    said = SqsAnswer(case.answer.status, case.answer.body, case.answer.headers)
    missing = SqsAnswer(400, b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}')
    creates = case.asked.endswith("create")
    with AnsweringServer() as server:
        server.script = lambda operation, _: (
            missing if creates and operation == "GetQueueUrl" else said
        )
        queue = sqs_queue(server.url, "jobs", create=True) if creates else sqs_queue(server.url)
        if case.asked.endswith("receive"):
            return failed(queue.receive(10, 0, 30))
        return failed(queue.send([Message(body=b"x")])[0])


def of_lambda(case: Case, _: pytest.MonkeyPatch, __: Path) -> Evidence:
    assert isinstance(case.answer, Answer)
    harness = LambdaHarness()
    harness.receiver.always = case.answer

    async def main() -> object:
        recorder = Recorder()
        recorder.deliver(harness.deliver_to(subscription()), [delivery(1)])
        (outcome,) = await recorder.wait(1)
        harness.leave()
        return outcome

    try:
        return failed(asyncio.run(main()))
    finally:
        harness.receiver.close()


def of_s3(case: Case, _: pytest.MonkeyPatch, __: Path) -> Evidence:
    assert isinstance(case.answer, Answer)
    service = Receiver()
    service.always = case.answer
    settings = AwsConnection(
        region="us-east-1",
        endpoint_url=f"http://127.0.0.1:{service.port}",
        access_key_id="env:S3_TEST_KEY_ID",
        secret_access_key="env:S3_TEST_SECRET",
    )
    try:
        return failed(S3Storage(settings, parse("s3://station/dead")).write("a.json", b"[]"))
    finally:
        service.close()


def of_aws(case: Case, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Evidence:
    """What a call fails with when the chain is answered so."""
    assert isinstance(case.answer, Answer)
    with AwsMetadata() as metadata, AwsIdentity() as identity:
        if case.asked == "aws container":
            around = metadata.container()
            metadata.script(*[case.answer] * 3)
        else:
            (folder / "token").write_text("a.b.c")
            around = {
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
                "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/station",
                **identity.environment(),
            }
            identity.script(*[case.answer] * 3)
        for name, value in around.items():
            monkeypatch.setenv(name, value)
        session = aws.session(AwsConnection(region=REGION, endpoint_url="http://127.0.0.1:9"))
        with pytest.raises(Exception) as caught:  # the table must know it
            session.request("sqs", "list_queues")
        found = aws.evidence_of(caught.value, "send", credential=session.report().link)
    assert found is not None, repr(caught.value)
    return found


def of_azure(case: Case, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Evidence:
    assert isinstance(case.answer, Answer)
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    is_entra = case.asked == "entra token"
    with AzureIdentity(tls=context if is_entra else None) as service:
        around = service.instance()
        if is_entra:
            (folder / "token").write_text("a.b.c")
            around = {
                "REQUESTS_CA_BUNDLE": str(folder / "ca.pem"),
                "AZURE_CLIENT_ID": APPLICATION,
                "AZURE_FEDERATED_TOKEN_FILE": str(folder / "token"),
                **service.entra(),
            }
        for name, value in around.items():
            monkeypatch.setenv(name, value)
        service.script(*[case.answer] * 3)
        session = azure.Session(azure.AzureStorageConnection(account="bluesradio"))
        with pytest.raises(Exception) as caught:  # the table must know it
            session.client("queue", Unused)
    found = azure.evidence_of(caught.value, "send")
    assert found is not None, repr(caught.value)
    return found


class Unused:
    """A client that is never made: there is no token for it."""

    def __init__(self, url: str, credential: object) -> None:
        raise AssertionError(url)

    def close(self) -> None:
        return


def of_mail(case: Case, _: pytest.MonkeyPatch, __: Path) -> Evidence:
    assert isinstance(case.answer, str)
    server = MailServer()
    server.always[case.asked.removeprefix("mail ")] = case.answer
    try:
        (outcome,) = deliver_mail(mail_connection(server.port), [delivery(1)])
    finally:
        server.close()
    return failed(outcome)


ASKING: dict[str, Callable[[Case, pytest.MonkeyPatch, Path], Evidence]] = {
    "sqs": of_sqs,
    "lambda": of_lambda,
    "s3": of_s3,
    "aws": of_aws,
    "azure": of_azure,
    "entra": of_azure,
    "mail": of_mail,
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(each, id=each.name, marks=pytest.mark.cites(each.source)) for each in CASES],
)
def test_a_published_answer_leads_to_its_finding(
    case: Case, monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    """What the real service answered somebody, who told where all can read it, leads through the
    real client to the finding that explains it."""
    evidence = ASKING[case.asked.partition(" ")[0]](case, monkeypatch, machine)

    assert classify(evidence) == case.finding, evidence
    assert explain(evidence).fix
    assert case.source.startswith("https://")

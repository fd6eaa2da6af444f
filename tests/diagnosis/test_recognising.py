"""Pasted errors of the libraries that people use are recognised, and nothing secret comes back.

Where a library can be made to fail here, its own error is what is pasted. Logs of programs that
are not Python's are quoted from public reports, which are named.
"""

import asyncio
import random
import smtplib
import socket
import ssl
import string
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import requests
import urllib3
from azure.identity import DefaultAzureCredential
from azure.storage.queue import QueueClient
from botocore.config import Config
from botocore.exceptions import ClientError
from confluent_kafka import KafkaError, KafkaException

from eventpost.diagnosis import catalogue
from eventpost.diagnosis.clues import CLUES
from eventpost.diagnosis.recognising import FOUND_MAX, TEXT_CHARS_MAX, recognise
from tests.conftest import Say
from tests.doctor.wards import black_hole, closing, peer, refused_port, saying, silent

KEY = "AccountKey=c2VjcmV0c2VjcmV0c2VjcmV0"


def codes(text: str) -> list[str]:
    return [each.code for each in recognise(text)]


def failure(work: Callable[[], object]) -> str:
    """What the traceback of a call that fails ends with, as a log would have it."""
    import traceback

    with pytest.raises(BaseException) as caught:  # whatever the library raises
        work()
    return "".join(traceback.format_exception(caught.value))


# --- libraries that are made to fail --------------------------------------------------------------


def sqs(url: str = "http://127.0.0.1:9", **settings: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=0.2, read_timeout=0.2)
    given = {
        "endpoint_url": url,
        "region_name": "eu-west-1",
        "aws_access_key_id": "AKIAEXAMPLE",
        "aws_secret_access_key": "x",
        "config": config,
        **settings,
    }
    return boto3.session.Session().client("sqs", **given)


def at(port: int, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{port}"


def storage(url: str) -> QueueClient:
    return QueueClient(
        url, "jobs", credential={"account_name": "a", "account_key": "eA=="}, retry_total=0
    )


REFUSED: dict[str, Callable[[int], object]] = {
    "botocore": lambda port: sqs(at(port)).list_queues(),
    "azure-core": lambda port: storage(at(port)).get_queue_properties(),
    "requests": lambda port: requests.get(at(port), timeout=1),
    "httpx": lambda port: httpx.get(at(port)),
    "urllib3": lambda port: urllib3.PoolManager(retries=False).request("GET", at(port)),
    "urllib": lambda port: urllib.request.urlopen(at(port), timeout=1),
    "a socket": lambda port: socket.create_connection(("127.0.0.1", port), timeout=1),
    "asyncio": lambda port: asyncio.run(asyncio.open_connection("127.0.0.1", port)),
    "aiokafka": lambda port: asyncio.run(aiokafka_at(port)),
    "aio-pika": lambda port: asyncio.run(aio_pika_at(port)),
}


async def aiokafka_at(port: int) -> None:
    import logging

    from aiokafka import AIOKafkaProducer

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    said: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.getLogger("aiokafka")
    logger.setLevel(logging.WARNING)
    listening = Listening()
    logger.addHandler(listening)
    producer = AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{port}")
    try:
        await producer.start()
    except Exception as error:
        # As a log has it: the cause stands in a line before what is raised.
        raise RuntimeError("\n".join(said)) from error
    finally:
        logger.removeHandler(listening)
        await producer.stop()


async def aio_pika_at(port: int) -> None:
    import aio_pika

    await aio_pika.connect(f"amqp://guest:guest@127.0.0.1:{port}/")


@pytest.mark.parametrize("library", REFUSED)
def test_a_refused_connection_by_each_library(library: str) -> None:
    """Whatever a library wraps it in, a refused connection is told as one."""
    with refused_port() as port:
        text = failure(lambda: REFUSED[library](port))

    assert codes(text)[0] == "EP2004", text


HTTP_GET: dict[str, Callable[[str], object]] = {
    "requests": lambda url: requests.get(url, timeout=0.2),
    "httpx": lambda url: httpx.get(url, timeout=0.2),
    "urllib3": lambda url: urllib3.PoolManager(retries=False, timeout=0.2).request("GET", url),
}
SCRIPTS = {
    "closes without an answer": (closing, "http", "EP2205"),
    "is silent": (silent, "http", "EP2203"),
    "does not speak TLS": (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "https", "EP2109"),
}


@pytest.mark.parametrize("library", HTTP_GET)
@pytest.mark.parametrize("case", SCRIPTS)
def test_how_an_exchange_ends(library: str, case: str) -> None:
    """A peer that hangs up, one that is silent and one without TLS are told apart."""
    script, scheme, code = SCRIPTS[case]
    with peer(script) as port:
        text = failure(lambda: HTTP_GET[library](at(port, scheme)))

    assert code in codes(text), text


@pytest.mark.parametrize("library", HTTP_GET)
def test_packets_that_are_dropped(library: str) -> None:
    """A connection that nobody answers is told from a refusal."""
    with black_hole() as port:
        text = failure(lambda: HTTP_GET[library](at(port)))

    assert codes(text)[0] == "EP2006", text


@pytest.mark.parametrize("library", HTTP_GET)
def test_a_name_that_nobody_knows(library: str) -> None:
    """A misspelt host is told, by whatever library looked for it."""
    text = failure(lambda: HTTP_GET[library]("http://nosuch.invalid/"))

    assert codes(text)[0] in ("EP2001", "EP2002"), text


def raised(error: Exception) -> object:
    raise error


def refused_by_aws(code: str, operation: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def of_kafka(code: int, text: str | None = None) -> KafkaException:
    return KafkaException(KafkaError(code, text) if text else KafkaError(code))


def kafka_python(name: str) -> Exception:
    import kafka.errors

    error: Exception = getattr(kafka.errors, name)("the topic songs")
    return error


LIBRARIES: dict[str, tuple[Callable[[], object], str]] = {
    "no role may send": (
        lambda: raised(refused_by_aws("AccessDenied", "SendMessage")),
        "EP4101",
    ),
    "no such queue": (
        lambda: raised(refused_by_aws("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl")),
        "EP4106",
    ),
    "a token that has expired": (
        lambda: raised(refused_by_aws("ExpiredToken", "ReceiveMessage")),
        "EP4511",
    ),
    "an unknown key": (
        lambda: raised(refused_by_aws("InvalidClientTokenId", "GetCallerIdentity")),
        "EP4520",
    ),
    "a wrong clock": (
        lambda: raised(refused_by_aws("RequestTimeTooSkewed", "SendMessage")),
        "EP4519",
    ),
    "a function that may not be invoked": (
        lambda: raised(refused_by_aws("AccessDeniedException", "Invoke")),
        "EP4154",
    ),
    "a role that may not be assumed": (
        lambda: raised(refused_by_aws("AccessDenied", "AssumeRole")),
        "EP4516",
    ),
    "no region": (lambda: sqs(region_name=None), "EP4517"),
    "half of the keys": (lambda: sqs(aws_secret_access_key=None), "EP4502"),
    "Kafka: a topic": (
        lambda: raised(of_kafka(KafkaError.TOPIC_AUTHORIZATION_FAILED)),
        "EP4406",
    ),
    "Kafka: a group": (
        lambda: raised(of_kafka(KafkaError.GROUP_AUTHORIZATION_FAILED)),
        "EP4407",
    ),
    "Kafka: who we are": (
        lambda: raised(of_kafka(KafkaError._AUTHENTICATION, "SASL authentication error: no")),
        "EP4402",
    ),
    "Kafka: nobody answers": (
        lambda: raised(of_kafka(KafkaError._ALL_BROKERS_DOWN)),
        "EP4401",
    ),
    "Kafka: too large": (lambda: raised(of_kafka(KafkaError.MSG_SIZE_TOO_LARGE)), "EP4409"),
    "kafka-python: a topic": (
        lambda: raised(kafka_python("TopicAuthorizationFailedError")),
        "EP4406",
    ),
    "kafka-python: bootstrap": (
        lambda: raised(kafka_python("KafkaTimeoutError")),
        "",
    ),
    "the signer of MSK without credentials": (
        lambda: raised(AttributeError("'NoneType' object has no attribute 'access_key'")),
        "EP4501",
    ),
}


@pytest.mark.parametrize("case", LIBRARIES)
def test_errors_of_libraries(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each library's own words for what is wrong lead to its finding."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    work, code = LIBRARIES[case]

    found = codes(failure(work))

    assert found[:1] == ([code] if code else []), found


def test_no_credentials_for_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's "Unable to locate credentials" is known."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    client = sqs(aws_access_key_id=None, aws_secret_access_key=None)

    assert codes(failure(client.list_queues))[0] == "EP4501"


def test_no_credentials_for_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-identity's list of what each link said is known."""
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    credential = DefaultAzureCredential()

    text = failure(lambda: credential.get_token("https://storage.azure.com/.default"))

    assert codes(text)[0] in ("EP4601", "EP4602"), text


def test_a_certificate_that_is_not_trusted() -> None:
    """OpenSSL's refusals are told apart by what it says."""
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with peer(silent, context) as port:
        for get in HTTP_GET.values():
            assert "EP2105" in codes(failure(lambda get=get: get(f"https://localhost:{port}/")))  # type: ignore[misc]  # mypy does not infer a lambda's default


# --- logs of other programs, from public reports ----------------------------------------------

PASTED = Path(__file__).with_name("pasted.txt")


def reports() -> dict[str, tuple[str, str]]:
    """What it is -> the text, and the finding that it comes from."""
    found = {}
    for part in PASTED.read_text(encoding="utf-8").split("\n=== ")[1:]:
        head, _, text = part.partition("\n")
        code, name, source = head.split(" | ")
        assert source, name
        found[name] = text, code
    return found


REPORTS = reports()


@pytest.mark.parametrize("case", REPORTS)
def test_logs_of_other_programs(case: str) -> None:
    """What people paste from logs is recognised without any configuration, surest first."""
    text, code = REPORTS[case]

    found = recognise(text)

    assert found[0].code == code, found
    assert found[0].says


def test_a_log_of_our_own() -> None:
    """A log of eventpost's names its findings itself."""
    assert codes('{"event":"delivery.failed","finding":"EP2503"}') == ["EP2503"]
    assert codes("EP2999 is none, and EP2503 is") == ["EP2503"]


@pytest.mark.parametrize(
    "text", ["", "hello", "all is well: 200 OK", "0" * 10_000, "\x00\x01\xff", "EP0000"]
)
def test_nothing_known(text: str) -> None:
    """What is no error, or none that is known, leads to no finding, and to no guess."""
    assert recognise(text) == []


MAILS = [
    ("EP3402", smtplib.SMTPAuthenticationError(535, b"5.7.8 Error: authentication failed")),
    ("EP3402", smtplib.SMTPAuthenticationError(534, b"5.7.9 Application-specific password needed")),
    ("EP3410", smtplib.SMTPAuthenticationError(454, b"4.7.0 Temporary authentication failure")),
    ("EP3403", smtplib.SMTPSenderRefused(530, b"5.7.0 Authentication Required", "a@b.example")),
    ("EP3401", smtplib.SMTPSenderRefused(530, b"5.7.0 Must issue STARTTLS first", "a@b.example")),
    ("EP3401", smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server.")),
    ("EP3404", smtplib.SMTPNotSupportedError("SMTP AUTH extension not supported by server.")),
    ("EP3404", smtplib.SMTPException("No suitable authentication method found.")),
    ("EP3405", smtplib.SMTPSenderRefused(550, b"5.7.1 not yours", "a@b.example")),
    ("EP3406", smtplib.SMTPRecipientsRefused({"a@b.example": (550, b"5.1.1 nobody here")})),
    ("EP3407", smtplib.SMTPRecipientsRefused({"a@b.example": (450, b"4.2.0 Greylisted")})),
    ("EP3409", smtplib.SMTPDataError(554, b"5.7.1 looks like spam")),
    ("EP3402", "535-5.7.8 Username and Password not accepted."),
]
"""What smtplib raises; the replies are those in `tests/destinations/test_email.py`."""


@pytest.mark.parametrize(("code", "error"), MAILS, ids=str)
def test_a_mail_server_that_refuses(code: str, error: Exception | str) -> None:
    """What a mail server refused is told apart, as it is for mails of eventpost's own."""

    def work() -> None:
        raise error if isinstance(error, Exception) else RuntimeError(error)

    assert codes(failure(work))[0] == code


def test_a_version_is_no_reply_of_a_mail_server() -> None:
    """Numbers that look like a reply, in a text without one, lead to no mail server."""
    assert codes("upgraded libfoo 5.7.1 to 5.7.8, 535 files, 530 of them new") == []


def test_a_cause_outweighs_its_summary() -> None:
    """A library's summary counts only when nothing says more."""
    summary = "kafka.errors.NoBrokersAvailable: NoBrokersAvailable"

    assert codes(summary) == ["EP4401"]
    assert codes(f"{summary}\n[Errno 111] Connection refused") == ["EP2004"]


# --- bounds and secrets ---------------------------------------------------------------------------

SECRETS = [
    KEY,
    "sig=Zm9vYmFyYmF6cXV4",
    "amqp://guest:hunter2hunter2@rabbit.example:5672/",
    "https://user:4242@host.example/path",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
    "password='p4ssw0rd:1234'",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_comes_back(secret: str) -> None:
    """Of what was pasted only codes, a peer and a status come back."""
    found = recognise(f"{secret}\n[Errno 111] Connection refused {secret} ErrorCode:AuthFailure")

    shown = repr(found)
    for word in ("hunter2", "4242", "wJalr", "eyJ", "Zm9v", "c2Vj", "p4ssw0rd", "1234", "guest"):
        assert word not in shown, found


SHAPES = (
    "AccountKey={};",
    "?sv=2024-11-04&sig={}",
    "amqp://guest:{}@rabbit.example:5672/",
    "https://station:{}@host.example/path",
    "https://hooks.example/{}",
    "aws_secret_access_key={}",
    '"SecretAccessKey": "{}"',
    "Authorization: Bearer {}",
    "password='{}'",
    "aeg-sas-key: {}",
    "sasl.password={}",
    "{}",
)
"""How a secret stands in a text."""
LETTERS = string.ascii_letters + string.digits


@pytest.mark.parametrize("case", REPORTS)
def test_no_secret_comes_back_from_any_format(case: str, say: Say) -> None:
    """Wherever in a pasted log a secret stands, in whatever form, it is not told again."""
    seed = random.randrange(2**32)
    say(f"seed {seed}")
    chance = random.Random(seed)
    lines = REPORTS[case][0].splitlines()
    for shape in SHAPES:
        secret = "".join(chance.choices(LETTERS, k=24))
        words = lines[chance.randrange(len(lines))].split(" ")
        words.insert(chance.randrange(len(words) + 1), shape.format(secret))
        place = chance.randrange(len(lines) + 1)
        text = "\n".join([*lines[:place], " ".join(words), *lines[place:]])

        assert secret not in repr(recognise(text)), text


def test_the_peer_is_told() -> None:
    """The address that a text names stands in the finding; a file and its line do not."""
    [found] = recognise('File "/app/worker.py:12"\nConnection to 10.1.2.3:5672 failed: [Errno 111]')

    assert found.address == "10.1.2.3:5672"


@pytest.mark.parametrize(
    "size", [TEXT_CHARS_MAX - 1, TEXT_CHARS_MAX, TEXT_CHARS_MAX + 1, 5_000_000]
)
def test_huge_texts(size: int) -> None:
    """A log of any length is answered from its beginning and its end, in bounded time."""
    text = ("x" * 79 + "\n") * (size // 80) + "[Errno 111] Connection refused"

    assert codes(text[-size:])[0] == "EP2004"


def test_random_bytes() -> None:
    """Whatever is pasted, nothing is raised and at most a few findings come back."""
    seed = random.randrange(10**9)
    chance = random.Random(seed)
    for _ in range(200):
        text = "".join(chance.choices(string.printable, k=2_000))
        assert len(recognise(text)) <= FOUND_MAX, seed


@pytest.mark.parametrize("clue", CLUES, ids=lambda clue: clue.text[:40])
def test_a_clue_is_complete(clue: object) -> None:
    """Every clue leads to a finding that there is, and its needles are in lower case."""
    from eventpost.diagnosis.clues import Clue

    assert isinstance(clue, Clue)
    assert clue.pattern.pattern
    assert clue.needles
    assert all(each == each.lower() for each in clue.needles)
    system, separator, code = clue.finding.partition(":")
    if not separator:
        assert system in catalogue.all_codes()
    elif "{" not in code and system != "status":
        from eventpost.diagnosis import services

        assert services.named(system, code) in catalogue.all_codes()

"""Keys that change while calls are under way: nothing is lost, and nothing is asked too often."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError, NoCredentialsError

from eventpost.credentials import aws
from eventpost.testing.aws_metadata import AwsMetadata
from eventpost.testing.receiver import HANG
from tests.credentials.aws_service import AwsService, Keys
from tests.credentials.conftest import Surround
from tests.patience import NEVER_S

REGION = "eu-central-1"
THREADS = 4
ALWAYS_DUE_S = 660.0
"""Less than the 15 minutes before their end in which every use of keys refreshes them, and more
than the 10 minutes in which a refresh that fails is an error."""
OVERDUE_S = 500.0
"""Less than these 10 minutes."""


@pytest.fixture
def service(metadata: AwsMetadata) -> Iterator[AwsService]:
    with AwsService(metadata.keys) as made:
        yield made


@pytest.fixture
def session(metadata: AwsMetadata, service: AwsService, surround: Surround) -> aws.Session:
    """Of a container whose keys come from `metadata`, to `service`."""
    surround(**metadata.container())
    return aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url))


def calls(session: aws.Session, count: int) -> list[object]:
    """So many calls from several threads; what each answered, or raised."""

    def call(_: int) -> object:
        try:
            return session.request("sqs", "list_queues")
        except (ClientError, CredentialRetrievalError, NoCredentialsError) as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(count)))


def errors(answers: list[object]) -> list[object]:
    return [answer for answer in answers if isinstance(answer, Exception)]


def test_rotation_under_load(
    metadata: AwsMetadata,
    service: AwsService,
    session: aws.Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While keys rotate all the time, every call of every thread is taken."""
    # A refresh that takes longer fails, and the SDK goes on with the keys that it has.
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.TIMEOUT_SECONDS", NEVER_S)
    metadata.keys.life_s = ALWAYS_DUE_S
    metadata.rotate()
    answer = metadata.answer
    rotating = iter(range(1_000))

    def rotate_and_answer(request: object) -> object:
        next(rotating)
        metadata.rotate()
        return answer(request)  # type: ignore[arg-type]  # passed on as it came

    metadata.answer = rotate_and_answer  # type: ignore[method-assign, assignment]  # rotates

    answers = calls(session, 200)

    assert errors(answers) == []
    assert service.refused == []
    assert len(service.taken) == 200
    assert len(set(service.taken)) > 10


def test_keys_revoked_before_their_time(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """Keys that the service suddenly refuses are replaced by one session for all threads, and
    every call is taken at its second try."""
    assert errors(calls(session, 20)) == []
    metadata.rotate(revoke=True)

    answers = calls(session, 200)

    assert errors(answers) == []
    assert 1 <= len(service.refused) <= THREADS
    assert len(metadata.asked) == 2
    assert session.report().identity.endswith(metadata.keys.current.access_key_id[-4:])


def test_the_sdk_alone_would_not_notice(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """The opposite: the plain client goes on with keys that the service refuses."""
    client = session.client("sqs")
    client.list_queues()
    metadata.rotate(revoke=True)

    for _ in range(2):
        with pytest.raises(ClientError, match="ExpiredToken"):
            client.list_queues()

    assert len(service.refused) == 2
    assert len(metadata.asked) == 1


def test_a_refusal_that_stays_is_told(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """When new keys are refused too, the refusal is the caller's, and the metadata service is not
    asked again for each further call."""
    session.request("sqs", "list_queues")
    service.issuer = None

    answers = calls(session, 20)

    assert len(errors(answers)) == 20
    assert len(metadata.asked) == 2


def test_a_later_refusal_renews_again(
    metadata: AwsMetadata, session: aws.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound between two renewals holds until its end and not longer."""
    session.request("sqs", "list_queues")
    now_s = 1_000.0
    monkeypatch.setattr("eventpost.credentials.aws.time.monotonic", lambda: now_s)
    for seconds, is_taken in ((0.0, True), (aws.RENEW_S_MIN - 1, False), (1.0, True)):
        now_s += seconds
        metadata.rotate(revoke=True)

        assert bool(errors(calls(session, 1))) is not is_taken


def test_given_keys_are_not_replaced(service: AwsService) -> None:
    """Keys that the user gave by value and that have expired are told, at the first try: no other
    credentials take their place."""
    keys = aws.given("ASIAGIVEN00000000000", "given", "token")
    session = aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url), keys)

    with pytest.raises(ClientError) as caught:
        session.request("sqs", "list_queues")

    evidence = aws.evidence_of(caught.value, "send", credential=session.report().link)
    assert evidence is not None
    assert (evidence.code, evidence.credential) == ("ExpiredToken", "explicit")
    assert service.refused == ["ASIAGIVEN00000000000"]


def test_a_rotated_shared_file(service: AwsService, home: Path) -> None:
    """Keys of the shared file that were replaced there are found when the old ones are refused."""
    file = home / ".aws/credentials"
    file.parent.mkdir()
    content = "[default]\naws_access_key_id={}\naws_secret_access_key=secret\n"
    file.write_text(content.format("AKIAOLD0000000000000"))
    service.keys["AKIAOLD0000000000000"] = Keys("secret")
    session = aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url))
    session.request("sqs", "list_queues")

    file.write_text(content.format("AKIANEW0000000000000"))
    service.keys = {"AKIANEW0000000000000": Keys("secret")}
    session.request("sqs", "list_queues")

    assert service.taken == ["AKIAOLD0000000000000", "AKIANEW0000000000000"]


def test_rotated_references(service: AwsService, tmp_path: Path) -> None:
    """Keys that settings refer to are read anew for each call; while a file is being replaced, the
    keys in hand are used."""
    key_id, secret = tmp_path / "id", tmp_path / "secret"
    service.keys = {f"AKIA{n}000000000000000": Keys(f"secret{n}") for n in (1, 2)}
    settings = aws.AwsConnection(
        region=REGION,
        endpoint_url=service.url,
        access_key_id=f"file:{key_id}",
        secret_access_key=f"file:{secret}",
    )
    session = aws.session(settings)

    for number in (1, 2):
        key_id.write_text(f"AKIA{number}000000000000000\n")
        secret.write_text(f"secret{number}\n")
        session.request("sqs", "list_queues")
    secret.unlink()
    session.request("sqs", "list_queues")

    assert [each[4] for each in service.taken] == ["1", "2", "2"]
    assert service.refused == []


def test_threads_share_one_walk(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """Many threads that begin together make one session, and ask the metadata service once."""
    answers = calls(session, 40)

    assert errors(answers) == []
    assert len(metadata.asked) == 1


@pytest.mark.slow
def test_threads_share_one_failure(metadata: AwsMetadata, session: aws.Session) -> None:
    """Threads that wait for a walk in vain fail with it, instead of walking one after the other;
    the next call walks again, and finds what has come back."""
    metadata.script(*[500] * 3)
    barrier = threading.Barrier(THREADS)

    def call(_: int) -> object:
        barrier.wait()
        return errors(calls(session, 1))

    with ThreadPoolExecutor(THREADS) as pool:
        failed = list(pool.map(call, range(THREADS)))

    assert all(failed)
    assert len(metadata.asked) == 3
    assert errors(calls(session, 1)) == []


def test_nothing_at_first_is_not_for_ever(
    metadata: AwsMetadata, service: AwsService, surround: Surround
) -> None:
    """A program that starts before its credentials are there finds them when they are."""
    session = aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url))
    with pytest.raises(NoCredentialsError):
        session.request("sqs", "list_queues")

    surround(**metadata.container())
    session.request("sqs", "list_queues")

    assert session.report().link == "container-role"


@pytest.mark.slow
def test_an_outage_while_keys_are_good(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """When a refresh ahead of time fails, calls go on with the keys that are still good."""
    metadata.keys.life_s = ALWAYS_DUE_S
    metadata.rotate()
    session.request("sqs", "list_queues")
    metadata.script(*[500] * 3)

    session.request("sqs", "list_queues")

    assert len(set(service.taken)) == 1
    assert len(service.taken) == 2


@pytest.mark.slow
def test_an_outage_too_near_the_end(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """Within ten minutes of the end a refresh that fails is the caller's error, with the reason,
    and the next call heals."""
    metadata.keys.life_s = OVERDUE_S
    metadata.rotate()
    session.client("sqs")
    metadata.script(*[503] * 3)

    with pytest.raises(CredentialRetrievalError) as caught:
        session.request("sqs", "list_queues")

    evidence = aws.evidence_of(caught.value, "send")
    assert evidence is not None
    assert (evidence.code, evidence.status) == ("ContainerStatus", 503)
    metadata.rotate()
    session.request("sqs", "list_queues")
    assert service.taken == [metadata.keys.current.access_key_id]


@pytest.mark.slow
def test_a_slow_answer_in_between(
    metadata: AwsMetadata, service: AwsService, session: aws.Session
) -> None:
    """One answer that does not come is asked for again by the SDK, and the call is taken."""
    metadata.script(HANG)

    session.request("sqs", "list_queues")

    assert len(service.taken) == 1
    assert len(metadata.asked) == 2


def test_a_changed_token_file(
    metadata: AwsMetadata, service: AwsService, surround: Surround, tmp_path: Path
) -> None:
    """The authorization token of a pod is read anew at each refresh."""
    file = tmp_path / "eks-pod-identity-token"
    file.write_text("first")
    metadata.keys.life_s = ALWAYS_DUE_S
    metadata.rotate()
    surround(**metadata.container(token_file=file))
    session = aws.session(aws.AwsConnection(region=REGION, endpoint_url=service.url))

    for token in ("first", "second"):
        file.write_text(token)
        metadata.rotate()
        session.request("sqs", "list_queues")

    carried = [asked.headers["authorization"] for asked in metadata.asked]
    assert (carried[0], carried[-1]) == ("first", "second")
    assert service.taken[-1] == metadata.keys.current.access_key_id


FORKING = """
import os, sys
from eventpost.credentials import aws
session = aws.session(aws.AwsConnection(region="eu-central-1", endpoint_url=sys.argv[1]))
session.request("sqs", "list_queues")
client = session.client("sqs")
pid = os.fork()
if pid == 0:
    same = aws.session(aws.AwsConnection(region="eu-central-1", endpoint_url=sys.argv[1]))
    fresh = session.report().link == "" and same is session
    session.request("sqs", "list_queues")
    os._exit(0 if fresh and session.client("sqs") is not client else 1)
assert os.waitpid(pid, 0)[1] == 0
session.request("sqs", "list_queues")
"""


@pytest.mark.slow
def test_a_fork_begins_anew(metadata: AwsMetadata, service: AwsService, surround: Surround) -> None:
    """A forked child uses no session, client or socket of its parent's, and the parent goes on."""
    surround(**metadata.container())
    program = textwrap.dedent(FORKING)

    done = subprocess.run([sys.executable, "-c", program, service.url], check=False)

    assert done.returncode == 0
    assert len(service.taken) == 3
    assert len(metadata.asked) == 2


LOCKED = """
import os, sys, threading
from eventpost.credentials import aws
session = aws.session(aws.AwsConnection(region="eu-central-1", endpoint_url=sys.argv[1]))
walking = threading.Thread(target=session.client, args=("sqs",), daemon=True)
walking.start()
sys.stdin.readline()  # the walk is under way
pid = os.fork()
if pid == 0:
    os.environ.pop("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    os.environ.update(AWS_ACCESS_KEY_ID="AKIACHILD00000000000", AWS_SECRET_ACCESS_KEY="child")
    session.request("sqs", "list_queues")
    os._exit(0)
sys.exit(os.waitpid(pid, 0)[1])
"""


@pytest.mark.slow
def test_a_fork_in_the_middle_of_a_walk(
    metadata: AwsMetadata, service: AwsService, surround: Surround
) -> None:
    """A child that was forked while a thread of its parent walked the chain is not locked out."""
    surround(**metadata.container())
    metadata.script(HANG)
    service.keys["AKIACHILD00000000000"] = Keys("child")

    program = textwrap.dedent(LOCKED)
    with subprocess.Popen(
        [sys.executable, "-c", program, service.url], stdin=subprocess.PIPE
    ) as process:
        metadata.wait_for(1)
        process.communicate(b"\n", timeout=120)

    assert process.returncode == 0
    assert service.taken == ["AKIACHILD00000000000"]

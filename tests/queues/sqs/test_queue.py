"""A queue of SQS against the moto server: sent, taken, kept, released, and looked at."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import boto3
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import DELIVERED, Delivered, Failed, Fault
from eventpost.credentials.aws_settings import REQUEST_S_MAX
from eventpost.diagnosis.classify import classify, explain
from eventpost.queues.interfaces import Depth, Message, Permission, Received, Rung, Settled
from eventpost.queues.sqs import SqsQueue
from eventpost.queues.sqs.forms import MESSAGE_BYTES_MAX, Receipt
from eventpost.testing.fault_proxy import FaultProxy
from tests.patience import PATIENCE_S
from tests.queues.sqs.answering import REGION, connection, queue, queue_of
from tests.services.fixtures import OwnServices
from tests.services.moto import (
    ACCESS_KEY_ID,
    ACCOUNT_ID,
    SECRET_ACCESS_KEY,
    Moto,
    MotoWithPolicies,
)
from tests.services.service import fresh_name

pytestmark = pytest.mark.slow

RECEIVE = "ReceiveMessage"


@pytest.fixture(scope="module")
def client(moto: Moto) -> Any:
    return boto3.client(
        "sqs",
        endpoint_url=moto.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


@pytest.fixture
def name(client: Any) -> str:
    made = fresh_name("jobs")
    client.create_queue(QueueName=made)
    return made


@pytest.fixture
def jobs(moto: Moto, name: str) -> Iterator[SqsQueue]:
    opened = queue(moto.url, name)
    yield opened
    opened.close()


@pytest.fixture
def line(moto: Moto) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", moto.ports["http"]) as made:
        yield made


@pytest.fixture
def far(line: FaultProxy, client: Any) -> Iterator[SqsQueue]:
    """A queue behind a line that a test may freeze: its calls outlast any test by themselves."""
    name = fresh_name("far")
    client.create_queue(QueueName=name)
    settings = connection(f"http://{line.host}:{line.port}", request_timeout_s=REQUEST_S_MAX)
    opened = queue_of(settings, name)
    assert opened.receive(1, 0, 30) == []  # its URL is known from here on
    line.requests.clear()
    yield opened
    opened.close()


@pytest.fixture
def fifo(moto: Moto, client: Any) -> Iterator[SqsQueue]:
    made = fresh_name("jobs") + ".fifo"
    client.create_queue(QueueName=made, Attributes={"FifoQueue": "true"})
    opened = queue(moto.url, made)
    yield opened
    opened.close()


def received(one: SqsQueue, count: int, *, lease_s: float = 30) -> list[Received]:
    found: list[Received] = []
    end_s = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < end_s, f"{len(found)} of {count} came"
        page = one.receive(10, 1, lease_s)
        assert isinstance(page, list), page
        found += page
    return found


def names(rungs: list[Rung]) -> list[str]:
    return [rung.name for rung in rungs]


# --- the way of a message -------------------------------------------------------------------------


def test_the_way_of_a_message(jobs: SqsQueue) -> None:
    """What is sent arrives as it was, is kept, is given back, comes again, and is gone once
    settled."""
    assert list(
        jobs.send([Message(body=b"{}", attributes={"a": 1, "b": b"\0"}, content_type="text/x")])
    ) == [DELIVERED]

    (one,) = received(jobs, 1)
    assert (one.body, one.attributes, one.content_type) == (b"{}", {"a": "1", "b": b"\0"}, "text/x")
    assert one.receive_count == 1
    assert jobs.extend([one], 40) == [Settled.DONE]
    assert jobs.release([one], 0) == [Settled.DONE]
    (again,) = received(jobs, 1)
    assert (again.id, again.receive_count) == (one.id, 2)
    assert jobs.settle([again]) == [Settled.DONE]

    assert jobs.receive(10, 0, 30) == []


def test_many_at_once(jobs: SqsQueue) -> None:
    """More messages than one request holds are sent, taken and settled, each once."""
    bodies = [str(i).encode() for i in range(25)]

    outcomes = jobs.send([Message(body=body) for body in bodies])
    held = received(jobs, 25)

    assert all(isinstance(one, Delivered) for one in outcomes)
    assert sorted(one.body for one in held) == sorted(bodies)
    assert jobs.extend(held, 40) == [Settled.DONE] * 25
    assert jobs.settle(held) == [Settled.DONE] * 25


def test_a_bad_message_does_not_touch_the_others(jobs: SqsQueue) -> None:
    """One that SQS would refuse with its whole batch fails alone, and for good."""
    outcomes = jobs.send([Message(body=b"a"), Message(body=b"\x01"), Message(body=b"c")])

    assert [isinstance(one, Delivered) for one in outcomes] == [True, False, True]
    assert isinstance(outcomes[1], Failed)
    assert classify(outcomes[1].evidence) == "EP4111"
    assert {one.body for one in received(jobs, 2)} == {b"a", b"c"}


@pytest.mark.parametrize("size", [MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX])
def test_the_largest_messages(jobs: SqsQueue, size: int) -> None:
    """Messages as large as SQS takes go, each in a request of its own."""
    outcomes = jobs.send([Message(body=b"x" * size), Message(body=b"y" * size)])

    assert [type(one) for one in outcomes] == [Delivered, Delivered]
    assert {len(one.body) for one in received(jobs, 2)} == {size}


def test_a_message_that_is_too_large(jobs: SqsQueue) -> None:
    """One byte more is refused before anything is sent."""
    (outcome,) = jobs.send([Message(body=b"x" * (MESSAGE_BYTES_MAX + 1))])

    assert isinstance(outcome, Failed)
    assert outcome.final
    assert classify(outcome.evidence) == "EP4112"
    assert jobs.receive(10, 0, 30) == []


def test_a_delay(jobs: SqsQueue) -> None:
    """A message with a delay does not come before its time, and comes then."""
    sent_s = time.monotonic()
    jobs.send([Message(body=b"x", delay_s=1.5)])
    assert jobs.receive(10, 0, 30) == []

    (one,) = received(jobs, 1)

    assert one.body == b"x"
    assert time.monotonic() - sent_s >= 1.5


def test_fifo(fifo: SqsQueue) -> None:
    """A group stays in order, and waits for its first message; a repeat within five minutes is
    taken for the same message."""
    messages = [Message(body=b"%d" % i, group="g", deduplication_id=f"d{i}") for i in range(3)]
    fifo.send([*messages, messages[0]])

    page = received(fifo, 3)

    assert [one.body for one in page] == [b"0", b"1", b"2"]
    assert {one.group for one in page} == {"g"}
    assert fifo.traits.delay_s_max == 0
    assert fifo.release(page, 0) == [Settled.DONE] * 3
    assert [one.body for one in received(fifo, 3)] == [b"0", b"1", b"2"]


def test_fifo_without_a_deduplication_id(fifo: SqsQueue) -> None:
    """SQS's word about what a FIFO queue lacks leads to its own finding."""
    (outcome,) = fifo.send([Message(body=b"x", group="g")])

    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP4114"


# --- waiting --------------------------------------------------------------------------------------


def test_a_wait_ends_when_a_message_comes(jobs: SqsQueue, line: FaultProxy, far: SqsQueue) -> None:
    """A long poll answers as soon as there is a message: before one that began earlier, and to
    which nothing came."""
    with ThreadPoolExecutor(2) as pool:
        longer = pool.submit(jobs.receive, 10, 20, 60)
        waiting = pool.submit(far.receive, 10, 20, 60)
        line.wait_for(RECEIVE)
        far.send([Message(body=b"x")])
        page = waiting.result(PATIENCE_S)
        was_longer = not longer.done()
        jobs.close()

    assert isinstance(page, list)
    assert [one.body for one in page] == [b"x"]
    assert was_longer


def test_a_wait_ends_when_woken(line: FaultProxy, far: SqsQueue) -> None:
    """A wait whose poll is never answered ends when woken; what its poll still brings is not
    lost."""
    with ThreadPoolExecutor(1) as pool:
        line.freeze()
        waiting = pool.submit(far.receive, 10, 20, 60)
        line.wait_for(RECEIVE)
        far.wake()
        assert waiting.result(PATIENCE_S) == []
    line.thaw()

    far.send([Message(body=b"x")])

    assert [one.body for one in received(far, 1)] == [b"x"]
    assert len(line.asked_for(RECEIVE)) == 1


def test_a_wait_ends_when_closed(line: FaultProxy, far: SqsQueue) -> None:
    """Closing ends a wait whose poll is never answered, with a failure."""
    with ThreadPoolExecutor(1) as pool:
        line.freeze()
        waiting = pool.submit(far.receive, 10, 20, 600)
        line.wait_for(RECEIVE)
        far.close()
        page = waiting.result(PATIENCE_S)

    assert isinstance(page, Failed)
    assert page.evidence.fault is Fault.CLOSED


def test_what_arrives_after_the_end_is_given_back(
    moto: Moto, name: str, line: FaultProxy, far: SqsQueue
) -> None:
    """A message that a poll brings after its queue was closed is there for others at once, not
    only when its lease of ten minutes is over."""
    second = queue(moto.url, name)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(far.receive, 10, 20, 600)
        line.wait_for(RECEIVE)
        far.close()
        assert isinstance(waiting.result(PATIENCE_S), Failed)

    second.send([Message(body=b"x")])

    assert [one.body for one in received(second, 1)] == [b"x"]
    second.close()


# --- addresses ------------------------------------------------------------------------------------


def test_name_url_and_arn_are_the_same_queue(moto: Moto, client: Any, name: str) -> None:
    """A queue is found by its name, its URL and its ARN; all three have one identity."""
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}"
    opened = [queue(moto.url, address) for address in (name, url, arn)]
    opened[0].send([Message(body=b"x")])

    for one in opened:
        (held,) = received(one, 1)
        assert one.release([held], 0) == [Settled.DONE]

    assert len({one.identity for one in opened}) == 1
    assert opened[0].identity == f"sqs:{moto.url}/{ACCOUNT_ID}/{name}"


def test_a_wrong_name(moto: Moto) -> None:
    """A queue that does not exist is told within a request, and nothing is made."""
    missing = queue(moto.url, fresh_name("missing"))

    (outcome,) = missing.send([Message(body=b"x")])
    page = missing.receive(1, 0, 30)

    for failed in (outcome, page):
        assert isinstance(failed, Failed)
        assert classify(failed.evidence) == "EP4106"


def test_a_wrong_region(moto: Moto, name: str) -> None:
    """A queue of another region is not there: each region has its own."""
    arn = f"arn:aws:sqs:eu-west-1:{ACCOUNT_ID}:{name}"
    page = queue(moto.url, arn).receive(1, 0, 30)

    assert isinstance(page, Failed)
    assert classify(page.evidence) == "EP4106"


def test_a_queue_is_made_only_when_asked_for(moto: Moto, client: Any) -> None:
    """With `create` a missing queue is made with its attributes and tags; the next one finds it."""
    name = fresh_name("made") + ".fifo"
    options = {
        "create": True,
        "attributes": {"VisibilityTimeout": 77, "ContentBasedDeduplication": True},
        "tags": {"station": "blues"},
        "group": "all",
    }
    first = queue(moto.url, name, **options)
    assert names(list(first.probe())) == [
        "credentials",
        "name",
        "connect",
        "authentication",
        "queue",
    ]
    assert list(first.send([Message(body=b"x")])) == [DELIVERED]
    assert list(queue(moto.url, name, **options).send([Message(body=b"y")])) == [DELIVERED]

    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["VisibilityTimeout"] == "77"
    assert attributes["FifoQueue"] == "true"
    assert client.list_queue_tags(QueueUrl=url)["Tags"] == {"station": "blues"}


def test_attributes_belong_to_a_queue_that_is_made() -> None:
    """Attributes without `create` would change nothing, and are refused."""
    with pytest.raises(InvalidRequest, match="add create"):
        queue("http://127.0.0.1:1", "jobs", tags={"a": "b"})


# --- looking --------------------------------------------------------------------------------------


def test_a_probe_shows_what_it_found(moto: Moto, client: Any, name: str, jobs: SqsQueue) -> None:
    """A probe tells what lies in the queue and when SQS itself moves a message away, and changes
    nothing."""
    dead_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}-dead"
    client.create_queue(QueueName=f"{name}-dead")
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": "5"})
    client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    jobs.send([Message(body=b"x")])

    rungs = list(jobs.probe())

    way = ["credentials", "name", "connect", "authentication"]
    assert names(rungs) == [*way, "queue"]
    assert not any(rung.failed for rung in rungs)
    detail = {rung.name: rung.detail for rung in rungs}
    assert detail["credentials"].startswith("explicit AKIA")
    assert detail["connect"] == moto.url
    assert "1 waiting" in detail["queue"]
    assert f"moves a message to {dead_arn} after 5 receives" in detail["queue"]
    assert jobs.redrive_warning(5) == ""
    assert "give receives_max at most 5" in jobs.redrive_warning(6)
    (one,) = received(jobs, 1)
    assert one.receive_count == 1


def test_a_queue_without_a_dead_letter_queue(jobs: SqsQueue) -> None:
    """Where SQS moves nothing away there is nothing to warn of."""
    assert jobs.redrive_warning(1_000) == ""


def test_a_probe_of_a_queue_that_is_not_there(moto: Moto) -> None:
    """A probe stops at the first rung that does not hold, and shows those that do."""
    rungs = list(queue(moto.url, fresh_name("missing")).probe())

    assert names(rungs) == ["credentials", "name", "connect", "authentication", "queue"]
    failed = rungs[-1].failed
    assert failed is not None
    assert classify(failed.evidence) == "EP4106"


def test_permissions(own_service: OwnServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a permission each call says which, and so does a look at them, before anything is
    lost."""
    service = own_service(MotoWithPolicies).service
    keys = _user_who_may(service, "sqs:GetQueueUrl", "sqs:CreateQueue", "sqs:ReceiveMessage")
    monkeypatch.setenv("SQS_TEST_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("SQS_TEST_SECRET", keys["SecretAccessKey"])
    jobs = queue(service.url, "jobs", create=True)
    assert jobs.receive(1, 0, 30) == []

    (outcome,) = jobs.send([Message(body=b"x")])
    (verdict,) = jobs.settle([Received(id="1", body=b"", receipt=Receipt("r", time.monotonic()))])
    found = {each.operation: each for each in jobs.permissions()}

    for failed in (outcome, verdict, found["send"].refused, found["settle"].refused):
        assert isinstance(failed, Failed)
        assert classify(failed.evidence) == "EP4101", failed
    assert list(found) == ["send", "receive", "settle", "extend"]
    assert found["settle"].refused is not None
    assert "sqs:DeleteMessage" in found["settle"].refused.evidence.detail
    assert found["receive"] == Permission(operation="receive", is_inferred=True)


def test_asking_for_permissions_stores_and_takes_nothing(jobs: SqsQueue) -> None:
    """Whoever may do everything is told so, and a queue is afterwards as it was."""
    jobs.send([Message(body=b"x")])

    found = jobs.permissions()

    assert [each.is_known for each in found] == [True] * 4
    assert not any(each.refused for each in found)
    assert jobs.depth() == Depth(total=1, includes_held=True)
    (one,) = received(jobs, 1)
    assert (one.body, one.receive_count) == (b"x", 1)


def _user_who_may(service: Moto, *actions: str) -> dict[str, str]:
    iam = boto3.client(
        "iam",
        endpoint_url=service.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.create_user(UserName="singer")
    iam.create_policy(PolicyName="songs", PolicyDocument=json.dumps(policy))
    arn = f"arn:aws:iam::{ACCOUNT_ID}:policy/songs"
    iam.attach_user_policy(UserName="singer", PolicyArn=arn)
    keys: dict[str, str] = iam.create_access_key(UserName="singer")["AccessKey"]
    return keys


def test_the_wrong_region(moto: Moto, name: str) -> None:
    """A queue that is looked for in another region is not found there: the finding names the region
    as the first cause, and the queue's ARN, which says the region, finds it."""
    elsewhere = connection(moto.url, region="eu-west-1")

    with closing(queue_of(elsewhere, name)) as lost:
        [sent] = lost.send([Message(body=b"1")])
        page = lost.receive(1, 0.0, 30.0)
    with closing(queue_of(elsewhere, f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}")) as found:
        [arrived] = found.send([Message(body=b"2")])

    for failed in (sent, page):
        assert isinstance(failed, Failed)
        assert classify(failed.evidence) == "EP4106"
        assert "region" in explain(failed.evidence).cause
    assert isinstance(arrived, Delivered), arrived

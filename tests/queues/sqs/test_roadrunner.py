"""RoadRunner's jobs on the wire of SQS: sent as its plugin sends them, and read again."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.outcomes import DELIVERED
from eventpost.formats import roadrunner
from eventpost.formats.roadrunner import Job
from eventpost.queues.interfaces import Message
from tests.queues.sqs.answering import AnsweringServer, entries, queue
from tests.services.elasticmq import ElasticMQ
from tests.services.service import fresh_name

GOLDEN = sorted((Path(__file__).parents[2] / "formats/roadrunner").glob("*.json"))
BY_PATH = pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)


def job_of(golden: dict[str, Any]) -> Job:
    return Job(**golden["job"] | {"payload": golden["job"]["payload"].encode()})


def message_of(job: Job, *, is_fifo: bool) -> Message:
    """As a subscription of the format `roadrunner` makes it; its id tells repeats apart."""
    return Message(
        body=job.payload,
        attributes=roadrunner.encode(job),
        delay_s=0 if is_fifo else job.delay_s,
        group="RR" if is_fifo else "",
        deduplication_id=job.id if is_fifo else "",
    )


def as_sent(golden: dict[str, Any]) -> dict[str, Any]:
    """The plugin's request as its SDK writes it in JSON."""
    request = dict(golden["request"])
    request.pop("QueueUrl")
    for value in request["MessageAttributes"].values():
        if "BinaryText" in value:
            value["BinaryValue"] = base64.b64encode(value.pop("BinaryText").encode()).decode()
    return request


@BY_PATH
def test_a_job_is_sent_as_the_plugin_sends_it(server: AnsweringServer, path: Path) -> None:
    """On the wire a job of ours is one of the plugin's: body, types and bytes of its attributes,
    delay, group and deduplication id."""
    golden = json.loads(path.read_text())
    job = job_of(golden)
    address = golden["request"]["QueueUrl"]
    server.script = lambda operation, _: entries(operation, {}, 1)
    is_fifo = address.endswith(".fifo")

    (outcome,) = queue(server.url, address).send([message_of(job, is_fifo=is_fifo)])

    assert outcome is DELIVERED
    ((_, body),) = server.requests
    (sent,) = body["Entries"]
    wanted = as_sent(golden)
    if not job.headers:  # where the plugin writes null, and takes both
        sent["MessageAttributes"]["rr_headers"] = wanted["MessageAttributes"]["rr_headers"]
    assert sent == wanted | {"Id": "0"}


@pytest.mark.slow
@BY_PATH
def test_a_job_goes_through_a_queue(elasticmq: ElasticMQ, path: Path) -> None:
    """A job comes out of a real queue as it went in, with the system's attributes as headers."""
    job = job_of(json.loads(path.read_text()))
    is_fifo = "fifo" in path.stem
    name = fresh_name("jobs") + (".fifo" if is_fifo else "")
    jobs = queue(elasticmq.url, name, create=True)
    assert list(jobs.send([message_of(job, is_fifo=is_fifo)])) == [DELIVERED]

    page = jobs.receive(1, 20, 60)

    assert isinstance(page, list)
    (message,) = page
    read = roadrunner.decode(
        message.body,
        message.attributes,
        message.system_attributes,
        message_id=message.id,
        pipeline="",
    )
    assert read.headers["ApproximateReceiveCount"] == ["1"]
    assert read.headers.items() >= job.headers.items()
    assert (read.id, read.name, read.payload) == (job.id, job.name, job.payload)
    assert (read.priority, read.delay_s, read.auto_ack) == (job.priority, job.delay_s, job.auto_ack)

"""Addresses of SQS queues: names, URLs and ARNs, and what each says of where the queue is."""

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.queues.sqs.address import NAME_CHARS_MAX, Place, place


@pytest.mark.parametrize("name", ["jobs", "Jobs_2-x", "a", "jobs.fifo", "1"])
def test_a_name(name: str) -> None:
    """A name says nothing of where the queue is."""
    assert place(name) == Place(name=name)


def test_an_arn() -> None:
    """An ARN says the region and the account."""
    found = place("arn:aws-cn:sqs:cn-north-1:123456789012:jobs.fifo")

    assert found == Place(name="jobs.fifo", region="cn-north-1", account="123456789012")
    assert found.is_fifo


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/jobs", "eu-central-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/jobs", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs", "cn-north-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com/123456789012/jobs", "us-east-2"),
        ("https://sqs.eu-west-1.api.aws/123456789012/jobs", "eu-west-1"),
    ],
)
def test_a_url_of_aws(url: str, region: str) -> None:
    """The URL of a region says the region; where to send is what the SDK makes of it."""
    assert place(url) == Place(name="jobs", region=region, account="123456789012", url=url)


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://us-west-2.queue.amazonaws.com", "us-west-2"),
        ("https://queue.amazonaws.com", "us-east-1"),
        ("https://vpce-0a1-b2.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("http://127.0.0.1:9324", ""),
        ("https://sqs.station.example:8443", ""),
        ("https://sqs.eu-central-1.amazonaws.com:8443", "eu-central-1"),
    ],
)
def test_a_url_of_another_host(endpoint: str, region: str) -> None:
    """A host that is not what the SDK makes of the region is where requests go."""
    url = f"{endpoint}/123456789012/jobs"
    found = place(url)

    assert found == Place(
        name="jobs", region=region, account="123456789012", endpoint=endpoint, url=url
    )


def test_a_url_with_a_path_before_the_name() -> None:
    """What stands before the name is an account only when it is a number."""
    assert place("http://127.0.0.1:9324/queue/jobs").account == ""


@pytest.mark.parametrize(
    "address",
    [
        "",
        "my queue",
        "jobs.fifo.fifo",
        "jobs.txt",
        "jöbs",
        "x" * (NAME_CHARS_MAX + 1),
        "arn:aws:sns:eu-central-1:123456789012:jobs",
        "arn:aws:sqs:eu-central-1:123456789012",
        "arn:aws:sqs::123456789012:jobs",
        "https://sqs.eu-central-1.amazonaws.com",
        "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs?x=secret",
        "https://user:secret@sqs.eu-central-1.amazonaws.com/123456789012/jobs",
        "https://host:port/1/jobs",
        "https:///jobs",
    ],
)
def test_what_is_no_queue(address: str) -> None:
    """An address that no queue can have is refused, and told what one looks like."""
    with pytest.raises(InvalidRequest, match="is no queue of SQS") as refusal:
        place(address)

    assert refusal.value.code == "InvalidAddress"
    assert "secret" not in str(refusal.value)


def test_the_longest_name() -> None:
    """A name may be as long as SQS allows."""
    assert place("x" * NAME_CHARS_MAX).name == "x" * NAME_CHARS_MAX

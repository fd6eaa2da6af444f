"""Which queue an address means: a name, a URL or an ARN, and where each says that it is.

Layer: queues. Pure. Names: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/
SQSDeveloperGuide/sqs-queue-message-identifiers.html
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt
from eventpost.credentials.secrets import mask_url

NAME_CHARS_MAX = 80
"""`.fifo` included."""
FIFO_SUFFIX = ".fifo"

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.fifo)?")
_REGION = r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+"
_ARN = re.compile(rf"arn:(aws[a-z-]*):sqs:({_REGION}|elasticmq):([0-9]+):(\S+)")
_HOSTS = re.compile(
    rf"""(?: sqs(?:-fips)?\.(?P<usual>{_REGION})\.(?:amazonaws\.com(?:\.cn)?|api\.aws)
        | (?P<legacy>{_REGION})\.queue\.amazonaws\.com
        | (?P<first>queue)\.amazonaws\.com
        | vpce-[a-z0-9-]+\.sqs\.(?P<private>{_REGION})\.vpce\.amazonaws\.com(?:\.cn)?
        )""",
    re.VERBOSE,
)
_REGION_OF_FIRST_HOST = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a queue is, as far as its address says. "" where it does not."""

    name: str
    region: str = ""
    account: str = ""
    endpoint: str = ""
    """Where requests go, when the region alone does not say it: `https://HOST:PORT`."""
    url: str = ""

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(FIFO_SUFFIX)


def place(address: str) -> Place:
    """The place that an address means. Raises InvalidRequest for one that no queue can have."""
    if address.startswith(("http://", "https://")):
        return _of_url(address)
    if address.startswith("arn:"):
        return _of_arn(address)
    return Place(name=_checked(address, address))


def _of_url(address: str) -> Place:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused(address, "It is no URL.") from None
    segments = [segment for segment in parts.path.split("/") if segment]
    if not host or parts.query or parts.fragment or parts.username or not segments:
        raise _refused(address, "A queue's URL ends in its account and its name.")
    found = _HOSTS.fullmatch(host)
    region = "" if found is None else _region(found)
    # A host that only says the region is what the SDK makes of the region; any other is kept.
    is_usual = found is not None and bool(found["usual"]) and port is None
    return Place(
        name=_checked(segments[-1], address),
        region=region,
        account=segments[-2] if len(segments) > 1 and segments[-2].isdigit() else "",
        endpoint="" if is_usual else f"{parts.scheme}://{parts.netloc}",
        url=address,
    )


def _region(found: re.Match[str]) -> str:
    if found["first"]:
        return _REGION_OF_FIRST_HOST
    return found["usual"] or found["legacy"] or found["private"] or ""


def _of_arn(address: str) -> Place:
    found = _ARN.fullmatch(address)
    if found is None:
        raise _refused(address, "A queue's ARN is arn:aws:sqs:REGION:ACCOUNT:NAME.")
    return Place(name=_checked(found[4], address), region=found[2], account=found[3])


def _checked(name: str, address: str) -> str:
    if len(name) > NAME_CHARS_MAX:
        raise _refused(address, f"A queue's name has at most {NAME_CHARS_MAX} characters.")
    if _NAME.fullmatch(name) is None:
        why = "A queue's name has letters, digits, - and _, and ends in .fifo when it is FIFO."
        raise _refused(address, why)
    return name


def _refused(address: str, why: str) -> InvalidRequest:
    shown = mask_url(address) if "://" in address else address
    return InvalidRequest(
        "InvalidAddress",
        f"{excerpt(shown)} is no queue of SQS.",
        why=why,
        fix="Give the queue's name, its URL or its ARN.",
    )

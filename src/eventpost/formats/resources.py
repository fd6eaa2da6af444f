"""Ids of Azure's resources: what they name, and what that is here.

Layer: formats. Azure compares them without regard to case, and so does this.
"""

import re
from dataclasses import dataclass

from eventpost.core.domains import joined
from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt

RESOURCE_CHARS_MAX = 2_048

_PREFIX = r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers"
_TOPIC = re.compile(rf"{_PREFIX}/Microsoft\.EventGrid/topics/([^/]+)", re.IGNORECASE)
_DOMAIN = re.compile(
    rf"{_PREFIX}/Microsoft\.EventGrid/domains/([^/]+)(?:/topics/([^/]+))?", re.IGNORECASE
)
_ACCOUNT = re.compile(rf"{_PREFIX}/Microsoft\.Storage/storageAccounts/([^/]+)", re.IGNORECASE)
_CONTAINER = re.compile(r"/blobServices/default/containers/([^/]+)", re.IGNORECASE)
_QUEUE = re.compile(r"/queueServices/default/queues/([^/]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class InAccount:
    """A container or a queue, or "" where the id names the account alone."""

    account: str
    name: str = ""


def is_resource(text: str) -> bool:
    return text.lower().startswith("/subscriptions/") and len(text) <= RESOURCE_CHARS_MAX


def topic_of(text: str) -> str:
    """The name of a topic, of a domain, or of a topic of one (`DOMAIN/TOPIC`): of its resource id,
    or the text itself when it is no such id."""
    if not is_resource(text):
        return text
    resource = text.rstrip("/")
    match = _TOPIC.fullmatch(resource)
    if match is not None:
        return match[1]
    match = _DOMAIN.fullmatch(resource)
    if match is None:
        return text
    return joined(match[1], match[2]) if match[2] else match[1]


def container(text: str) -> InAccount | None:
    """A container of blobs, or its account alone; None for any other resource."""
    return _in_account(text, _CONTAINER)


def queue(text: str) -> InAccount | None:
    """A queue of a storage account, or its account alone; None for any other resource."""
    return _in_account(text, _QUEUE)


def dead_letter_place(text: str) -> str:
    """`azureblob://ACCOUNT/CONTAINER` for a container's resource id; anything else as it is.

    Raises InvalidRequest for another resource.
    """
    if not is_resource(text):
        return text
    found = container(text)
    if found is None or not found.name:
        raise InvalidRequest(
            "InvalidDeadLetterEndpoint",
            f"{excerpt(text)} is no container of a storage account.",
            fix="Give .../providers/Microsoft.Storage/storageAccounts/ACCOUNT"
            "/blobServices/default/containers/CONTAINER, or azureblob://ACCOUNT/CONTAINER.",
        )
    return f"azureblob://{found.account}/{found.name}"


def _in_account(text: str, inside: re.Pattern[str]) -> InAccount | None:
    match = _ACCOUNT.match(text) if is_resource(text) else None
    if match is None:
        return None
    rest = text[match.end() :].rstrip("/")
    if not rest:
        return InAccount(match[1].lower())
    within = inside.fullmatch(rest)
    return InAccount(match[1].lower(), within[1]) if within else None

"""Which queue of which account: names, and URLs that say both. Pure.

Layer: queues.
"""

import re
from urllib.parse import urlsplit

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.credentials.azure_settings import AzureStorageConnection, account_of

NAME = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*")
"""Of a queue and of a container. "Naming queues and metadata" in the service's reference."""
NAME_RULE = "3 to 63 lower-case letters, digits and single dashes, a letter or digit at both ends"


def check_name(name: str) -> str:
    """The queue's name. Raises InvalidRequest for one that the service refuses."""
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            "InvalidQueueName",
            f"{name[:80]!r} cannot be the name of an Azure Storage queue.",
            why=f"A name is {NAME_RULE}.",
            fix="Correct the name, or give the queue's URL.",
        )
    return name


def split_address(address: str) -> tuple[str, str]:
    """The account's queue endpoint ("" when not said) and the queue's name, from a name or a URL.

    Raises InvalidRequest. A URL with a query is refused without being repeated: a SAS belongs into
    the connection.
    """
    if "://" not in address:
        return "", check_name(address)
    parts = urlsplit(address)
    path, _, name = parts.path.strip("/").rpartition("/")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise InvalidRequest(
            "InvalidQueueName",
            "The queue's URL holds more than scheme, host and path.",
            fix="Give https://ACCOUNT.queue.core.windows.net/QUEUE, and a SAS in the connection.",
        )
    endpoint = f"{parts.scheme}://{parts.netloc}" + (f"/{path}" if path else "")
    return endpoint, check_name(name)


def pointed_to(endpoint: str, connection: AzureStorageConnection) -> AzureStorageConnection:
    """The connection with the account that a queue's URL names.

    Raises InvalidRequest when it names another one itself.
    """
    named = connection.account or account_of(connection.account_url)
    if connection.connection_string or named not in ("", account_of(endpoint)):
        raise InvalidRequest(
            "AccountGivenTwice",
            f"The queue's URL names the account {account_of(endpoint)}; so does the connection.",
            fix="Give the queue's name alone, or a connection without an account.",
        )
    return msgspec.structs.replace(connection, account="", account_url=endpoint)

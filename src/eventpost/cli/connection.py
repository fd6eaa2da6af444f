"""Finding the server that a command talks to: its URL, the admin token, its authority."""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from eventpost.client import Client


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is and what opens it."""

    url: str
    token: str | None = field(repr=False)
    authority: Path | None
    """Certificate of a development authority that has signed the server's."""


def find(arguments: argparse.Namespace) -> Place:
    """The server that options, environment and data directory name; nothing is connected yet."""
    from eventpost.config import local
    from eventpost.config.checks import is_loopback
    from eventpost.config.environment import TOKEN_VARIABLE, URL_VARIABLE
    from eventpost.config.settings import ADDRESS_DEFAULT, ServerSettings

    directory = arguments.data_dir or os.environ.get("EVENTPOST_DATA")
    data = Path(directory or ServerSettings().data)
    given = arguments.url or os.environ.get(URL_VARIABLE)
    url = (given or local.read_address(data) or f"http://{ADDRESS_DEFAULT}").rstrip("/")
    token = arguments.token or os.environ.get(TOKEN_VARIABLE)
    # The token of a local server is not shown to whatever remote URL happens to be set.
    is_local = not given or directory is not None or is_loopback(urlsplit(url).hostname or "")
    if token is None and is_local:
        token = local.read_token(data)
    authority = local.authority(data) if is_local and url.startswith("https:") else None
    return Place(url, token, authority)


def connect(arguments: argparse.Namespace) -> "Client":
    """A client for that server. Close it with `with`."""
    from eventpost.client import Client

    place = find(arguments)
    return Client(place.url, token=place.token, ca_file=place.authority)

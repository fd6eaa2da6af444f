"""Finding the server: from arguments, from the environment, or in a local data directory."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from eventpost.config import local
from eventpost.config.checks import is_loopback
from eventpost.config.environment import TOKEN_VARIABLE, URL_VARIABLE
from eventpost.config.settings import ADDRESS_DEFAULT, ServerSettings
from eventpost.core.errors import ServerUnreachable
from eventpost.diagnosis import codes

DATA_VARIABLE = "EVENTPOST_DATA"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is and what opens it."""

    url: str
    token: str | None = field(repr=False)
    ca_file: Path | None
    """A development authority's certificate, trusted beside the system's."""

    @property
    def is_loopback(self) -> bool:
        return is_loopback(urlsplit(self.url).hostname or "")

    def tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context


def find(
    url: str | None,
    token: str | None,
    data: str | Path | None,
    ca_file: str | Path | None,
    environment: Mapping[str, str],
) -> Place:
    """The server meant; nothing is connected yet.

    The URL is the argument's, EVENTPOST_URL's, the one in the data directory, or the default. The
    token is the argument's, EVENTPOST_TOKEN's, or the data directory's; the last one is shown only
    to a server of this machine, not to whatever remote URL happens to be set. Raises
    ServerUnreachable when a directory was named and no server runs on it.
    """
    named = data or environment.get(DATA_VARIABLE)
    directory = Path(named or ServerSettings().data)
    given = url or environment.get(URL_VARIABLE)
    address = local.read_address(directory)
    if named and not given and address is None:
        raise _nobody_there(directory)
    found = (given or address or f"http://{ADDRESS_DEFAULT}").rstrip("/")
    opens = token or environment.get(TOKEN_VARIABLE)
    place = Place(found, opens, Path(ca_file) if ca_file else None)
    if given and not data and not place.is_loopback:
        return place
    return Place(
        found, opens or local.read_token(directory), place.ca_file or local.authority(directory)
    )


def _nobody_there(directory: Path) -> ServerUnreachable:
    return ServerUnreachable(
        codes.SERVER_NOT_REACHABLE,
        f"No eventpost server runs on the data directory {directory}.",
        why="It has no file with the server's address, or it is not this user's to read.",
        fix=f"Start it with `eventpost serve --data {directory}`, or say where it is with --url.",
    )

"""The client for the server that a command talks to."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventpost.client import Client


def connect(arguments: argparse.Namespace) -> "Client":
    """A client for the server that options, environment and data directory name. Close it with
    `with`; nothing is sent before it is used."""
    from eventpost.client import Client

    return Client(arguments.url, token=arguments.token, data=arguments.data_dir)

"""`eventpost topic key ...` and `eventpost domain key ...`: access keys, shown and renewed."""

import argparse
from typing import TYPE_CHECKING, Literal

from eventpost.cli import output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_DONE,
    Commands,
    Run,
    as_json,
    azure,
    command,
    connection,
    named,
    nouns,
)

if TYPE_CHECKING:
    from eventpost.server.models import KeysView

KEY_NAMES = ("key1", "key2")
Owner = Literal["topic", "domain"]


def add(group: Commands, what: Owner) -> None:
    """`key list` and `key regenerate` of a topic or a domain."""
    parser = group.add_parser(
        "key", help="show and renew access keys", description="Show and renew access keys."
    )
    keys = nouns(parser, dest="key_verb")
    shared = [as_json(), connection(), azure()]
    parser = command(keys, "list", _list(what), summary="show the two access keys", parents=shared)
    named(parser, f"the {what}")
    parser.add_argument(
        "--key-name", choices=KEY_NAMES, help="only this one, and nothing but the key"
    )
    parser = command(
        keys,
        "regenerate",
        _regenerate(what),
        summary="make one key anew, the other keeps working",
        parents=shared,
    )
    named(parser, f"the {what}")
    parser.add_argument("--key-name", choices=KEY_NAMES, required=True, help="which one")


def _list(what: Owner) -> Run:
    def run(arguments: argparse.Namespace) -> int:
        with connect(arguments) as client:
            known = client.list_keys if what == "topic" else client.list_domain_keys
            keys = known(arguments.name)
        return _print_wanted(keys, arguments)

    return run


def _regenerate(what: Owner) -> Run:
    def run(arguments: argparse.Namespace) -> int:
        with connect(arguments) as client:
            renew = client.regenerate_key if what == "topic" else client.regenerate_domain_key
            keys = renew(arguments.name, arguments.key_name)
        return _print_both(keys, arguments)

    return run


def _print_wanted(keys: "KeysView", arguments: argparse.Namespace) -> int:
    """Both, or the one that was asked for."""
    if arguments.key_name is None:
        return _print_both(keys, arguments)
    if arguments.json:
        output.json({arguments.key_name: getattr(keys, arguments.key_name)})
    else:
        output.line(getattr(keys, arguments.key_name))
    return EXIT_DONE


def _print_both(keys: "KeysView", arguments: argparse.Namespace) -> int:
    if arguments.json:
        output.json(keys)
    else:
        output.fields({"key1": keys.key1, "key2": keys.key2})
    return EXIT_DONE

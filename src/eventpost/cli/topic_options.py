"""What the commands of topics and of domains share: schema, mapping, and access keys."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.parser import (
    EXIT_DONE,
    Commands,
    Parser,
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
SCHEMAS = ("eventgridschema", "cloudeventschemav1_0", "customeventschema")


def add_schema(parser: Parser, *, mapped: str) -> None:
    """`mapped` names what may stand in an event of a custom schema."""
    parser.add_argument(
        "--input-schema",
        choices=SCHEMAS,
        type=str.lower,
        default=SCHEMAS[0],
        help=f"schema of its events (default: {SCHEMAS[0]})",
    )
    parser.add_argument(
        "--input-mapping-fields",
        nargs="*",
        default=[],
        metavar="NAME=PATH",
        help=f"of customeventschema: where {mapped} stand",
    )
    parser.add_argument(
        "--input-mapping-default-values",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="of customeventschema: eventtype, subject, dataversion where nothing stands",
    )


def add_keys(group: Commands, what: str, list_keys: Run, regenerate: Run) -> None:
    """`key list` and `key regenerate` of a topic or a domain."""
    parser = group.add_parser(
        "key", help="show and renew access keys", description="Show and renew access keys."
    )
    keys = nouns(parser, dest="key_verb")
    shared = [as_json(), connection(), azure()]
    parser = command(keys, "list", list_keys, summary="show the two access keys", parents=shared)
    named(parser, f"the {what}")
    parser.add_argument(
        "--key-name", choices=KEY_NAMES, help="only this one, and nothing but the key"
    )
    parser = command(
        keys,
        "regenerate",
        regenerate,
        summary="make one key anew, the other keeps working",
        parents=shared,
    )
    named(parser, f"the {what}")
    parser.add_argument("--key-name", choices=KEY_NAMES, required=True, help="which one")


def print_keys(keys: "KeysView", arguments: argparse.Namespace) -> int:
    """Both, or the one that was asked for."""
    if arguments.key_name is None:
        return print_both(keys, arguments)
    if arguments.json:
        output.json({arguments.key_name: getattr(keys, arguments.key_name)})
    else:
        output.line(getattr(keys, arguments.key_name))
    return EXIT_DONE


def print_both(keys: "KeysView", arguments: argparse.Namespace) -> int:
    if arguments.json:
        output.json(keys)
    else:
        output.fields({"key1": keys.key1, "key2": keys.key2})
    return EXIT_DONE


def mapping(given: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in given.items()]

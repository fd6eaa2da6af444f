"""`eventpost connection ...`: named settings of a broker or an account."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import output, pairs
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_DONE,
    Commands,
    Parser,
    Run,
    as_json,
    command,
    connection,
    noun,
)

if TYPE_CHECKING:
    from eventpost.server.models import ConnectionView


def add(group: Commands) -> None:
    verbs = noun(
        group, "connection", summary="name the settings of a broker or an account, for many uses"
    )
    parser = _one(verbs, "create", create, summary="create a connection; nothing is connected to")
    parser.add_argument(
        "--kind",
        required=True,
        metavar="KIND",
        help="aws, azure-storage, entra, kafka, rabbitmq, redis, smtp, or what a package provides",
    )
    _settings(parser)
    command(
        verbs,
        "list",
        list_connections,
        summary="list all connections",
        parents=[as_json(), connection()],
    )
    _one(verbs, "show", show, summary="show one connection and what uses it")
    parser = _one(
        verbs,
        "update",
        update,
        summary="change the settings that are given, keep the rest; what uses it goes on",
    )
    _settings(parser)
    _one(verbs, "delete", delete, summary="delete a connection that nothing uses")


def _one(verbs: Commands, name: str, run: Run, *, summary: str) -> Parser:
    parser = command(verbs, name, run, summary=summary, parents=[as_json(), connection()])
    parser.add_argument("name", help="the connection")
    return parser


def _settings(parser: Parser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of its kind (repeatable): a secret is env:NAME or file:PATH, a list JSON",
    )


def create(arguments: argparse.Namespace) -> int:
    declared = {
        "name": arguments.name,
        "kind": arguments.kind,
        "settings": pairs.given(arguments.set),
    }
    with connect(arguments) as client:
        _print(client.create_connection(declared), arguments)
    return EXIT_DONE


def list_connections(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        connections = client.list_connections()
    if arguments.json:
        output.json(connections)
        return EXIT_DONE
    output.table(
        ("name", "kind", "used by"),
        [(each.name, each.kind, each.used_by) for each in connections],
        empty="There are no connections. Make one: eventpost connection create NAME --kind KIND",
    )
    return EXIT_DONE


def show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.show_connection(arguments.name), arguments)
    return EXIT_DONE


def update(arguments: argparse.Namespace) -> int:
    changes = {"settings": pairs.settings(arguments.set)}
    with connect(arguments) as client:
        _print(client.update_connection(arguments.name, changes), arguments)
    return EXIT_DONE


def delete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.delete_connection(arguments.name)
    output.note(f"Connection {arguments.name} is deleted.")
    return EXIT_DONE


def _print(shown: "ConnectionView", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(shown)
        return
    output.fields(
        {
            "name": shown.name,
            "kind": shown.kind,
            **{name: _text(value) for name, value in shown.settings.items()},
            "used by": shown.used_by,
            "created": shown.created_time,
            **_credentials(shown),
        }
    )


def _credentials(shown: "ConnectionView") -> dict[str, object]:
    """Who answered, once somebody has."""
    found = shown.credentials
    if found is None:
        return {}
    region = f"{found.region} ({found.region_from})" if found.region else ""
    told = {
        "credentials": found.link,
        "identity": found.identity,
        "expires": found.expires_time,
        "region": region,
        "endpoint": found.endpoint,
    }
    return {name: value for name, value in told.items() if value}


def _text(value: object) -> object:
    import msgspec

    return msgspec.json.encode(value).decode() if isinstance(value, dict) else value

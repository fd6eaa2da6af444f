"""`eventpost source ...`: queues from which messages are pulled into topics."""

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
    from eventpost.server.models import SourceCounts, SourceView


def add(group: Commands) -> None:
    verbs = noun(group, "source", summary="pull messages from queues into topics")
    parser = _one(verbs, "create", create, summary="create a source, which begins to pull at once")
    parser.add_argument("--topic", required=True, help="the topic that it feeds")
    _options(parser, is_creating=True)
    parser = command(
        verbs,
        "list",
        list_sources,
        summary="list the sources of one topic or of all",
        parents=[as_json(), connection()],
    )
    parser.add_argument("--topic", help="only those of this topic")
    _one(verbs, "show", show, summary="show one source and how it is")
    parser = _one(
        verbs,
        "update",
        update,
        summary="change what is given, keep the rest; an empty value goes back to the default",
    )
    _options(parser, is_creating=False)
    _one(verbs, "delete", delete, summary="delete a source; what it took stays in its topic")
    _one(verbs, "pause", pause, summary="receive no more")
    _one(verbs, "resume", resume, summary="receive again")


def _one(verbs: Commands, name: str, run: Run, *, summary: str) -> Parser:
    parser = command(verbs, name, run, summary=summary, parents=[as_json(), connection()])
    parser.add_argument("name", help="the source")
    return parser


def _options(parser: Parser, *, is_creating: bool) -> None:
    add = parser.add_argument
    add(
        "--kind",
        required=is_creating,
        metavar="KIND",
        help="storagequeue, sqs, rabbitmq, kafka, or what a package provides",
    )
    add("--queue", required=is_creating, metavar="QUEUE", help="its name, URL or ARN; a topic")
    add("--connection", metavar="NAME", help="whose settings (default: the kind's defaults)")
    add(
        "--option",
        action="append",
        metavar="KEY=VALUE",
        help="an option of its queue system (repeatable); a list is JSON",
    )
    add(
        "--format",
        metavar="FORMAT",
        help="event, raw, roadrunner or dramatiq (default: event)",
    )
    add(
        "--input-mapping-fields",
        nargs="*",
        metavar="NAME=PATH",
        help="of raw messages: eventtype=data.kind, subject=attributes.genre",
    )
    add(
        "--input-mapping-default-values",
        nargs="*",
        metavar="NAME=VALUE",
        help="of raw messages: eventtype=Song, subject=songs",
    )
    add(
        "--lease",
        metavar="DURATION",
        help="how long a received message is ours before it is extended (default: 60s)",
    )
    add("--prefetch", type=int, metavar="N", help="messages held at once (default: 100)")
    add(
        "--receives-max",
        type=int,
        metavar="N",
        help="receives after which a message is poison (default: 10)",
    )


def _declared(arguments: argparse.Namespace) -> dict[str, object]:
    """What the options declare, as the API takes it; options not given are absent."""
    given: dict[str, object] = {
        "kind": arguments.kind,
        "queue": arguments.queue,
        "connection": arguments.connection,
        "format": arguments.format,
        "lease": arguments.lease,
        "prefetch": arguments.prefetch,
        "receivesMax": arguments.receives_max,
    }
    if arguments.option is not None:
        given["options"] = pairs.settings(arguments.option)
    if arguments.input_mapping_fields is not None:
        given["inputMappingFields"] = pairs.texts(arguments.input_mapping_fields)
    if arguments.input_mapping_default_values is not None:
        given["inputMappingDefaultValues"] = pairs.texts(arguments.input_mapping_default_values)
    return {name: value for name, value in given.items() if value is not None}


def create(arguments: argparse.Namespace) -> int:
    declared = _declared(arguments) | {"name": arguments.name, "topic": arguments.topic}
    with connect(arguments) as client:
        _print(client.create_source(declared), arguments)
    return EXIT_DONE


def list_sources(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        sources = client.list_sources(topic=arguments.topic)
    if arguments.json:
        output.json(sources)
        return EXIT_DONE
    output.table(
        ("name", "kind", "queue", "topic", "state", "taken", "finding"),
        [
            (
                *(each.name, each.kind, each.queue, each.topic, each.state),
                each.counts.taken if each.counts else 0,
                each.failures[0].finding if each.failures else "",
            )
            for each in sources
        ],
        empty="There are no sources. Make one: eventpost source create NAME --help",
    )
    return EXIT_DONE


def show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.show_source(arguments.name), arguments)
    return EXIT_DONE


def update(arguments: argparse.Namespace) -> int:
    changes = {
        name: None if value in ("", {}) else value for name, value in _declared(arguments).items()
    }
    with connect(arguments) as client:
        _print(client.update_source(arguments.name, changes), arguments)
    return EXIT_DONE


def delete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        client.delete_source(arguments.name)
    output.note(f"Source {arguments.name} is deleted.")
    return EXIT_DONE


def pause(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.pause_source(arguments.name), arguments)
    return EXIT_DONE


def resume(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.resume_source(arguments.name), arguments)
    return EXIT_DONE


def _print(source: "SourceView", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(source)
        return
    output.fields(
        {
            "name": source.name,
            "topic": source.topic,
            "state": source.state,
            "kind": source.kind,
            "queue": source.queue,
            "connection": source.connection,
            "options": [f"{name}={value}" for name, value in source.options.items()],
            "format": source.format,
            "mapped fields": _pairs(source.input_mapping_fields),
            "mapped defaults": _pairs(source.input_mapping_default_values),
            "lease": source.lease,
            "prefetch": source.prefetch,
            "receives at most": source.receives_max,
            "created": source.created_time,
            "warning": source.warning or None,
        }
    )
    for failure in source.failures:
        output.line()
        output.fields(
            {
                "fails": failure.operation,
                "seen": failure.time,
                "finding": failure.finding,
                "cause": failure.cause,
                "fix": failure.fix,
                "code": failure.evidence.code if failure.evidence else None,
                "address": failure.evidence.address if failure.evidence else None,
                "detail": failure.evidence.detail if failure.evidence else None,
            }
        )
    if source.counts is not None:
        output.line()
        output.fields(_counts(source.counts))


def _counts(counts: "SourceCounts") -> dict[str, object]:
    return {
        "received": counts.received,
        "taken": counts.taken,
        "events": counts.events,
        "poison": counts.poison,
        "came again": counts.redelivered,
        "settled": counts.settled,
        "given back": counts.released,
        "leases lost": counts.lost,
        "failed calls": counts.failed_calls,
        "held": counts.held,
        "not settled yet": counts.unsettled,
        "dead letters": counts.dead_letters,
    }


def _pairs(mapping: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in mapping.items()]

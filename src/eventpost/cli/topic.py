"""`eventpost topic ...`: topics, their keys, and what passes through them."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import confirming, keys, output, pairs, topic_options
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_DONE,
    EXIT_USAGE,
    Commands,
    as_json,
    azure,
    command,
    connection,
    named,
    noun,
)

if TYPE_CHECKING:
    from eventpost.client import Client
    from eventpost.server.models import TailedEvent, TopicView


def add(group: Commands) -> None:
    topic = noun(group, "topic", summary="create, list, show and follow topics")
    shared = [as_json(), connection(), azure()]
    parser = command(topic, "create", create, summary="create a topic", parents=shared)
    named(parser, "3 to 50 letters, digits and '-'")
    topic_options.add_schema(parser, mapped="id, eventtime, eventtype, subject, dataversion")
    command(topic, "list", list_topics, summary="list all topics", parents=shared)
    parser = command(topic, "show", show, summary="show one topic", parents=shared)
    named(parser, "the topic")
    parser = command(
        topic,
        "delete",
        delete,
        summary="delete a topic with its events, subscriptions and dead letters",
        parents=[confirming.yes(), connection(), azure()],
        epilog="On a terminal it asks first.",
    )
    named(parser, "the topic")
    keys.add(topic, "topic")
    _add_tail(topic)


def _add_tail(topic: Commands) -> None:
    parser = command(
        topic,
        "tail",
        tail,
        summary="show events as they come, until Ctrl-C",
        parents=[as_json(), connection(has_data_option=False)],
    )
    named(parser, "the topic")
    parser.add_argument("--data", action="store_true", help="show the data too")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many events")


def create(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        topic = client.create_topic(
            arguments.name,
            input_schema=arguments.input_schema,
            input_mapping_fields=pairs.texts(arguments.input_mapping_fields),
            input_mapping_default_values=pairs.texts(arguments.input_mapping_default_values),
        )
        _print(topic, arguments)
    return EXIT_DONE


def list_topics(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        topics = client.list_topics()
    if arguments.json:
        output.json(topics)
        return EXIT_DONE
    output.table(
        ("name", "input schema", "endpoint"),
        [(topic.name, topic.input_schema, topic.endpoint) for topic in topics],
        empty="There are no topics. Make one: eventpost topic create NAME",
    )
    return EXIT_DONE


def show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.show_topic(arguments.name), arguments)
    return EXIT_DONE


def delete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        if not confirming.is_confirmed(
            arguments, "Delete", lambda: _losses(client, arguments.name)
        ):
            output.note("Nothing was deleted.")
            return EXIT_USAGE
        client.delete_topic(arguments.name)
    output.note(f"Topic {arguments.name} is deleted.")
    return EXIT_DONE


def _losses(client: "Client", name: str) -> str:
    topic = client.show_topic(name)
    count = len(client.list_subscriptions(topic=topic.name))
    of_them = f", {output.count(count, 'subscription')} and their dead letters" if count else ""
    return f"Topic {topic.name} with its events{of_them} will be gone for good."


def tail(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        following: int | None = None
        for number, tailed in enumerate(client.tail_topic(arguments.name), start=1):
            # Positions are dense: a gap is what passed while this end did not keep up.
            if following is not None and tailed.position > following:
                missed = output.count(tailed.position - following, "event")
                output.note(f"{missed} not shown: they came faster than they were read.")
            following = tailed.position + 1
            _print_tailed(tailed, arguments)
            if number == arguments.count:
                break
    return EXIT_DONE


def _print(topic: "TopicView", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(topic)
        return
    output.fields(
        {
            "name": topic.name,
            "input schema": topic.input_schema,
            "input mapping": topic_options.mapping(topic.input_mapping_fields),
            "default values": topic_options.mapping(topic.input_mapping_default_values),
            "endpoint": topic.endpoint,
            "created": topic.created_time,
            "id": topic.id,
        }
    )


def _print_tailed(tailed: "TailedEvent", arguments: argparse.Namespace) -> None:
    """One line per event, flushed, so that a pipe sees it at once."""
    import msgspec

    if arguments.json:
        output.json_line(tailed)
        return
    event: dict[str, object] = msgspec.json.decode(tailed.event)
    kind = event.get("eventType") or event.get("type")
    parts = [tailed.publish_time, kind, event.get("subject"), event.get("id")]
    if arguments.data:
        parts.append(msgspec.json.encode(event.get("data")).decode())
    output.line("  ".join(output.plain(part) for part in parts))
    output.flush()

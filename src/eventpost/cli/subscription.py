"""`eventpost subscription ...`: event subscriptions, from their declaration to their rewinding."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from eventpost.cli import (
    azure_resources,
    confirming,
    local_paths,
    output,
    subscription_options,
    subscription_view,
)
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_BAD,
    EXIT_DONE,
    EXIT_USAGE,
    Commands,
    Parser,
    Run,
    as_json,
    azure,
    command,
    connection,
    named,
    noun,
)

if TYPE_CHECKING:
    from eventpost.client import Client
    from eventpost.server.models import MatchView, SubscriptionView


Scope = Callable[[Parser, str, bool], None]
"""Adds options to a parser, with a summary, required or not."""


def add(group: Commands) -> None:
    verbs = noun(
        group,
        "subscription",
        summary="create, change, inspect and move subscriptions",
        aliases=["event-subscription"],
    )
    add_azure_verbs(verbs, _topic, lambda run: run)
    _one(verbs, _topic, "pause", pause, summary="stop delivering; events keep being kept for it")
    _one(verbs, _topic, "resume", resume, summary="go on delivering")
    parser = _one(verbs, _topic, "rewind", rewind, summary="move the cursor backward or forward")
    parser.add_argument(
        "--to",
        required=True,
        metavar="TIME|POSITION",
        help="a position, a time, an age such as 15m, earliest or now",
    )
    parser = _one(verbs, _topic, "test", test, summary="tell whether an event matches, and why not")
    parser.add_argument("event", metavar="EVENT.json", help="file with one event; - reads stdin")


def add_azure_verbs(verbs: Commands, scope: Scope, within: Callable[[Run], Run]) -> None:
    """What `az eventgrid` has. `scope` adds the options that say what a subscription is to, and
    `within` what makes `topic` of them."""
    parser = command(
        verbs,
        "create",
        within(create),
        summary="create an event subscription, its endpoint's handshake included",
        parents=[
            *(subscription_options.options(is_creating=True), as_json(), connection(), azure())
        ],
    )
    named(parser, "3 to 50 letters, digits and '-'")
    scope(parser, "what it subscribes to: TOPIC, DOMAIN or DOMAIN/TOPIC", True)
    parser = command(
        verbs,
        "list",
        within(list_subscriptions),
        summary="list the subscriptions of one topic or of all",
        parents=[as_json(), connection(), azure()],
    )
    scope(parser, "only those of this topic (or DOMAIN, or DOMAIN/TOPIC)", False)
    parser = _one(
        verbs, scope, "show", within(show), summary="show one subscription, its books and failures"
    )
    parser.add_argument(
        "--include-full-endpoint-url",
        "--full-ed-url",
        nargs="?",
        const=True,
        default=False,
        type=subscription_options.boolean,
        metavar="true|false",
        help="show the endpoint with the values in its query",
    )
    _one(
        verbs,
        scope,
        "update",
        within(update),
        summary="change what is given, keep the rest; an empty value goes back to the default",
        parents=[subscription_options.options(is_creating=False)],
    )
    _one(
        verbs,
        scope,
        "delete",
        within(delete),
        summary="delete a subscription; what is pending is dropped",
        parents=[confirming.yes()],
        epilog="On a terminal it asks first.",
    )


def _one(
    verbs: Commands,
    scope: Scope,
    name: str,
    run: Run,
    *,
    summary: str,
    parents: list[Parser] | None = None,
    epilog: str | None = None,
) -> Parser:
    """A verb on one subscription."""
    shared = [*(parents or []), as_json(), connection(), azure()]
    parser = command(verbs, name, run, summary=summary, parents=shared, epilog=epilog)
    named(parser, "the subscription")
    scope(parser, "its topic, when several have one of that name", False)
    return parser


def _topic(parser: Parser, summary: str, is_required: bool) -> None:
    """By its name, or by a resource id as `az` takes it."""
    parser.add_argument(
        *("--topic", "--topic-name", "--source-resource-id"),
        dest="topic",
        metavar="TOPIC",
        type=_topic_named,
        required=is_required,
        help=summary,
    )


def _topic_named(text: str) -> str:
    from eventpost.formats.resources import is_resource, topic_of

    name = topic_of(text)
    if is_resource(name):
        raise argparse.ArgumentTypeError(f"`{text}` is no topic or domain of Microsoft.EventGrid")
    return name


def create(arguments: argparse.Namespace) -> int:
    declared = subscription_options.declaration(arguments)
    declared |= {"name": arguments.name, "topic": arguments.topic}
    with connect(arguments) as client:
        azure_resources.resolve(declared, client)
        local_paths.resolve(declared, client.place)
        subscription = client.create_subscription(declared)
    subscription_view.show(subscription, arguments)
    _tell_awaited(subscription)
    return EXIT_DONE


def list_subscriptions(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        subscriptions = client.list_subscriptions(topic=arguments.topic)
    if arguments.json:
        output.json(subscriptions)
        return EXIT_DONE
    output.table(
        ("topic", "name", "endpoint", "state", "paused"),
        [
            (each.topic, each.name, each.endpoint, each.provisioning_state, each.is_paused)
            for each in subscriptions
        ],
        empty="There are no subscriptions. Make one: eventpost subscription create NAME --help",
    )
    return EXIT_DONE


def show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        subscription = client.show_subscription(arguments.name, topic=arguments.topic)
        if arguments.include_full_endpoint_url:
            from msgspec import structs

            url = client.show_full_url(arguments.name, topic=arguments.topic)
            subscription = structs.replace(subscription, endpoint=url)
        subscription_view.show(subscription, arguments)
    return EXIT_DONE


def update(arguments: argparse.Namespace) -> int:
    changes = subscription_options.changes(arguments)
    with connect(arguments) as client:
        azure_resources.resolve(changes, client)
        local_paths.resolve(changes, client.place)
        subscription = client.update_subscription(arguments.name, changes, topic=arguments.topic)
    subscription_view.show(subscription, arguments)
    _tell_awaited(subscription)
    return EXIT_DONE


def delete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        if not confirming.is_confirmed(arguments, "Delete", lambda: _losses(client, arguments)):
            output.note("Nothing was deleted.")
            return EXIT_USAGE
        client.delete_subscription(arguments.name, topic=arguments.topic)
    output.note(f"Subscription {arguments.name} is deleted.")
    return EXIT_DONE


def _losses(client: "Client", arguments: argparse.Namespace) -> str:
    found = client.show_subscription(arguments.name, topic=arguments.topic)
    assert found.books is not None
    waiting = output.count(found.books.pending, "pending delivery", "pending deliveries")
    letters = output.count(found.books.dead_letters, "dead letter")
    return f"Subscription {found.name} of {found.topic}, {waiting} and {letters} will be gone."


def pause(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        subscription_view.show(
            client.pause_subscription(arguments.name, topic=arguments.topic), arguments
        )
    return EXIT_DONE


def resume(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        subscription_view.show(
            client.resume_subscription(arguments.name, topic=arguments.topic), arguments
        )
    return EXIT_DONE


def rewind(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        position = client.rewind_subscription(arguments.name, arguments.to, topic=arguments.topic)
    if arguments.json:
        output.json({"position": position})
    else:
        output.line(f"{arguments.name} goes on at position {position:,}.")
    return EXIT_DONE


def test(arguments: argparse.Namespace) -> int:
    from eventpost.cli import files

    event = files.read(arguments.event)
    with connect(arguments) as client:
        match = client.test_subscription(arguments.name, event, topic=arguments.topic)
    _print_match(match, arguments)
    return EXIT_DONE if match.is_match else EXIT_BAD


def _print_match(match: "MatchView", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(match)
        return
    output.line("It matches." if match.is_match else "It does not match.")
    output.table(
        ("met", "clause", "found", "why"),
        [(each.is_met, each.clause, each.found, each.why) for each in match.clauses],
        empty="The subscription has no filter: every event matches.",
    )


def _tell_awaited(subscription: "SubscriptionView") -> None:
    if subscription.provisioning_state == "AwaitingManualAction":
        output.note(
            "The endpoint answered without the validation code. Nothing is delivered until the"
            f" validation URL it was sent is opened, until {subscription.validation_deadline}."
        )

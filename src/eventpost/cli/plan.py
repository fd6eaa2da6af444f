"""`eventpost plan FILE` and `eventpost apply FILE`: what a file declares, compared and made so."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eventpost.cli import local_paths, output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_BAD,
    EXIT_DONE,
    Commands,
    Parser,
    Run,
    as_json,
    command,
    connection,
)

if TYPE_CHECKING:
    from eventpost.client import Client
    from eventpost.config.plan import Change
    from eventpost.core.limits import Limits
    from eventpost.registry.declarations import DomainDeclaration, TopicDeclaration
    from eventpost.server.models import DomainView, SubscriptionView, TopicView

SIGNS = {"create": "+", "update": "~", "delete": "-", "impossible": "!"}


def add(group: Commands) -> None:
    parser = _command(group, "plan", plan, summary="show what a file would change on the server")
    parser.add_argument("--check", action="store_true", help="exit 1 when there are changes")
    _command(group, "apply", apply, summary="make the server have what a file declares")


def _command(group: Commands, name: str, run: Run, *, summary: str) -> Parser:
    parser = command(group, name, run, summary=summary, parents=[as_json(), connection()])
    parser.add_argument("file", metavar="FILE", help="eventpost.yaml")
    parser.add_argument(
        "--prune", action="store_true", help="delete what the file does not name, too"
    )
    return parser


def plan(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        changes = _changes(client, arguments)
    _print(changes, arguments)
    is_bad = any(change.action == "impossible" for change in changes)
    return EXIT_BAD if is_bad or (changes and arguments.check) else EXIT_DONE


def apply(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        changes = _changes(client, arguments)
        if any(change.action == "impossible" for change in changes):
            _print(changes, arguments)
            output.note("Nothing was changed.")
            return EXIT_BAD
        for change in changes:
            _apply(client, change)
            if not arguments.json:
                _print_change(change)
    if arguments.json:
        _print(changes, arguments)
    else:
        output.line(_summary(changes, "done"))
    return EXIT_DONE


def _changes(client: "Client", arguments: argparse.Namespace) -> "list[Change]":
    """Read the file, ask the server, compare."""
    from eventpost.config import declared, file
    from eventpost.config.plan import Declarations
    from eventpost.config.plan import plan as planned

    config = file.load(arguments.file)
    for value in config.subscriptions.values():
        if isinstance(value, dict):
            against = Path(arguments.file).absolute().parent
            local_paths.resolve(value, client.place, against=against)
    limits = _limits(client)
    wanted = Declarations(
        topics=declared.declared_topics(config),
        domains=declared.declared_domains(config, limits),
        subscriptions=declared.declared_subscriptions(config, limits),
        connections=declared.declared_connections(config, limits),
        sources=declared.declared_sources(config, limits),
    )
    current = Declarations(
        topics=[_topic(each) for each in client.list_topics()],
        domains=[_domain(client, each) for each in client.list_domains()],
        subscriptions=[_with_full_url(client, each) for each in client.list_subscriptions()],
        connections=client.list_connections(),
        sources=client.list_sources(),
    )
    return planned(wanted, current, is_pruning=arguments.prune)


def _topic(shown: "TopicView") -> "TopicDeclaration":
    from eventpost.registry.declarations import TopicDeclaration

    return TopicDeclaration(
        **{name: getattr(shown, name) for name in TopicDeclaration.__struct_fields__}
    )


def _domain(client: "Client", shown: "DomainView") -> "DomainDeclaration":
    """With the topics that it has."""
    from eventpost.registry.declarations import DomainDeclaration

    names = [name for name in DomainDeclaration.__struct_fields__ if name != "topics"]
    topics = [each.name for each in client.list_domain_topics(shown.name)]
    return DomainDeclaration(**{name: getattr(shown, name) for name in names}, topics=topics)


def _limits(client: "Client") -> "Limits":
    """The server's own, so that the file is held to what will be asked of it."""
    import msgspec

    from eventpost.core.limits import Limits

    values = {setting.name: setting.value for setting in client.show_config()}
    known = (f"limits.{name}" for name in Limits.__struct_fields__)
    given = {name.removeprefix("limits."): values[name] for name in known if name in values}
    return msgspec.convert(given, Limits)


def _with_full_url(client: "Client", shown: "SubscriptionView") -> "SubscriptionView":
    """With what the server hides of the endpoint, so that a change of it is seen."""
    import msgspec

    from eventpost.registry.masks import MASK

    if MASK not in shown.endpoint:
        return shown
    address = client.show_full_url(shown.name, topic=shown.topic)
    return msgspec.structs.replace(shown, endpoint=address)


def _apply(client: "Client", change: "Change") -> None:
    import msgspec

    declaration = msgspec.to_builtins(change.declaration)
    match change.action, change.kind:
        case "create", "topic":
            client.create_topic(
                change.name,
                input_schema=declaration["inputSchema"],
                input_mapping_fields=declaration["inputMappingFields"],
                input_mapping_default_values=declaration["inputMappingDefaultValues"],
            )
        case "create", "domain":
            client.create_domain(
                change.name,
                input_schema=declaration["inputSchema"],
                input_mapping_fields=declaration["inputMappingFields"],
                input_mapping_default_values=declaration["inputMappingDefaultValues"],
                topics=declaration["topics"],
                **_rules(declaration),
            )
        case "create", "domain topic":
            client.create_domain_topic(change.topic, change.name)
        case "update", "domain":
            client.update_domain(change.name, **_rules(declaration))
        case "delete", "domain":
            client.delete_domain(change.name)
        case "delete", "domain topic":
            client.delete_domain_topic(change.topic, change.name)
        case "create", "connection":
            client.create_connection(declaration)
        case "create", "source":
            client.create_source(declaration)
        case "create", _:
            client.create_subscription(declaration)
        case "update", "connection":
            client.replace_connection(change.name, declaration)
        case "update", "source":
            client.replace_source(change.name, declaration)
        case "update", _:
            client.replace_subscription(change.name, declaration, topic=change.topic)
        case "delete", "topic":
            client.delete_topic(change.name)
        case "delete", "connection":
            client.delete_connection(change.name)
        case "delete", "source":
            client.delete_source(change.name)
        case "delete", _:
            client.delete_subscription(change.name, topic=change.topic)


def _rules(domain: dict[str, bool]) -> dict[str, bool]:
    return {
        "auto_create_topic_with_first_subscription": domain["autoCreateTopicWithFirstSubscription"],
        "auto_delete_topic_with_last_subscription": domain["autoDeleteTopicWithLastSubscription"],
    }


def _print(changes: "list[Change]", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json([_as_json(change) for change in changes])
        return
    for change in changes:
        _print_change(change)
    output.line(_summary(changes, "to make"))


def _print_change(change: "Change") -> None:
    output.line(f"{SIGNS[change.action]} {change.title}{_of(change)}")
    for difference in change.differences:
        before, after = output.plain(difference.before), output.plain(difference.after)
        if before == after:
            after = "another value, hidden"
        output.line(f"    {difference.field}: {before or '(none)'} -> {after or '(none)'}")
    if change.action == "impossible":
        output.line(f"    This cannot be changed: delete the {change.kind} and create it anew.")


def _of(change: "Change") -> str:
    match change.kind:
        case "subscription":
            return f" of {change.topic}"
        case "domain topic":
            return f" of {change.topic}"
        case "source":
            return f" into {change.topic}"
        case _:
            return ""


def _summary(changes: "list[Change]", what: str) -> str:
    if not changes:
        return "The server has what the file declares."
    return f"{output.count(len(changes), 'change')} {what}."


def _as_json(change: "Change") -> dict[str, object]:
    return {
        "action": change.action.value,
        "kind": change.kind,
        "topic": change.topic,
        "name": change.name,
        "differences": [
            {"field": each.field, "before": each.before, "after": each.after}
            for each in change.differences
        ],
    }

"""`eventpost domain ...`: domains, their keys and their topics, in the words of `az eventgrid`.

Subscriptions to a domain, or to a topic of one, are those of `eventpost subscription`, with
`--topic DOMAIN` and `--topic DOMAIN/TOPIC`; what `az` calls them is understood as well.
"""

import argparse
from typing import TYPE_CHECKING, Any

from eventpost.cli import confirming, keys, output, pairs, subscription, topic_options
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
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
    nouns,
)
from eventpost.cli.subscription_options import boolean

if TYPE_CHECKING:
    from eventpost.cli.subscription import Scope
    from eventpost.client import Client
    from eventpost.server.models import DomainTopicView, DomainView

RULES = {
    "--auto-create-topic-with-first-subscription": "make a topic with its first subscription",
    "--auto-delete-topic-with-last-subscription": "delete a topic with its last subscription",
}


def add(group: Commands) -> None:
    domain = noun(group, "domain", summary="create, list, show and change domains")
    shared = [as_json(), connection(), azure()]
    parser = command(domain, "create", create, summary="create a domain", parents=shared)
    named(parser, "3 to 50 letters, digits and '-'")
    topic_options.add_schema(parser, mapped="topic, id, eventtime, eventtype, subject, dataversion")
    _rules(parser)
    command(domain, "list", list_domains, summary="list all domains", parents=shared)
    parser = command(domain, "show", show, summary="show one domain", parents=shared)
    named(parser, "the domain")
    parser = command(
        domain,
        "update",
        update,
        summary="change when topics come and go by themselves",
        parents=shared,
    )
    named(parser, "the domain")
    _rules(parser)
    parser = command(
        domain,
        "delete",
        delete,
        summary="delete a domain with its events, topics, subscriptions and dead letters",
        parents=[confirming.yes(), connection(), azure()],
        epilog="On a terminal it asks first.",
    )
    named(parser, "the domain")
    keys.add(domain, "domain")
    _add_subscriptions(domain, "a whole domain", _of_domain_alone)
    _add_topics(domain)


def _rules(parser: Parser) -> None:
    for option, summary in RULES.items():
        parser.add_argument(
            option, type=boolean, metavar="true|false", help=f"{summary} (default: true)"
        )


def _add_topics(domain: Commands) -> None:
    summary = "create, list, show and delete topics of a domain"
    parser = domain.add_parser("topic", help=summary, description=f"{summary.capitalize()}.")
    verbs = nouns(parser, dest="domain_topic_verb")
    for name, run, summary in (
        ("create", create_topic, "create a topic of a domain"),
        ("show", show_topic, "show one topic of a domain"),
    ):
        parser = command(
            verbs, name, run, summary=summary, parents=[as_json(), connection(), azure()]
        )
        named(parser, "the topic")
        _of_domain(parser)
    parser = command(
        verbs,
        "list",
        list_topics,
        summary="list the topics of a domain",
        parents=[as_json(), connection(), azure()],
    )
    _of_domain(parser)
    parser = command(
        verbs,
        "delete",
        delete_topic,
        summary="delete a topic of a domain with its subscriptions and their dead letters",
        parents=[confirming.yes(), connection(), azure()],
        epilog="On a terminal it asks first.",
    )
    named(parser, "the topic")
    _of_domain(parser)
    _add_subscriptions(verbs, "one topic of a domain", _of_domain_topic)


def _add_subscriptions(group: Commands, what: str, scope: "Scope") -> None:
    """As `az` has them; they are subscriptions like all others."""
    summary = f"create, list, show, change and delete subscriptions to {what}"
    parser = group.add_parser(
        "event-subscription", help=summary, description=f"{summary.capitalize()}."
    )
    verbs = nouns(parser, dest="event_subscription_verb")
    subscription.add_azure_verbs(verbs, scope, _within)


def _of_domain_alone(parser: Parser, _summary: str, _is_required: bool) -> None:
    parser.add_argument(
        "--domain-name", "--domain", required=True, metavar="DOMAIN", help="the domain"
    )


def _of_domain_topic(parser: Parser, _summary: str, _is_required: bool) -> None:
    _of_domain(parser)
    parser.add_argument(
        "--domain-topic-name", required=True, metavar="TOPIC", help="the topic of the domain"
    )


def _within(run: Run) -> Run:
    def scoped(arguments: argparse.Namespace) -> int:
        topic = getattr(arguments, "domain_topic_name", None)
        domain = arguments.domain_name
        from eventpost.core.domains import joined

        arguments.topic = joined(domain, topic) if topic else domain
        return run(arguments)

    return scoped


def _of_domain(parser: Parser) -> None:
    parser.add_argument(
        "--domain-name", "--domain", required=True, metavar="DOMAIN", help="the topic's domain"
    )


# --- domains --------------------------------------------------------------------------------------


def create(arguments: argparse.Namespace) -> int:
    rules: dict[str, Any] = {
        rule: given for rule, given in _given(arguments).items() if given is not None
    }
    with connect(arguments) as client:
        domain = client.create_domain(
            arguments.name,
            input_schema=arguments.input_schema,
            input_mapping_fields=pairs.texts(arguments.input_mapping_fields),
            input_mapping_default_values=pairs.texts(arguments.input_mapping_default_values),
            **rules,
        )
        _print(domain, arguments)
    return EXIT_DONE


def _given(arguments: argparse.Namespace) -> dict[str, bool | None]:
    rules = [option.removeprefix("--").replace("-", "_") for option in RULES]
    return {rule: getattr(arguments, rule) for rule in rules}


def list_domains(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        domains = client.list_domains()
    if arguments.json:
        output.json(domains)
        return EXIT_DONE
    output.table(
        ("name", "input schema", "endpoint"),
        [(domain.name, domain.input_schema, domain.endpoint) for domain in domains],
        empty="There are no domains. Make one: eventpost domain create NAME",
    )
    return EXIT_DONE


def show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.show_domain(arguments.name), arguments)
    return EXIT_DONE


def update(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print(client.update_domain(arguments.name, **_given(arguments)), arguments)
    return EXIT_DONE


def delete(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        if not confirming.is_confirmed(
            arguments, "Delete", lambda: _losses(client, arguments.name)
        ):
            output.note("Nothing was deleted.")
            return EXIT_USAGE
        client.delete_domain(arguments.name)
    output.note(f"Domain {arguments.name} is deleted.")
    return EXIT_DONE


def _losses(client: "Client", name: str) -> str:
    count = len(client.list_domain_topics(client.show_domain(name).name))
    of_them = f", {output.count(count, 'topic')} and their subscriptions" if count else ""
    return f"Domain {name} with its events{of_them} will be gone for good."


# --- topics of a domain ---------------------------------------------------------------------------


def create_topic(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print_topic(client.create_domain_topic(arguments.domain_name, arguments.name), arguments)
    return EXIT_DONE


def show_topic(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        _print_topic(client.show_domain_topic(arguments.domain_name, arguments.name), arguments)
    return EXIT_DONE


def list_topics(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        topics = client.list_domain_topics(arguments.domain_name)
    if arguments.json:
        output.json(topics)
        return EXIT_DONE
    output.table(
        ("name", "subscriptions", "subscribe to it with"),
        [(each.name, each.subscription_count, f"--topic {each.topic}") for each in topics],
        empty="The domain has no topics. They come with their first subscription.",
    )
    return EXIT_DONE


def delete_topic(arguments: argparse.Namespace) -> int:
    domain, name = arguments.domain_name, arguments.name
    with connect(arguments) as client:
        if not confirming.is_confirmed(
            arguments, "Delete", lambda: _topic_losses(client, domain, name)
        ):
            output.note("Nothing was deleted.")
            return EXIT_USAGE
        client.delete_domain_topic(domain, name)
    output.note(f"Topic {name} of domain {domain} is deleted.")
    return EXIT_DONE


def _topic_losses(client: "Client", domain: str, name: str) -> str:
    count = client.show_domain_topic(domain, name).subscription_count
    of_it = f" with {output.count(count, 'subscription')} and their dead letters" if count else ""
    return f"Topic {name} of domain {domain}{of_it} will be gone for good."


# --- output ---------------------------------------------------------------------------------------


def _print(domain: "DomainView", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(domain)
        return
    output.fields(
        {
            "name": domain.name,
            "input schema": domain.input_schema,
            "input mapping": topic_options.mapping(domain.input_mapping_fields),
            "default values": topic_options.mapping(domain.input_mapping_default_values),
            "endpoint": domain.endpoint,
            "topics come by themselves": domain.auto_create_topic_with_first_subscription,
            "topics go by themselves": domain.auto_delete_topic_with_last_subscription,
            "created": domain.created_time,
            "id": domain.id,
        }
    )


def _print_topic(topic: "DomainTopicView", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(topic)
        return
    output.fields(
        {
            "name": topic.name,
            "subscriptions": topic.subscription_count,
            "subscribe to it with": f"--topic {topic.topic}",
            "created": topic.created_time,
            "id": topic.id,
        }
    )

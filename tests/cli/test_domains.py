"""Domains by command, and declared in a file."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from eventpost.testing import Receiver as Webhook
from tests.cli.receiver import Receiver
from tests.cli.running import Program

ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/domains"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """One that consents to CloudEvents, too."""
    made = Webhook()
    yield made
    made.close()


def topics(grid: Program, domain: str) -> list[str]:
    listed = grid.run("domain", "topic", "list", "--domain-name", domain, "--json").json
    return [each["name"] for each in listed]


def test_a_domain_by_command(grid: Program) -> None:
    """A domain is made, shown, changed and deleted in the words of `az eventgrid domain`."""
    made = grid.run("domain", "create", "--name", "d-life", "-g", "radio", "-l", "here", "--json")
    assert made.code == 0, made.err
    rule = "--auto-delete-topic-with-last-subscription"
    changed = grid.run("domain", "update", "-n", "d-life", rule, "false", "--json").json
    assert changed == made.json | {"autoDeleteTopicWithLastSubscription": False}
    shown = grid.run("domain", "show", "d-life")
    assert "topics go by themselves" in shown.out
    keys = grid.run("domain", "key", "list", "d-life", "--json").json
    renewed = grid.run("domain", "key", "regenerate", "d-life", "--key-name", "key1", "--json").json
    assert (renewed["key1"] != keys["key1"], renewed["key2"]) == (True, keys["key2"])
    only = grid.run("domain", "key", "list", "d-life", "--key-name", "key2")
    assert only.out.strip() == keys["key2"]
    assert "d-life" in grid.run("domain", "list").out
    assert grid.run("domain", "delete", "d-life", "--yes").code == 0
    assert grid.run("domain", "show", "d-life").code == 1


def test_topics_of_a_domain_by_command(grid: Program) -> None:
    """Topics of a domain are made, listed, shown and deleted."""
    grid.run("domain", "create", "d-topics")
    of_domain = ("--domain-name", "d-topics")
    empty = grid.run("domain", "topic", "list", *of_domain)
    assert "no topics" in empty.out + empty.err

    assert grid.run("domain", "topic", "create", "radio-1", *of_domain).code == 0
    assert topics(grid, "d-topics") == ["radio-1"]
    assert "--topic d-topics/radio-1" in grid.run("domain", "topic", "list", *of_domain).out
    shown = grid.run("domain", "topic", "show", "-n", "RADIO-1", *of_domain)
    assert "d-topics/radio-1" in shown.out
    assert grid.run("domain", "topic", "delete", "radio-1", *of_domain, "--yes").code == 0
    assert grid.run("domain", "topic", "show", "radio-1", *of_domain).code == 1


@pytest.mark.parametrize("schema", ["eventgridschema", "cloudeventschemav1_0"])
def test_publishing_to_one_topic(grid: Program, webhook: Webhook, schema: str) -> None:
    """`publish DOMAIN/TOPIC` reaches who subscribed to that topic, by its name or by its id."""
    domain = f"d-{schema[:5]}"
    grid.run("domain", "create", domain, "--input-schema", schema)
    word = ("--endpoint", webhook.url)
    first = grid.run("subscription", "create", "one", "--topic", f"{domain}/radio-1", *word)
    assert first.code == 0, first.err
    resource = f"{ID}/{domain}/topics/radio-2"
    second = grid.run(
        "event-subscription", "create", "--name", "two", "--source-resource-id", resource, *word
    )
    assert second.code == 0, second.err

    published = grid.run("publish", f"{domain}/radio-1", "--event-type", "Song.Requested")

    assert published.code == 0, published.err
    (came,) = webhook.wait_for(1)
    assert (came.event.get("topic") or came.event["source"]).endswith("radio-1")
    listed = grid.run("subscription", "list", "--topic", f"{domain}/radio-2", "--json").json
    assert [each["name"] for each in listed] == ["two"]
    assert grid.run("subscription", "delete", "two", "--topic", resource, "--yes").code == 0
    assert topics(grid, domain) == ["radio-1"]


def test_domains_in_a_file(grid: Program, receiver: Receiver) -> None:
    """A declared domain and its topics are made, then nothing is left to do; rules can be changed,
    a schema cannot, and what the file no longer names goes when it is asked for."""
    declared: dict[str, Any] = {
        "domains": {"d-file": {"topics": ["radio-1"]}},
        "subscriptions": {"file-one": {"topic": "d-file/radio-2", "endpoint": receiver.url}},
    }
    file = grid.directory / "domains.yaml"
    file.write_text(json.dumps(declared))

    applied = grid.run("apply", "domains.yaml")

    assert applied.code == 0, applied.err
    assert "+ domain d-file" in applied.out
    assert topics(grid, "d-file") == ["radio-1", "radio-2"]
    assert grid.run("plan", "domains.yaml", "--check").code == 0
    declared["domains"]["d-file"] |= {
        "topics": ["radio-1", "radio-3"],
        "auto_create_topic_with_first_subscription": False,
    }
    file.write_text(json.dumps(declared))
    planned = grid.run("plan", "domains.yaml").out
    assert "~ domain d-file" in planned
    assert "+ domain topic radio-3 of d-file" in planned
    assert grid.run("apply", "domains.yaml").code == 0
    assert grid.run("plan", "domains.yaml", "--check").code == 0
    declared["domains"]["d-file"]["input_schema"] = "cloudeventschemav1_0"
    file.write_text(json.dumps(declared))
    impossible = grid.run("apply", "domains.yaml")
    assert (impossible.code, "delete the domain and create it anew" in impossible.out) == (1, True)


def test_subscriptions_in_the_words_of_az(grid: Program, receiver: Receiver) -> None:
    """`domain event-subscription` and `domain topic event-subscription` are the same subscriptions
    under the names that `az eventgrid` has for them."""
    grid.run("domain", "create", "d-words")
    of_domain = ("--domain-name", "d-words")
    of_topic = (*of_domain, "--domain-topic-name", "radio-1")
    for group, scope in ((("domain",), of_domain), (("domain", "topic"), of_topic)):
        words = (*group, "event-subscription")
        made = grid.run(*words, "create", "-n", "words", *scope, "--endpoint", receiver.url)
        assert made.code == 0, made.err
        changed = grid.run(*words, "update", "-n", "words", *scope, "--labels", "blues", "--json")
        assert changed.json["labels"] == ["blues"]
        shown = grid.run(*words, "show", "-n", "words", *scope, "--json").json
        assert shown["topic"] == ("d-words/radio-1" if len(group) == 2 else "d-words")
        listed = grid.run(*words, "list", *scope, "--json").json
        assert [each["topic"] for each in listed] == [shown["topic"]]
    assert topics(grid, "d-words") == ["radio-1"]
    for group, scope in ((("domain",), of_domain), (("domain", "topic"), of_topic)):
        words = (*group, "event-subscription")
        assert grid.run(*words, "delete", "-n", "words", *scope, "--yes").code == 0
    assert topics(grid, "d-words") == []

"""What a file declares, compared with what a server has."""

import msgspec
import pytest

from eventpost.config import declared, file
from eventpost.config.plan import Action, Change, Declarations, plan
from eventpost.core.errors import InvalidRequest
from eventpost.registry import masks
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    DomainDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
    from_core,
    from_source,
    to_core,
    to_source,
)
from tests.documentation import ROOT, blocks

STATION = """
topics:
  song-requests: {input_schema: eventgridschema}
subscriptions:
  blues:
    topic: song-requests
    endpoint: https://station.example/api/songs?code=hush
    filter: {subject_begins_with: genre/}
    retry: {max_delivery_attempts: 2, event_ttl_minutes: 1}
    delivery_attribute_mappings:
      - {name: x-key, value: hush, is_secret: true}
"""

QUEUES = """
connections:
  home: {kind: rabbitmq, host: localhost, port: 5672, password: env:RABBIT}
topics:
  song-requests: {}
sources:
  jobs:
    kind: rabbitmq
    connection: home
    queue: songs
    topic: song-requests
    options: {wait_s: 5, names: [a, b]}
    format: raw
    input_mapping_fields: {eventType: data.kind}
    lease: 1m
subscriptions:
  out: {topic: song-requests, endpoint_type: rabbitmq, endpoint: blues, connection: home}
"""

TWINS = """subscriptions:
  one: {topic: t-1, name: abc, endpoint: 'https://a.example'}
  other: {topic: t-1, name: abc, endpoint: 'https://a.example'}
"""
MINUTE = """subscriptions:
  abc: {topic: t-1, endpoint: 'https://a.example', retry: {event_ttl: 60s}}
"""


def subscriptions_of(text: str) -> list[SubscriptionDeclaration]:
    return declared.declared_subscriptions(file.parse(text, name="eventpost.yaml"))


def as_the_server_shows(subscription: SubscriptionDeclaration) -> SubscriptionDeclaration:
    return from_core(to_core(subscription), topic=subscription.topic)


def planned(
    text: str,
    *,
    topics: list[TopicDeclaration] | None = None,
    domains: list[DomainDeclaration] | None = None,
    subscriptions: list[SubscriptionDeclaration] | None = None,
    connections: list[ConnectionDeclaration] | None = None,
    sources: list[SourceDeclaration] | None = None,
    is_pruning: bool = False,
) -> list[Change]:
    current = Declarations(
        topics=topics or [],
        domains=domains or [],
        subscriptions=subscriptions or [],
        connections=connections or [],
        sources=sources or [],
    )
    return plan(wanted(text), current, is_pruning=is_pruning)


def wanted(text: str) -> Declarations:
    config = file.parse(text, name="eventpost.yaml")
    return Declarations(
        topics=declared.declared_topics(config),
        domains=declared.declared_domains(config),
        subscriptions=declared.declared_subscriptions(config),
        connections=declared.declared_connections(config),
        sources=declared.declared_sources(config),
    )


def steps(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.action.value, change.title) for change in changes]


def test_an_empty_server_gets_everything_topics_first() -> None:
    """On an empty server every declared thing is created, a topic before its subscriptions."""
    assert steps(planned(STATION)) == [
        ("create", "topic song-requests"),
        ("create", "subscription blues"),
    ]


def test_what_is_there_already_needs_no_change() -> None:
    """A server that has what the file declares, secrets shown masked, is left alone."""
    (shown,) = map(as_the_server_shows, subscriptions_of(STATION))
    assert masks.MASK in shown.endpoint

    changes = planned(
        STATION, topics=[TopicDeclaration(name="song-requests")], subscriptions=[shown]
    )

    assert changes == []


def test_spelling_does_not_count_as_a_difference() -> None:
    """`1m`, `60s` and `60000ms` are the same time to live; names of schemas have no case."""
    before = subscriptions_of(MINUTE)
    changes = planned(
        "topics: {t-1: {input_schema: EventGridSchema}}\n"
        "subscriptions:\n  abc:\n    topic: t-1\n    endpoint: https://a.example\n"
        "    retry: {event_ttl_minutes: 1}\n",
        topics=[TopicDeclaration(name="t-1")],
        subscriptions=[as_the_server_shows(each) for each in before],
    )

    assert changes == []


def test_each_differing_field_is_named_with_both_values() -> None:
    """An update says which fields change, from what to what."""
    (shown,) = map(as_the_server_shows, subscriptions_of(STATION))
    text = STATION.replace("genre/", "genre/blues").replace("attempts: 2", "attempts: 3")

    (change,) = planned(
        text, topics=[TopicDeclaration(name="song-requests")], subscriptions=[shown]
    )

    assert change.action is Action.UPDATE
    assert {(each.field, each.before, each.after) for each in change.differences} == {
        ("filter.subjectBeginsWith", "genre/", "genre/blues"),
        ("retry.maxDeliveryAttempts", 2, 3),
    }


def test_a_visible_part_of_a_masked_url_still_counts() -> None:
    """Only what is hidden counts as equal: another host is a change."""
    (shown,) = map(as_the_server_shows, subscriptions_of(STATION))

    (change,) = planned(
        STATION.replace("station.example", "other.example"),
        topics=[TopicDeclaration(name="song-requests")],
        subscriptions=[shown],
    )

    assert [each.field for each in change.differences] == ["endpoint"]


def test_a_topic_cannot_change_its_schema() -> None:
    """Another input schema is reported as impossible, never done by deleting."""
    topics = [TopicDeclaration(name="song-requests", input_schema="cloudeventschemav1_0")]

    changes = planned(STATION, topics=topics)

    assert steps(changes)[0] == ("impossible", "topic song-requests")


def test_a_subscription_to_no_topic_is_refused_before_anything_changes() -> None:
    """A topic that is neither declared nor there is named, with the nearest one that is."""
    with pytest.raises(InvalidRequest, match="no topic `song-requests`") as caught:
        planned(
            STATION.replace("  song-requests: {", "  other-topic: {"),
            topics=[TopicDeclaration(name="song-request")],
        )

    assert "'song-request'" in caught.value.fix


def test_connections_come_first_and_sources_last() -> None:
    """A connection is made before what uses it, a source after those who wait for its events."""
    assert steps(planned(QUEUES)) == [
        ("create", "connection home"),
        ("create", "topic song-requests"),
        ("create", "subscription out"),
        ("create", "source jobs"),
    ]


def test_connections_and_sources_that_are_there_need_no_change() -> None:
    """What a server shows of a connection and a source, spelt its own way, is no difference."""
    has = wanted(QUEUES)
    shown = [from_source(to_source(each), topic=each.topic) for each in has.sources]
    assert shown[0].lease == "1m"
    assert shown[0].input_mapping_fields == {"eventtype": "data.kind"}

    changes = planned(
        QUEUES,
        topics=[*has.topics],
        subscriptions=[as_the_server_shows(each) for each in has.subscriptions],
        connections=[*has.connections],
        sources=shown,
    )

    assert changes == []


@pytest.mark.parametrize(
    ("before", "after", "differences"),
    [
        ("port: 5672", "port: 5671", [("settings.port", 5672, 5671)]),
        (", port: 5672", "", [("settings.port", 5672, None)]),
        ("lease: 1m", "lease: 90s", [("lease", "1m", "90s")]),
        ("wait_s: 5, ", "", [("options.wait_s", 5, None)]),
        ("wait_s: 5", "wait_s: 5, more: 1", [("options.more", None, 1)]),
        ("names: [a, b]", "names: [b]", [("options.names", ["a", "b"], ["b"])]),
    ],
)
def test_a_changed_setting_is_told(
    before: str, after: str, differences: list[tuple[str, object, object]]
) -> None:
    """A setting or option that changes, comes or goes is one difference with both values."""
    has = wanted(QUEUES)

    (change,) = planned(
        QUEUES.replace(before, after),
        topics=[*has.topics],
        subscriptions=[*has.subscriptions],
        connections=[*has.connections],
        sources=[*has.sources],
    )

    assert change.action is Action.UPDATE
    assert [(each.field, each.before, each.after) for each in change.differences] == differences


def test_a_source_cannot_change_its_topic() -> None:
    """Another topic is reported as impossible, never done by deleting."""
    has = wanted(QUEUES)
    (moved,) = [msgspec.structs.replace(each, topic="others") for each in has.sources]

    changes = planned(QUEUES, topics=[*has.topics], connections=[*has.connections], sources=[moved])

    assert ("impossible", "source jobs") in steps(changes)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (QUEUES.replace("  home: {", "  hame: {"), "Subscription out: there is no connection"),
        (QUEUES.replace("topic: song-requests\n    opt", "topic: other\n    opt"), "Source jobs"),
    ],
)
def test_what_is_used_must_be_there(text: str, what: str) -> None:
    """A connection or topic that is neither declared nor there is named before anything changes."""
    with pytest.raises(InvalidRequest, match=what):
        planned(text)


def test_pruning_goes_from_what_uses_to_what_is_used() -> None:
    """Sources and subscriptions that are not named go before their topics and connections."""
    has = wanted(QUEUES)

    changes = planned(
        "",
        topics=[*has.topics],
        subscriptions=[*has.subscriptions],
        connections=[*has.connections],
        sources=[*has.sources],
        is_pruning=True,
    )

    assert steps(changes) == [
        ("delete", "source jobs"),
        ("delete", "subscription out"),
        ("delete", "topic song-requests"),
        ("delete", "connection home"),
    ]


def test_what_the_file_does_not_name_stays_unless_pruned() -> None:
    """Undeclared things are left alone; pruning deletes them, built-in topics never."""
    topics = [
        TopicDeclaration(name=name)
        for name in ("song-requests", "old-topic", "eventpost.deadletters")
    ]
    (kept,) = map(as_the_server_shows, subscriptions_of(STATION))
    (gone,) = subscriptions_of(
        "subscriptions: {rock: {topic: song-requests, endpoint: 'https://r.example'}}"
    )
    has = [kept, as_the_server_shows(gone)]

    assert planned(STATION, topics=topics, subscriptions=has) == []
    assert steps(planned(STATION, topics=topics, subscriptions=has, is_pruning=True)) == [
        ("delete", "subscription rock"),
        ("delete", "topic old-topic"),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("topics:\n  abc: {input_shema: x}\n", ["eventpost.yaml:2", "topics.abc.input_shema"]),
        ("topics:\n  abc: {input_schema: xml}\n", ["xml"]),
        (
            "subscriptions:\n  abc:\n    topic: t-1\n    filter:\n      subject_begin: x\n",
            ["eventpost.yaml:5", "subscriptions.abc.filter.subject_begin"],
        ),
        (
            "subscriptions: {abc: {topic: t-1,\n retry: {max_delivery_attempts: many}}}",
            ["eventpost.yaml:2", "max_delivery_attempts"],
        ),
        ("subscriptions:\n  abc: {endpoint: 'https://a.example'}\n", ["eventpost.yaml:2", "topic"]),
        (
            "subscriptions:\n  abc: {topic: t-1, endpoint: 'https://a.example', concurrency: 0}\n",
            ["eventpost.yaml:2", "oncurrency"],
        ),
        (TWINS, ["eventpost.yaml:3", "one and other"]),
        ("connections:\n  abc: {host: x}\n", ["eventpost.yaml:2", "connections.abc", "kind"]),
        (
            "connections:\n  abc: {kind: rabbitmq, url: 'amqp://me:hush@h'}\n",
            ["eventpost.yaml:2", "settings.url", "env:NAME"],
        ),
        ("sources:\n  abc: {topic: t-1, kind: sqs}\n", ["eventpost.yaml:2", "names no queue"]),
        (
            "sources:\n  abc: {topic: t-1, kind: sqs, queue: q, format: xml}\n",
            ["eventpost.yaml:2", "xml", "roadrunner"],
        ),
        (
            "sources:\n  abc:\n    topic: t-1\n    kind: sqs\n    queu: q\n",
            ["eventpost.yaml:5", "sources.abc.queu", "'queue'"],
        ),
    ],
)
def test_a_wrong_declaration_is_named_with_its_line(text: str, parts: list[str]) -> None:
    """What is declared wrongly is refused before anything is asked of a server, with its line."""
    with pytest.raises(InvalidRequest) as caught:
        planned(text)

    shown = f"{caught.value.what} {caught.value.why} {caught.value.fix}"
    assert [part for part in parts if part not in shown] == []


# --- pull -----------------------------------------------------------------------------------------

PULLED = next(each for each in blocks(ROOT / "docs/pull.md") if each.language == "yaml").text


def test_a_documented_pull_subscription_is_declared() -> None:
    """The page's file is understood, made once, and changed in place."""
    has = wanted(PULLED)
    (pulled,) = map(as_the_server_shows, has.subscriptions)
    assert (pulled.endpoint_type, pulled.receive_lock_duration_in_seconds) == ("pull", 120)
    assert pulled.max_delivery_count == 5

    assert steps(planned(PULLED))[-1] == ("create", "subscription blues")
    assert planned(PULLED, topics=[*has.topics], subscriptions=[pulled]) == []
    (change,) = planned(
        PULLED.replace("seconds: 120", "seconds: 90"),
        topics=[*has.topics],
        subscriptions=[pulled],
    )
    assert change.action is Action.UPDATE
    assert [each.field for each in change.differences] == ["receiveLockDurationInSeconds"]


@pytest.mark.parametrize("is_pulled", [True, False])
def test_pull_and_push_are_not_exchanged(is_pulled: bool) -> None:
    """The other mode is reported as impossible, never done by deleting."""
    has = wanted(PULLED)
    pushed = PULLED.replace("endpoint_type: pull", "endpoint: https://station.example/")
    text, there = (pushed, has) if is_pulled else (PULLED, wanted(pushed))

    (change,) = planned(
        text,
        topics=[*has.topics],
        subscriptions=[*map(as_the_server_shows, there.subscriptions)],
    )

    assert change.action is Action.IMPOSSIBLE
    assert [each.field for each in change.differences] == ["endpointType"]


def test_a_domain_comes_before_who_subscribes_to_it() -> None:
    """A topic of a domain that is declared, or that comes by itself, needs no declaration."""
    text = (
        "domains: {stations: {topics: [radio-1]}}\n"
        "subscriptions:\n"
        "  one: {topic: stations/radio-1, endpoint: https://a.example}\n"
        "  two: {topic: stations/radio-2, endpoint: https://a.example}\n"
        "  all: {topic: stations, endpoint: https://a.example}\n"
    )

    assert steps(planned(text))[:2] == [
        ("create", "domain stations"),
        ("create", "subscription one"),
    ]
    with pytest.raises(InvalidRequest, match="no topic `others/radio-1`"):
        planned("subscriptions: {one: {topic: others/radio-1, endpoint: https://a.example}}")


def test_what_changes_of_a_domain() -> None:
    """Rules are changed and missing topics made; another schema would need another domain."""
    there = DomainDeclaration(name="stations", topics=["Radio-1", "radio-9"])

    assert planned("domains: {stations: {topics: [radio-1]}}", domains=[there]) == []
    text = "domains: {stations: {auto_create_topic_with_first_subscription: false, topics: [n-1]}}"
    assert steps(planned(text, domains=[there])) == [
        ("update", "domain stations"),
        ("create", "domain topic n-1"),
    ]
    text = "domains: {stations: {input_schema: cloudeventschemav1_0}}"
    assert steps(planned(text, domains=[there])) == [("impossible", "domain stations")]


def test_pruning_of_domains() -> None:
    """Domains and topics that the file does not name go; a topic that goes with its last
    subscription is left to that."""
    gone = DomainDeclaration(name="gone")
    kept = DomainDeclaration(name="stations", topics=["used-1", "left-1", "goes-1"])
    (shown,) = map(
        as_the_server_shows,
        subscriptions_of(
            "subscriptions: {old: {topic: stations/goes-1, endpoint: https://a.example}}"
        ),
    )
    text = (
        "domains: {stations: {}}\n"
        "subscriptions: {one: {topic: stations/used-1, endpoint: https://a.example}}\n"
    )

    changes = planned(text, domains=[gone, kept], subscriptions=[shown], is_pruning=True)

    assert steps(changes) == [
        ("create", "subscription one"),
        ("delete", "subscription old"),
        ("delete", "domain gone"),
        ("delete", "domain topic left-1"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("domains:\n  stations: {input_schema: customeventschema}", "topic is not mapped"),
        ("domains:\n  stations: {topics: [a b]}", "cannot name a topic"),
        ("domains:\n  stations: {topiks: []}", "topics"),
    ],
)
def test_a_domain_that_cannot_be(text: str, says: str) -> None:
    """What is wrong with a declared domain is told with its line."""
    with pytest.raises(InvalidRequest, match=r"eventpost\.yaml:2") as refused:
        planned(text)
    assert says in f"{refused.value} {refused.value.fix}"

"""Domains: one endpoint, many topics, and who subscribes to one of them or to all."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from eventpost.config.settings import Settings
from eventpost.core.limits import Limits
from eventpost.testing import Receiver
from tests.server.running import EVENT, Served, problem, served, until

PREFIX = "/subscriptions/local/resourceGroups/local/providers/Microsoft.EventGrid/domains"


@pytest.fixture
def domain(admin: httpx.Client) -> str:
    assert admin.post("/domains", json={"name": "stations"}).status_code == 201
    return "stations"


def subscribe(admin: httpx.Client, webhook: Receiver, topic: str, name: str, **more: Any) -> None:
    declared = {"name": name, "topic": topic, "endpoint": f"{webhook.url}?to={name}", **more}
    created = admin.post("/subscriptions", json=declared)
    assert created.status_code == 201, created.text


def event(topic: str | None, number: int = 1) -> dict[str, Any]:
    named = {} if topic is None else {"topic": topic}
    return EVENT | named | {"id": f"event-{number}"}


def publish(server: Served, domain: str, *events: dict[str, Any], path: str = "") -> httpx.Response:
    path = path or f"/domains/{domain}/api/events"
    headers = {"aeg-sas-key": server.key(domain)}
    with server.http() as client:
        return client.post(path, json=list(events), headers=headers)


def received(webhook: Receiver, name: str) -> list[dict[str, Any]]:
    """What came to the subscription's own path."""
    return [each.event for each in webhook.requests if each.path.endswith(f"to={name}")]


# --- the domain as a resource ---------------------------------------------------------------------


def test_a_domains_life(admin: httpx.Client) -> None:
    """A domain is created, shown, listed, changed and deleted; topics are listed apart from it."""
    created = admin.post("/domains", json={"name": "stations", "topics": ["radio-1"]})

    assert created.status_code == 201, created.text
    domain = created.json()
    assert domain["id"] == f"{PREFIX}/stations"
    assert domain["endpoint"].endswith("/domains/stations/api/events")
    assert domain["autoCreateTopicWithFirstSubscription"] is True
    assert admin.get("/domains/STATIONS").json() == domain
    assert [each["name"] for each in admin.get("/domains").json()["value"]] == ["stations"]
    assert "stations" not in [each["name"] for each in admin.get("/topics").json()["value"]]
    changed = admin.patch(
        "/domains/stations", json={"autoDeleteTopicWithLastSubscription": False}
    ).json()
    assert changed == domain | {"autoDeleteTopicWithLastSubscription": False}
    topics = admin.get("/domains/stations/topics").json()["value"]
    assert [(each["name"], each["topic"]) for each in topics] == [("radio-1", "stations/radio-1")]
    assert admin.delete("/domains/stations").status_code == 204
    assert problem(admin.get("/domains/stations"), 404)["code"] == "DomainNotFound"
    assert admin.get("/domains").json() == {"value": []}


def test_a_domain_keeps_its_schema(admin: httpx.Client, domain: str) -> None:
    """A change of the input schema is a conflict that says so, and changes nothing."""
    patch = {"inputSchema": "cloudeventschemav1_0", "autoCreateTopicWithFirstSubscription": False}

    assert problem(admin.patch(f"/domains/{domain}", json=patch), 409)["code"] == "DomainExists"
    shown = admin.get(f"/domains/{domain}").json()
    assert shown["autoCreateTopicWithFirstSubscription"] is True


def test_topics_and_domains_share_their_names(admin: httpx.Client, domain: str) -> None:
    """Both are reached by their name, so that one of a kind is a conflict for the other."""
    admin.post("/topics", json={"name": "songs"})

    taken = problem(admin.post("/topics", json={"name": domain}), 409)
    assert taken["code"] == "DomainExists"
    assert problem(admin.post("/domains", json={"name": "songs"}), 409)["code"] == "TopicExists"
    assert problem(admin.get(f"/topics/{domain}"), 404)["code"] == "TopicNotFound"
    assert problem(admin.delete(f"/topics/{domain}"), 404)["code"] == "TopicNotFound"


def test_keys_of_a_domain(server: Served, admin: httpx.Client, domain: str) -> None:
    """Keys are listed and renewed one at a time; a renewed one is refused from then on."""
    old = admin.get(f"/domains/{domain}/keys").json()

    new = admin.post(f"/domains/{domain}/keys/regenerate", json={"keyName": "key1"}).json()

    assert (new["key1"] != old["key1"], new["key2"]) == (True, old["key2"])
    for key, status in ((old["key1"], 401), (old["key2"], 200), (new["key1"], 200)):
        with server.http() as client:
            answer = client.post(
                f"/domains/{domain}/api/events",
                json=[event("radio-1")],
                headers={"aeg-sas-key": key},
            )
        assert answer.status_code == status


def test_topics_come_and_go_with_subscriptions(
    admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """The first subscription makes the topic, and the last one takes it along."""
    subscribe(admin, webhook, "stations/radio-1", "first")
    subscribe(admin, webhook, "stations/RADIO-1", "second")
    (topic,) = admin.get("/domains/stations/topics").json()["value"]
    assert (topic["name"], topic["subscriptionCount"]) == ("radio-1", 2)

    admin.delete("/subscriptions/first")
    assert len(admin.get("/domains/stations/topics").json()["value"]) == 1
    admin.delete("/subscriptions/second")
    assert admin.get("/domains/stations/topics").json()["value"] == []


def test_topics_that_are_managed_by_hand(
    admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """Without the two rules a subscription needs its topic first, and leaves it behind."""
    admin.patch(
        "/domains/stations",
        json={
            "autoCreateTopicWithFirstSubscription": False,
            "autoDeleteTopicWithLastSubscription": False,
        },
    )
    declared = {"name": "first", "topic": "stations/radio-1", "endpoint": webhook.url}

    refused = problem(admin.post("/subscriptions", json=declared), 404)
    assert refused["code"] == "DomainTopicNotFound"
    assert "autoCreateTopicWithFirstSubscription" in refused["detail"]
    assert admin.post("/domains/stations/topics", json={"name": "radio-1"}).status_code == 201
    again = admin.post("/domains/stations/topics", json={"name": "Radio-1"})
    assert problem(again, 409)["code"] == "DomainTopicExists"
    assert admin.post("/subscriptions", json=declared).status_code == 201
    admin.delete("/subscriptions/first")
    (topic,) = admin.get("/domains/stations/topics").json()["value"]
    assert (topic["name"], topic["subscriptionCount"]) == ("radio-1", 0)


def test_a_topic_goes_with_its_subscriptions(
    admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """Deleting a topic of a domain, or the domain, deletes whoever subscribed to it."""
    subscribe(admin, webhook, "stations/radio-1", "one")
    subscribe(admin, webhook, "stations/radio-2", "two")
    subscribe(admin, webhook, "stations", "all")

    assert admin.delete("/domains/stations/topics/radio-1").status_code == 204
    left = [(each["topic"], each["name"]) for each in admin.get("/subscriptions").json()["value"]]
    assert sorted(left) == [("stations", "all"), ("stations/radio-2", "two")]
    admin.delete("/domains/stations")
    assert admin.get("/subscriptions").json()["value"] == []
    until(lambda: len(webhook.farewells) == 3)


def test_a_name_is_one_of_its_topic(admin: httpx.Client, domain: str, webhook: Receiver) -> None:
    """Topics of one domain, and the domain itself, each may have a subscription of one name."""
    for topic in ("stations", "stations/radio-1", "stations/radio-2"):
        subscribe(admin, webhook, topic, "same")
    again = {"name": "same", "topic": "stations/radio-1", "endpoint": webhook.url}

    assert problem(admin.post("/subscriptions", json=again), 409)["code"] == "SubscriptionExists"
    ambiguous = problem(admin.get("/subscriptions/same"), 409)
    assert "stations, stations/radio-1, stations/radio-2" in ambiguous["detail"]
    shown = admin.get("/subscriptions/same", params={"topic": "stations/radio-2"}).json()
    assert shown["topic"] == "stations/radio-2"
    changed = admin.patch(
        "/subscriptions/same",
        params={"topic": "stations/radio-2"},
        json={"filter": {"subjectBeginsWith": "genre/"}},
    ).json()
    assert changed["filter"]["subjectBeginsWith"] == "genre/"


def test_bounds_of_domains(tmp_path: Any, webhook: Receiver) -> None:
    """At its bound, a domain takes no more topics and no more subscriptions; below it does."""
    limits = Limits(
        domain_topics_max=2, domain_subscriptions_max=1, domain_topic_subscriptions_max=1
    )
    with served(tmp_path / "data", Settings(limits=limits)) as server, server.admin() as admin:
        admin.post("/domains", json={"name": "stations", "topics": ["radio-1"]})
        subscribe(admin, webhook, "stations", "all")
        subscribe(admin, webhook, "stations/radio-2", "two")

        for topic, setting in (
            ("stations", "limits.domain_subscriptions_max"),
            ("stations/radio-2", "limits.domain_topic_subscriptions_max"),
            ("stations/radio-3", "limits.domain_topics_max"),
        ):
            declared = {"name": "more", "topic": topic, "endpoint": webhook.url}
            refused = problem(admin.post("/subscriptions", json=declared), 400)
            assert setting in refused["fix"]


@pytest.mark.parametrize("topic", ["stations", "stations/radio-1"])
def test_what_domains_do_not_have(
    admin: httpx.Client, domain: str, webhook: Receiver, topic: str
) -> None:
    """Pull subscriptions and sources of a domain are refused, with what to do instead."""
    pulled = {"name": "pulled", "topic": topic, "endpointType": "pull"}
    assert problem(admin.post("/subscriptions", json=pulled), 400)["code"] == "NotPulled"

    subscribe(admin, webhook, "stations/radio-1", "one")
    source = {"name": "jobs", "topic": topic, "kind": "sqs", "queue": "jobs"}
    assert problem(admin.post("/sources", json=source), 400)["code"] == "DomainTopic"


# --- publishing -----------------------------------------------------------------------------------


def test_each_event_goes_to_its_topic(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """Events of one request reach who subscribes to their topic, and all of them who subscribes to
    the domain; each bears the resource id of its topic."""
    subscribe(admin, webhook, "stations/radio-1", "one")
    subscribe(admin, webhook, "stations/radio-2", "two")
    subscribe(admin, webhook, "stations", "all")

    answer = publish(
        server,
        domain,
        event("radio-1", 1),
        event(f"{PREFIX}/stations/topics/radio-2", 2),
        event("nobody-made-it", 3),
        event("RADIO-1", 4),
    )

    assert (answer.status_code, answer.content) == (200, b"")
    webhook.wait_for(7)
    assert sorted(each["id"] for each in received(webhook, "one")) == ["event-1", "event-4"]
    (second,) = received(webhook, "two")
    assert (second["id"], second["topic"]) == ("event-2", f"{PREFIX}/stations/topics/radio-2")
    topics = {each["id"]: each["topic"] for each in received(webhook, "all")}
    assert topics == {
        "event-1": f"{PREFIX}/stations/topics/radio-1",
        "event-2": f"{PREFIX}/stations/topics/radio-2",
        "event-3": f"{PREFIX}/stations/topics/nobody-made-it",
        "event-4": f"{PREFIX}/stations/topics/RADIO-1",
    }
    until(lambda: admin.get("/subscriptions/one").json()["books"]["delivered"] == 2)
    books = admin.get("/subscriptions/all").json()["books"]
    assert (books["matched"], books["topic"]) == (4, "stations")
    assert admin.get("/subscriptions/one").json()["books"]["topic"] == "stations/radio-1"


@pytest.mark.parametrize("path", ["/stations/api/events", "/DOMAINS/Stations/api/events/"])
def test_paths_of_a_domain(server: Served, domain: str, path: str) -> None:
    """A domain is published to by its name alone, too, in any case."""
    assert publish(server, domain, event("radio-1"), path=path).status_code == 200


def test_paths_that_are_no_domains(server: Served, admin: httpx.Client, domain: str) -> None:
    """A topic is no domain, and a topic of a domain has no endpoint: 404 says where to publish."""
    admin.post("/topics", json={"name": "songs"})
    admin.post("/domains/stations/topics", json={"name": "radio-1"})

    for path, says in (
        ("/domains/songs/api/events", "/topics/songs/api/events"),
        ("/topics/stations%2Fradio-1/api/events", "/domains/stations/api/events"),
        ("/domains/nothing/api/events", "nothing"),
    ):
        answer = publish(server, domain, event("radio-1"), path=path)
        assert answer.status_code == 404
        assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        (None, "requires 'topic' property to be set"),
        ("", "requires 'topic' property to be set"),
        ("https://radio.example/1", "or should be just the name of the domain topic. Found: https"),
        (f"{PREFIX}/others/topics/radio-1", "needs to either be a full resource id"),
        ("/radio-1", "needs to either be a full resource id"),
        ("ab", "3 to 50"),
        ("a" * 51, "3 to 50"),
    ],
)
def test_an_event_without_a_good_topic(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver, topic: str, says: str
) -> None:
    """It is refused in Event Grid's words, and with it everything in the request."""
    subscribe(admin, webhook, "stations", "all")

    answer = publish(server, domain, event("radio-1", 1), event(topic, 2))

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["details"][0]["code"]) == ("BadRequest", "InputJsonInvalid")
    assert says in error["message"]
    assert publish(server, domain, event("a" * 50, 3)).status_code == 200
    webhook.wait_for(1)
    assert [each["id"] for each in received(webhook, "all")] == ["event-3"]


def test_cloud_events_name_their_topic_as_source(
    server: Served, admin: httpx.Client, webhook: Receiver
) -> None:
    """A domain of CloudEvents reads the topic in `source`, and leaves it as it was written."""
    admin.post("/domains", json={"name": "clouds", "inputSchema": "cloudeventschemav1_0"})
    subscribe(admin, webhook, "clouds/radio-1", "one")
    subscribe(admin, webhook, "clouds/radio-2", "two")
    given = {"specversion": "1.0", "type": "Song", "id": "1", "data": 1}
    whole = f"{PREFIX}/clouds/topics/radio-2"
    headers = {
        "aeg-sas-key": server.key("clouds"),
        "Content-Type": "application/cloudevents-batch+json",
    }

    with server.http() as client:
        batch = [given | {"source": "radio-1"}, given | {"source": whole}]
        path = "/domains/clouds/api/events"
        assert client.post(path, json=batch, headers=headers).status_code == 200
        bad = client.post(path, json=[given | {"source": "urn:radio"}], headers=headers)
    assert "Found: urn:radio" in bad.json()["error"]["message"]
    webhook.wait_for(2)
    assert [each["source"] for each in received(webhook, "one")] == ["radio-1"]
    assert [each["source"] for each in received(webhook, "two")] == [whole]


def test_a_custom_schema_maps_the_topic(
    server: Served, admin: httpx.Client, webhook: Receiver
) -> None:
    """Where an event of a custom schema names its topic, the domain's mapping says; without that a
    domain is refused, and so is an event that names none."""
    declared = {"name": "custom", "inputSchema": "customeventschema"}
    assert problem(admin.post("/domains", json=declared), 400)["code"] == "InvalidMapping"
    mapping = {"inputMappingFields": {"topic": "where", "subject": "title"}}
    assert admin.post("/domains", json=declared | mapping).status_code == 201
    subscribe(admin, webhook, "custom/radio-1", "one", eventDeliverySchema="eventgridschema")

    assert publish(server, "custom", {"where": "radio-1", "title": "Blues"}).status_code == 200
    assert publish(server, "custom", {"title": "Blues"}).status_code == 400
    webhook.wait_for(1)
    (came,) = received(webhook, "one")
    assert came["topic"] == f"{PREFIX}/custom/topics/radio-1"
    assert came["data"] == {"where": "radio-1", "title": "Blues"}


def test_events_of_a_domain_as_cloud_events(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """Delivered as a CloudEvent, an event's source is its own topic, whoever subscribes."""
    schema = {"eventDeliverySchema": "cloudeventschemav1_0"}
    subscribe(admin, webhook, "stations", "all", **schema)
    subscribe(admin, webhook, "stations/radio-1", "one", **schema)

    publish(server, domain, event("radio-1"))

    webhook.wait_for(2)
    sources = {each.event["source"] for each in webhook.requests}
    assert sources == {f"{PREFIX}/stations/topics/radio-1"}


def test_publishing_to_a_domain_as_administrator(
    admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """A domain takes events with the admin token by its name; a topic of it does not."""
    subscribe(admin, webhook, "stations/radio-1", "one")

    assert admin.post("/topics/stations/publish", json=[event("radio-1")]).status_code == 200
    webhook.wait_for(1)
    (first,) = webhook.handshakes
    assert first.event["topic"] == f"{PREFIX}/stations/topics/radio-1"


# --- afterwards -----------------------------------------------------------------------------------


def test_dead_letters_of_a_domain(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """They are told, chosen and replayed by the topic that the subscription is to."""
    webhook.always = 400
    subscribe(admin, webhook, "stations/radio-1", "one")
    subscribe(admin, webhook, "stations/radio-2", "two")
    publish(server, domain, event("radio-1", 1), event("radio-2", 2))

    def letters(**query: str) -> list[tuple[str, str, str]]:
        found = admin.get("/deadletters", params=query).json()["value"]
        return [(each["topic"], each["subscription"], each["eventId"]) for each in found]

    until(lambda: len(letters()) == 2)
    assert letters(topic="stations/radio-1") == [("stations/radio-1", "one", "event-1")]
    assert len(letters(topic="stations")) == 2
    webhook.always = 200
    webhook.requests.clear()
    admin.post("/deadletters/replay", json={"topic": "stations/radio-2"})
    webhook.wait_for(1)
    assert [each["id"] for each in received(webhook, "two")] == ["event-2"]


def test_the_story_of_an_event_of_a_domain(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """A trace names each subscription with its topic, and says which topic the event is of."""
    subscribe(admin, webhook, "stations/radio-1", "same")
    subscribe(admin, webhook, "stations/radio-2", "same")
    publish(server, domain, event("radio-1"))
    webhook.wait_for(1)
    until(
        lambda: (
            admin.get("/subscriptions/same?topic=stations/radio-1").json()["books"]["pending"] == 0
        )
    )

    (story,) = admin.get("/events/event-1/trace", params={"topic": "stations"}).json()["value"]

    told = {each["subscription"]: each for each in story["deliveries"]}
    assert told["radio-1/same"]["where"] == "delivered"
    assert told["radio-2/same"]["where"] == "unmatched"
    (clause,) = told["radio-2/same"]["clauses"]
    assert clause["clause"] == 'topic of the domain is "radio-2"'
    assert clause["found"] == '"radio-1"'


def test_what_became_of_dead_letters_is_told(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """The notice of a dead letter, and the metrics, name the topic that the subscription is to."""
    subscribe(admin, webhook, "stations/radio-1", "one")
    subscribe(admin, webhook, "eventpost.deadletters", "notices")
    webhook.choose = lambda request: 200 if request.path.endswith("notices") else 400

    publish(server, domain, event("radio-1"))

    until(lambda: bool(received(webhook, "notices")))
    (notice,) = received(webhook, "notices")
    assert notice["data"]["topic"] == "stations/radio-1"
    with server.http() as http:
        metrics = http.get("/metrics").text
    (matched,) = [
        line for line in metrics.splitlines() if "stations/radio-1" in line and "_matched_" in line
    ]
    assert 'subscription="one"' in matched
    assert matched.endswith(" 1.0")


def test_an_event_held_against_a_subscription(
    admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """`test` tells that an event of another topic does not match, and why."""
    subscribe(admin, webhook, "stations/radio-1", "one")

    own = admin.post("/subscriptions/one/test", json=event("radio-1")).json()
    other = admin.post("/subscriptions/one/test", json=event("radio-2")).json()

    assert (own["isMatch"], other["isMatch"]) == (True, False)
    assert "radio-2" in other["clauses"][0]["why"]


def test_dead_letters_of_a_domain_come_back_from_files(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver, tmp_path: Path
) -> None:
    """Copies are read back with the topic that each event names, when the rows are gone."""
    webhook.always = 400
    place = f"folder:{tmp_path / 'letters'}"
    subscribe(admin, webhook, "stations", "all", deadletter=place)
    publish(server, domain, event("radio-1", 1), event("radio-2", 2))
    until(lambda: len(list(tmp_path.glob("letters/**/*.json"))) == 1)
    admin.post("/deadletters/purge", json={})
    webhook.always = 200
    webhook.requests.clear()

    admin.post("/deadletters/replay", json={"place": place})

    webhook.wait_for(2)
    topics = {each["id"]: each["topic"] for each in received(webhook, "all")}
    assert topics == {
        "event-1": f"{PREFIX}/stations/topics/radio-1",
        "event-2": f"{PREFIX}/stations/topics/radio-2",
    }


def test_a_changed_filter_keeps_to_its_topic(
    server: Served, admin: httpx.Client, domain: str, webhook: Receiver
) -> None:
    """A subscription to a topic of a domain gets that topic's events alone, whatever else its
    filter comes to say."""
    subscribe(admin, webhook, "stations/radio-1", "one", filter={"subjectBeginsWith": "nothing"})
    changes = {"filter": {"includedEventTypes": [EVENT["eventType"]], "subjectBeginsWith": ""}}
    assert admin.patch("/subscriptions/one", json=changes).status_code == 200

    publish(server, domain, event("radio-2", 1), event("radio-1", 2))

    webhook.wait_for(1)
    until(lambda: admin.get("/subscriptions/one").json()["books"]["delivered"] == 1)
    assert [each["id"] for each in received(webhook, "one")] == ["event-2"]


def test_a_domain_outlives_a_restart(tmp_path: Any, webhook: Receiver) -> None:
    """Topics, rules, subscriptions and what was not delivered are there again."""
    webhook.always = 503
    with served(tmp_path / "data") as server, server.admin() as admin:
        rules = {"autoDeleteTopicWithLastSubscription": False}
        admin.post("/domains", json={"name": "stations", "topics": ["quiet-one"], **rules})
        subscribe(
            admin,
            webhook,
            "stations/radio-1",
            "one",
            retry={"schedule": ["200ms"], "maxDeliveryAttempts": 30},
        )
        publish(server, "stations", event("radio-1", 1), event("radio-2", 2))
        webhook.wait_for(1)
    webhook.requests.clear()
    webhook.always = 200

    with served(tmp_path / "data") as server, server.admin() as admin:
        assert admin.get("/domains/stations").json()["autoDeleteTopicWithLastSubscription"] is False
        topics = admin.get("/domains/stations/topics").json()["value"]
        assert [each["name"] for each in topics] == ["quiet-one", "radio-1"]
        webhook.wait_for(1)
        publish(server, "stations", event("radio-1", 3), event("radio-2", 4))
        webhook.wait_for(2)
        assert {each["id"] for each in received(webhook, "one")} == {"event-1", "event-3"}

"""Domains, their keys, and their topics."""

from collections.abc import Mapping, Sequence

from eventpost.client.calls import Call, Pages, call, listing, nothing, reading, segment
from eventpost.registry import models
from eventpost.registry.declarations import DomainDeclaration
from eventpost.registry.models import DomainTopicView, DomainView, KeysView


def list_domains() -> Call[list[DomainView]]:
    """All domains."""
    return call("GET", "/domains", lambda body: reading(models.DomainList)(body).value)


def create_domain(
    name: str,
    *,
    input_schema: str = "eventgridschema",
    input_mapping_fields: Mapping[str, str] | None = None,
    input_mapping_default_values: Mapping[str, str] | None = None,
    auto_create_topic_with_first_subscription: bool = True,
    auto_delete_topic_with_last_subscription: bool = True,
    topics: Sequence[str] = (),
) -> Call[DomainView]:
    """Create a domain, and topics of it. Raises Conflict when the name is taken, by a topic too,
    and InvalidRequest when it is no name.

    The mapping is for `customeventschema`, and says where `topic` stands in an event.
    """
    declared = DomainDeclaration(
        name=name,
        input_schema=input_schema,
        input_mapping_fields=dict(input_mapping_fields or {}),
        input_mapping_default_values=dict(input_mapping_default_values or {}),
        auto_create_topic_with_first_subscription=auto_create_topic_with_first_subscription,
        auto_delete_topic_with_last_subscription=auto_delete_topic_with_last_subscription,
        topics=list(topics),
    )
    return call("POST", "/domains", reading(DomainView), body=declared)


def show_domain(name: str) -> Call[DomainView]:
    """One domain. Raises NotFound."""
    return call("GET", f"/domains/{segment(name)}", reading(DomainView))


def update_domain(
    name: str,
    *,
    auto_create_topic_with_first_subscription: bool | None = None,
    auto_delete_topic_with_last_subscription: bool | None = None,
) -> Call[DomainView]:
    """Change when its topics come and go by themselves; None leaves it as it is."""
    given = {
        "autoCreateTopicWithFirstSubscription": auto_create_topic_with_first_subscription,
        "autoDeleteTopicWithLastSubscription": auto_delete_topic_with_last_subscription,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    return call("PATCH", f"/domains/{segment(name)}", reading(DomainView), body=changes)


def delete_domain(name: str) -> Call[None]:
    """Delete a domain with its events, topics, subscriptions and dead letters. Raises NotFound."""
    return call("DELETE", f"/domains/{segment(name)}", nothing)


def list_domain_keys(domain: str) -> Call[KeysView]:
    """Both access keys of a domain."""
    return call("GET", f"/domains/{segment(domain)}/keys", reading(KeysView))


def regenerate_domain_key(domain: str, key_name: str) -> Call[KeysView]:
    """Make `key1` or `key2` anew; the other one keeps working."""
    path = f"/domains/{segment(domain)}/keys/regenerate"
    return call("POST", path, reading(KeysView), body=models.KeyChoice(key_name=key_name))


def list_domain_topics(domain: str) -> Pages[DomainTopicView]:
    """All topics of a domain, by name, read page by page."""
    path = f"/domains/{segment(domain)}/topics"
    return listing(path, models.DomainTopicList)


def create_domain_topic(domain: str, name: str) -> Call[DomainTopicView]:
    """Create a topic of a domain. Raises Conflict when there is one of that name, in any case."""
    path = f"/domains/{segment(domain)}/topics"
    declared = models.DomainTopicDeclaration(name=name)
    return call("POST", path, reading(DomainTopicView), body=declared)


def show_domain_topic(domain: str, name: str) -> Call[DomainTopicView]:
    """One topic of a domain. Raises NotFound."""
    return call(
        "GET", f"/domains/{segment(domain)}/topics/{segment(name)}", reading(DomainTopicView)
    )


def delete_domain_topic(domain: str, name: str) -> Call[None]:
    """Delete a topic of a domain with its subscriptions and their dead letters."""
    return call("DELETE", f"/domains/{segment(domain)}/topics/{segment(name)}", nothing)

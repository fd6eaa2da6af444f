"""Which handler answers which method on which path of Azure Resource Manager: the one table.

Layer: server.
Rules: Microsoft.EventGrid, api-version 2025-02-15; what its Python client takes as an answer.
"""

import re

from eventpost.server import arm_namespaces, arm_subscriptions, arm_topics
from eventpost.server.arm_asked import Handler

_EVENT_GRID = r"/providers/Microsoft\.EventGrid"
_ROOT = rf"/+subscriptions/(?P<account>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?{_EVENT_GRID}"
_TOPIC = rf"{_ROOT}/topics/(?P<topic>[^/]+)"
_DOMAIN = rf"{_ROOT}/domains/(?P<domain>[^/]+)"
_DOMAIN_TOPIC = rf"{_DOMAIN}/topics/(?P<domain_topic>[^/]+)"
_SCOPE = (
    rf"{_ROOT}/(?:topics/(?P<topic>[^/]+)"
    r"|domains/(?P<domain>[^/]+)(?:/topics/(?P<domain_topic>[^/]+))?)"
)
_SUBSCRIPTIONS = rf"{_SCOPE}(?:{_EVENT_GRID})?/eventSubscriptions"
_ONE = rf"{_SUBSCRIPTIONS}/(?P<name>[^/]+)"
_ALL = rf"{_ROOT}(?:/locations/[^/]+)?(?:/topicTypes/(?P<type>[^/]+))?/eventSubscriptions"
_NAMESPACE = rf"{_ROOT}/namespaces/(?P<namespace>[^/]+)"
_SPACE_TOPIC = rf"{_NAMESPACE}/topics/(?P<topic>[^/]+)"
_SPACE_ONE = rf"{_SPACE_TOPIC}/eventSubscriptions/(?P<name>[^/]+)"


def _route(method: str, pattern: str, run: Handler) -> tuple[str, re.Pattern[str], Handler]:
    return method, re.compile(pattern, re.IGNORECASE), run


ROUTES = (
    _route("GET", rf"{_ROOT}/topics", arm_topics.list_topics),
    _route("GET", _TOPIC, arm_topics.show_topic),
    _route("PUT", _TOPIC, arm_topics.put_topic),
    _route("PATCH", _TOPIC, arm_topics.patch_topic),
    _route("DELETE", _TOPIC, arm_topics.delete_topic),
    _route("POST", rf"{_TOPIC}/listKeys", arm_topics.list_keys),
    _route("POST", rf"{_TOPIC}/regenerateKey", arm_topics.regenerate_key),
    _route("GET", rf"{_ROOT}/domains", arm_topics.list_domains),
    _route("GET", _DOMAIN, arm_topics.show_domain),
    _route("PUT", _DOMAIN, arm_topics.put_domain),
    _route("PATCH", _DOMAIN, arm_topics.patch_domain),
    _route("DELETE", _DOMAIN, arm_topics.delete_topic),
    _route("POST", rf"{_DOMAIN}/listKeys", arm_topics.list_keys),
    _route("POST", rf"{_DOMAIN}/regenerateKey", arm_topics.regenerate_key),
    _route("GET", rf"{_DOMAIN}/topics", arm_topics.list_domain_topics),
    _route("GET", _DOMAIN_TOPIC, arm_topics.show_domain_topic),
    _route("PUT", _DOMAIN_TOPIC, arm_topics.put_domain_topic),
    _route("DELETE", _DOMAIN_TOPIC, arm_topics.delete_topic),
    _route("GET", _ALL, arm_subscriptions.list_all),
    _route("GET", _SUBSCRIPTIONS, arm_subscriptions.list_subscriptions),
    _route("GET", _ONE, arm_subscriptions.show_subscription),
    _route("PUT", _ONE, arm_subscriptions.put_subscription),
    _route("PATCH", _ONE, arm_subscriptions.patch_subscription),
    _route("DELETE", _ONE, arm_subscriptions.delete_subscription),
    _route("POST", rf"{_ONE}/getFullUrl", arm_subscriptions.show_full_url),
    _route("POST", rf"{_ONE}/getDeliveryAttributes", arm_subscriptions.show_attributes),
    _route("GET", rf"{_ROOT}/namespaces", arm_namespaces.list_namespaces),
    _route("GET", _NAMESPACE, arm_namespaces.show_namespace),
    _route("PUT", _NAMESPACE, arm_namespaces.put_namespace),
    _route("PATCH", _NAMESPACE, arm_namespaces.patch_namespace),
    _route("DELETE", _NAMESPACE, arm_namespaces.delete_namespace),
    _route("POST", rf"{_NAMESPACE}/listKeys", arm_namespaces.list_keys),
    _route("POST", rf"{_NAMESPACE}/regenerateKey", arm_namespaces.regenerate_key),
    _route("GET", rf"{_NAMESPACE}/topics", arm_namespaces.list_topics),
    _route("GET", _SPACE_TOPIC, arm_namespaces.show_topic),
    _route("PUT", _SPACE_TOPIC, arm_namespaces.put_topic),
    _route("PATCH", _SPACE_TOPIC, arm_namespaces.patch_topic),
    _route("DELETE", _SPACE_TOPIC, arm_namespaces.delete_topic),
    _route("POST", rf"{_SPACE_TOPIC}/listKeys", arm_namespaces.list_topic_keys),
    _route("POST", rf"{_SPACE_TOPIC}/regenerateKey", arm_namespaces.regenerate_topic_key),
    _route("GET", rf"{_SPACE_TOPIC}/eventSubscriptions", arm_namespaces.list_subscriptions),
    _route("GET", _SPACE_ONE, arm_namespaces.show_subscription),
    _route("PUT", _SPACE_ONE, arm_namespaces.put_subscription),
    _route("PATCH", _SPACE_ONE, arm_namespaces.patch_subscription),
    _route("DELETE", _SPACE_ONE, arm_namespaces.delete_subscription),
    _route("POST", rf"{_SPACE_ONE}/getFullUrl", arm_namespaces.show_full_url),
    _route("POST", rf"{_SPACE_ONE}/getDeliveryAttributes", arm_namespaces.show_attributes),
)

"""The resource name of a topic: what is stamped as `topic` on its events."""

from eventpost.core.domains import split
from eventpost.core.subscriptions import Topic

DEFAULT_PREFIX = "/subscriptions/local/resourceGroups/local/providers/Microsoft.EventGrid/topics/"
_TOPICS = "/topics/"
_DOMAINS = "/domains/"


def resource(topic_name: str, prefix: str = DEFAULT_PREFIX) -> str:
    """The `topic` of an Event Grid event, and the `source` of one delivered as a CloudEvent."""
    return prefix + topic_name


def resource_of(topic: Topic, prefix: str = DEFAULT_PREFIX) -> str:
    """The same of any topic: a domain, and a topic of one, stand where topics of their own would
    with `domains` in the place of `topics`."""
    if not (topic.is_domain or topic.domain_id):
        return resource(topic.name, prefix)
    domain, name = split(topic.name)
    own = f"{domain_prefix(prefix)}{domain}"
    return f"{own}{_TOPICS}{name}" if name else own


def source_of(topic: Topic, prefix: str = DEFAULT_PREFIX) -> str:
    """The `source` of its events as CloudEvents; "" for a domain, where each says it itself."""
    return "" if topic.is_domain else resource_of(topic, prefix)


def domain_prefix(prefix: str) -> str:
    return prefix.removesuffix(_TOPICS) + _DOMAINS if prefix.endswith(_TOPICS) else prefix

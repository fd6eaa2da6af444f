"""The resource name of a topic: what is stamped as `topic` on its events."""

DEFAULT_PREFIX = "/subscriptions/local/resourceGroups/local/providers/Microsoft.EventGrid/topics/"


def resource(topic_name: str, prefix: str = DEFAULT_PREFIX) -> str:
    """The `topic` of an Event Grid event, and the `source` of one delivered as a CloudEvent."""
    return prefix + topic_name

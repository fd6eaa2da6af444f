"""The kind of endpoint that is none: consumers come for the events (`grid.pull`).

Layer: destinations.
"""

from collections.abc import Sequence

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations.kinds import Services


def check_endpoint(endpoint: Endpoint) -> None:
    """Raises InvalidRequest for what only makes sense where something is sent."""
    given = {
        "endpoint address": endpoint.address,
        "connection": endpoint.connection,
        "options": endpoint.options,
        "delivery properties": endpoint.attributes,
        "message properties": endpoint.properties,
        "signing secrets": endpoint.signing_secrets,
        "rate": endpoint.rate_per_s,
    }
    for name, value in given.items():
        if value:
            raise InvalidRequest(
                "InvalidEndpoint",
                f"A subscription of the endpoint type pull has no {name}.",
                why="Nothing is sent: consumers come for the events.",
                fix="Leave it out.",
            )


class Pulled:
    """Implements `core.interfaces.Destination`. Nothing is ever sent here."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        evidence = Evidence(stage=Stage.SETTINGS, fault=Fault.UNEXPECTED, detail="it is pulled")
        self._services.call_soon(done, deliveries, Failed(evidence, is_counted=False))

    def close(self) -> None:
        return


def new_destination(_topic: Topic, _subscription: Subscription, services: Services) -> Pulled:
    return Pulled(services)

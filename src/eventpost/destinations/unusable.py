"""In the place of a destination that cannot be made: every attempt fails, and says why.

Layer: destinations. Its subscription was accepted once; since then a library was removed.
"""

from collections.abc import Sequence

from eventpost.core.errors import EventpostError
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.destinations.kinds import Services
from eventpost.http.failures import bounded


class Unusable:
    """Implements `core.interfaces.Destination`. No attempt counts."""

    def __init__(self, error: EventpostError, services: Services) -> None:
        self._services = services
        self._failed = Failed(
            Evidence(stage=Stage.SETTINGS, fault=Fault.MALFORMED, detail=bounded(str(error))),
            is_counted=False,
        )

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        self._services.call_soon(done, deliveries, self._failed)

    def close(self) -> None:
        return

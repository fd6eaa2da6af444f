"""An endpoint kind that is no queue: events are carried to a TCP server, a line of JSON for each.

A blank line ends a delivery. The server answers with a line: `taken`, or why not.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone
from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Outcome, Stage
from eventpost.core.subscriptions import Endpoint, Subscription, Topic
from eventpost.destinations.kinds import Services
from eventpost.http.failures import bounded, evidence_of

ANSWER_BYTES_MAX = 1_000


class Courier:
    """Implements `core.interfaces.Destination`: one connection for each attempt."""

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        self._address = subscription.endpoint.address
        self._timeout_s = subscription.endpoint.response_timeout_s
        self._under_way: set[asyncio.Task[Outcome]] = set()

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(deliveries))
        self._under_way.add(task)
        task.add_done_callback(partial(self._carried, deliveries, done))

    def close(self) -> None:
        for task in self._under_way:
            task.cancel()

    def _carried(
        self, deliveries: Sequence[Delivery], done: DeliveryDone, task: asyncio.Task[Outcome]
    ) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            done(deliveries, task.result())

    async def _carry(self, deliveries: Sequence[Delivery]) -> Outcome:
        """Raises nothing: whatever goes wrong is evidence of how far it came."""
        stage = Stage.CONNECT
        host, _, port = self._address.rpartition(":")
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(
                    host, int(port), limit=ANSWER_BYTES_MAX
                )
                try:
                    stage = Stage.WAIT
                    writer.write(_lines(deliveries))
                    answer = await reader.readline()
                finally:
                    writer.close()
        except TimeoutError:
            return self._failed(stage, Fault.TIMED_OUT)
        except OSError as error:
            return Failed(evidence_of(error, stage, address=self._address))
        except ValueError:  # a line that does not end
            return self._failed(Stage.READ, Fault.TOO_LARGE)
        if not answer:
            return self._failed(stage, Fault.CLOSED)
        said = answer.decode("utf-8", "replace").strip()
        return DELIVERED if said == "taken" else self._failed(Stage.ANSWER, Fault.CODE, said)

    def _failed(self, stage: Stage, fault: Fault, said: str = "") -> Failed:
        return Failed(
            Evidence(
                stage=stage,
                fault=fault,
                address=self._address,
                system="courier",
                operation="send",
                code="refused" if said else None,
                detail=bounded(said),
            )
        )


def _lines(deliveries: Sequence[Delivery]) -> bytes:
    """A line break stands only between members, where JSON takes a blank as well."""
    return b"".join(one.event.wire.replace(b"\n", b" ") + b"\n" for one in deliveries) + b"\n"


def check_endpoint(endpoint: Endpoint) -> None:
    """Called when a subscription is declared. Raises InvalidRequest."""
    host, _, port = endpoint.address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidRequest(
            "InvalidAddress",
            f"A courier finds nobody at {endpoint.address[:80]!r}.",
            fix="Write --endpoint HOST:PORT.",
        )


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Courier:
    """The factory that the entry point names."""
    return Courier(topic, subscription, services)

"""Delivery to an AWS Lambda function: one invocation per delivery or batch.

Layer: destinations. The kind is `lambda`; a module cannot be called so, because it is a word of
Python's. API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from collections.abc import Sequence

from eventpost.core.errors import InvalidRequest
from eventpost.core.events import Delivery
from eventpost.core.interfaces import DeliveryDone, Destination
from eventpost.core.outcomes import Outcome, Stage
from eventpost.core.subscriptions import Subscription, Topic
from eventpost.credentials.aws import AwsConnection
from eventpost.destinations import lambda_payloads as payloads
from eventpost.destinations.borders import unexpected, unusable
from eventpost.destinations.delivery_headers import shared_values
from eventpost.destinations.kinds import Services
from eventpost.destinations.lambda_function import Function, check_endpoint
from eventpost.destinations.threads import Threads, deliver_on
from eventpost.formats import delivery as delivery_format
from eventpost.formats import topics

CONNECTION_KIND = "aws"
LIBRARY = "botocore"
EXTRA = "aws"
__all__ = ["CONNECTION_KIND", "EXTRA", "LIBRARY", "LambdaDestination"]
__all__ += ["check_endpoint", "new_destination"]


class LambdaDestination:
    """Implements `core.interfaces.Destination` for one subscription.

    Calls are made on threads of its own. Constructing raises nothing: what cannot be used (a
    connection that is gone) makes every attempt fail with evidence, without counting.
    """

    def __init__(self, topic: Topic, subscription: Subscription, services: Services) -> None:
        endpoint = subscription.endpoint
        self._endpoint = endpoint
        self._subscription = subscription
        self._services = services
        self._input_schema = topic.input_schema
        self._output_schema = endpoint.delivery_schema or topic.input_schema
        self._is_batched = endpoint.max_events_per_batch > 1
        self._topic_resource = topics.source_of(topic, services.topic_prefix)
        self._threads = Threads(endpoint.concurrency, f"eventpost-lambda-{subscription.name}")
        self._function: Function | None = None

    def deliver(self, deliveries: Sequence[Delivery], done: DeliveryDone) -> None:
        deliver_on(self._threads, deliveries, self._outcomes, done, self._services)

    def close(self) -> None:
        """Attempts in flight end with an outcome, as long as there is a loop to take it."""
        self._threads.close()

    # --- on a thread of its own -----------------------------------------------------------------

    def _outcomes(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """One for each. Raises nothing."""
        try:
            return self._invoked(deliveries)
        except InvalidRequest as error:
            return [unusable(error)] * len(deliveries)
        except Exception as error:  # noqa: BLE001 - the border: it is recorded as a finding
            return [unexpected(error, Stage.WAIT)] * len(deliveries)

    def _invoked(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        function = self._function
        if function is None:
            function = self._function = self._found()
        outcomes: list[Outcome] = []
        wires = [self._wire(one.event.wire) for one in deliveries]
        for part, part_wires in payloads.cut(deliveries, wires, function.bytes_max):
            payload = payloads.payload(part_wires, is_batched=self._is_batched)
            outcomes += function.invoke(part, payload, self._context(part))
        return outcomes

    def _found(self) -> Function:
        settings = self._services.connection(CONNECTION_KIND, self._endpoint.connection)
        assert isinstance(settings, AwsConnection)
        return Function(self._endpoint, settings)

    def _wire(self, wire: bytes) -> bytes:
        return delivery_format.alone(
            self._input_schema, self._output_schema, wire, self._topic_resource
        )

    def _context(self, deliveries: Sequence[Delivery]) -> dict[str, str]:
        """What stands in the headers of a webhook's delivery."""
        first = deliveries[0]
        custom = {
            "aeg-subscription-name": self._subscription.name.upper(),
            "aeg-delivery-count": str(first.attempts),
        }
        trace = first.event.trace
        if trace is not None and all(one.event.trace == trace for one in deliveries):
            custom["traceparent"] = trace[0]
            if trace[1]:
                custom["tracestate"] = trace[1]
        return custom | shared_values(self._endpoint.attributes, deliveries, self._input_schema)


def new_destination(topic: Topic, subscription: Subscription, services: Services) -> Destination:
    return LambdaDestination(topic, subscription, services)

"""What a source makes of a page of messages: events, or poison. Pure but for the target's clock.

Layer: sources.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eventpost.core.errors import InvalidEvent
from eventpost.core.events import Event
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.sources import Original, Poison
from eventpost.diagnosis import codes
from eventpost.formats.messages import Incoming, Target
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Received
from eventpost.queues.leases import Lease

SENT_MS_MAX = 10**14
"""In the year 5138. What is beyond, or before 1970, is no time that a broker means."""
ID_CHARS_MAX = 512
Decode = Callable[[Incoming, Target], list[Event]]


@dataclass(slots=True, eq=False)
class Caught:
    """One message and what it became."""

    lease: Lease
    id: str
    """The transport's; "" when it has none, or none that could be kept."""
    events: list[Event]
    poison: Poison | None = None


class Catcher:
    """For one source."""

    def __init__(
        self,
        decode: Decode,
        target: Target,
        system: str,
        receives_max: int,
        classify: Callable[[Evidence], str],
    ) -> None:
        self._decode = decode
        self._classify = classify
        self._target = target
        self._system = system
        self._receives_max = receives_max

    def catch(self, leases: Iterable[Lease]) -> list[Caught]:
        return [self._caught(lease) for lease in leases]

    def _caught(self, lease: Lease) -> Caught:
        message = lease.message
        if message.unusable is not None:
            return self._poison(lease, self._classify(message.unusable), message.unusable)
        if message.receive_count > self._receives_max:
            detail = f"received {message.receive_count} times, of at most {self._receives_max}"
            finding = codes.MESSAGE_TOO_OFTEN
            return self._poisoned(lease, finding, Fault.UNEXPECTED, detail)
        try:
            events = self._decode(incoming(message), self._target)
        except InvalidEvent as error:
            is_large = error.status == 413
            finding = codes.MESSAGE_TOO_LARGE if is_large else codes.MESSAGE_UNDECODABLE
            fault = Fault.TOO_LARGE if is_large else Fault.MALFORMED
            return self._poisoned(lease, finding, fault, error.what)
        except Exception as error:  # noqa: BLE001 - the border: it is kept, with what it was
            detail = f"{type(error).__name__}: {error}"
            return self._poisoned(lease, codes.MESSAGE_UNDECODABLE, Fault.UNEXPECTED, detail)
        return Caught(lease, kept_id(lease.id), events)

    def _poisoned(self, lease: Lease, finding: str, fault: Fault, detail: str) -> Caught:
        evidence = Evidence(
            stage=Stage.READ,
            fault=fault,
            system=self._system,
            operation="receive",
            detail=bounded(detail),
        )
        return self._poison(lease, finding, evidence)

    def _poison(self, lease: Lease, finding: str, evidence: Evidence) -> Caught:
        message = lease.message
        poison = Poison(
            body=message.body, original=original(message), finding=finding, evidence=evidence
        )
        return Caught(lease, kept_id(lease.id), [], poison)


def incoming(message: Received) -> Incoming:
    return Incoming(
        body=message.body,
        attributes=message.attributes,
        system_attributes=message.system_attributes,
        content_type=message.content_type,
        message_id=message.id,
        sent_ms=message.sent_ms if 0 < message.sent_ms < SENT_MS_MAX else 0,
    )


def original(message: Received) -> Original:
    """What is kept of a message beside its body."""
    attributes = message.attributes
    return Original(
        message_id=message.id,
        attributes={name: one for name, one in attributes.items() if isinstance(one, str)},
        binary_attributes={name: one for name, one in attributes.items() if isinstance(one, bytes)},
        system_attributes=message.system_attributes,
        content_type=message.content_type,
        group=message.group,
        sent_ms=message.sent_ms if 0 < message.sent_ms < SENT_MS_MAX else 0,
        receive_count=message.receive_count,
    )


def revived(body: bytes, kept: Original) -> Incoming:
    """The message of a dead letter, as it came."""
    return Incoming(
        body=body,
        attributes={**kept.attributes, **kept.binary_attributes},
        system_attributes=kept.system_attributes,
        content_type=kept.content_type,
        message_id=kept.message_id,
        sent_ms=kept.sent_ms,
    )


def kept_id(message_id: str) -> str:
    """An id that the store can keep. A message whose id is none of a transport's is taken at least
    once, as one without any."""
    if len(message_id) > ID_CHARS_MAX:
        return ""
    try:
        message_id.encode()
    except UnicodeEncodeError:
        return ""
    return message_id

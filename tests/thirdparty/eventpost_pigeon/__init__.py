"""A package as a third party writes it: a queue system and its kind of connection.

Its queues live in the memory of the process, by the name of a loft.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import DELIVERED, Failed, Outcome
from eventpost.credentials.secrets import Reference
from eventpost.queues.interfaces import (
    Address,
    Message,
    Received,
    Rung,
    Settled,
    Traits,
    Verdict,
)
from eventpost.queues.kinds import Services, options_of

CONNECTION_KIND = "pigeon"
LIBRARY = ""
EXTRA = ""

TRAITS = Traits(
    system="pigeon",
    message_bytes_max=1_000,
    send_count_max=4,
    receive_count_max=4,
    wait_s_max=0.0,
    lease_s_max=60.0,
    can_extend=True,
    delay_s_max=0.0,
    release_delay_s_max=0.0,
    has_ids=True,
    has_receive_count=True,
)


class PigeonConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    loft: str = "home"
    height_m: int = 3
    whistle: Reference = ""

    def __post_init__(self) -> None:
        if self.height_m > 100:
            raise ValueError("pigeons do not fly higher than 100 m")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    breed: str = "homing"


@dataclass
class Loft:
    """The other side: what was sent and not yet settled, by its id."""

    waiting: dict[str, Received] = field(default_factory=dict)
    ids: "itertools.count[int]" = field(default_factory=itertools.count)


LOFTS: dict[tuple[str, str], Loft] = {}


def new_queue(connection: PigeonConnection, address: Address, services: Services) -> "PigeonQueue":
    if not address.name:
        raise InvalidRequest("NoPigeon", "A pigeon has a name.")
    return PigeonQueue(connection, address)


class PigeonQueue:
    traits = TRAITS

    def __init__(self, connection: PigeonConnection, address: Address) -> None:
        self.identity = f"pigeon:{connection.loft}/{address.name}"
        self.options = options_of(address, Options)
        self.loft = LOFTS.setdefault((connection.loft, address.name), Loft())

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        for message in messages:
            name = str(next(self.loft.ids))
            self.loft.waiting[name] = Received(id=name, body=message.body)
        return [DELIVERED] * len(messages)

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        page = [*self.loft.waiting.values()][:count_max]
        for message in page:
            message.receive_count += 1
        return page

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        return [Settled.DONE] * len(held)

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        for message in held:
            self.loft.waiting.pop(message.id, None)
        return [Settled.DONE] * len(held)

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        return [Settled.DONE] * len(held)

    def probe(self) -> Sequence[Rung]:
        return [Rung(name="name")]

    def wake(self) -> None:
        return

    def close(self) -> None:
        return

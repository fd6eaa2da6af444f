"""A package as a third party writes it: a queue system and its kind of connection.

Its queues live in the memory of the process, by the name of a loft. They keep every rule strictly,
and fail when a test says so: `LOFTS` holds the other side.
"""

from collections import defaultdict
from dataclasses import replace

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.credentials.secrets import Reference
from eventpost.queues.interfaces import Address, Queue
from eventpost.queues.kinds import Services, options_of
from eventpost.testing.memory_queue import LEASED, MemoryServer

CONNECTION_KIND = "pigeon"
LIBRARY = ""
EXTRA = ""
TRAITS = replace(LEASED, system="pigeon", message_bytes_max=2_000_000)


class PigeonConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    loft: str = "home"
    height_m: int = 3
    whistle: Reference = ""

    def __post_init__(self) -> None:
        if self.height_m > 100:
            raise ValueError("pigeons do not fly higher than 100 m")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    breed: str = "homing"


LOFTS: dict[str, MemoryServer] = defaultdict(lambda: MemoryServer(TRAITS))
"""The other side, by its name. A test may put one with other traits there."""


def new_queue(connection: PigeonConnection, address: Address, services: Services) -> Queue:
    if not address.name:
        raise InvalidRequest("NoPigeon", "A pigeon has a name.")
    options_of(address, Options)
    queue = LOFTS[connection.loft].create(address.name).queue(address.name)
    queue.identity = f"pigeon:{connection.loft}/{address.name}"
    return queue

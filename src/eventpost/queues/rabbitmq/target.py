"""Which queue or exchange is meant, what it is made of, and what follows from that for its users.

Layer: queues. An address is a queue's name, or `EXCHANGE/ROUTING-KEY`; options say the rest.
"""

import bisect
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventpost.core.errors import InvalidRequest
from eventpost.queues.interfaces import Address, Traits
from eventpost.queues.rabbitmq.settings import KEY_BYTES_MAX, NAME_CHARS_MAX, Server

SYSTEM = "rabbitmq"
BATCH_COUNT_MAX = 256
"""Messages written in one go, before the socket is waited for."""
PREFETCH_MAX = 65_535
"""The widest that AMQP 0-9-1 has room for (basic.qos, prefetch-count: a short)."""
WAIT_S_MAX = 60.0
"""The server pushes, so a wait costs it nothing; bounded so that callers look about them."""
DELAY_STEPS_MAX = 32
DELAY_S_MAX = 4_294_967.0
"""`x-message-ttl` is at most 2^32 - 1 milliseconds."""
MESSAGE_BYTES_DEFAULT = 16_777_216
"""`max_message_size` of RabbitMQ 4 as it comes; 3.x takes 128 MiB."""
MESSAGE_BYTES_MAX = 536_870_912
"""The highest `max_message_size` that the server can be set to."""

Delay = Annotated[float, Meta(gt=0, le=DELAY_S_MAX)]


_NAME = re.compile(rf"[a-zA-Z0-9_.:@#,/+ -]{{0,{NAME_CHARS_MAX}}}")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an address's options may hold."""

    exchange: str | None = None
    """Publish to this exchange. None: the address says it; "" is the default exchange."""
    routing_key: str | None = None
    """Of messages that bring none. None: the address says it."""
    queue: str = ""
    """Receive from this queue, where the address names an exchange."""
    create: bool = False
    """Declare the queue and the exchange, and bind them. Without it they must be there."""
    create_missing: dict[str, dict[str, str | int | float | bool]] = {}
    """Queues by name that are declared, with these arguments and no others, where they are not
    there yet; those that are stay as somebody else declared them."""
    queue_type: Literal["", "quorum", "classic"] = ""
    """What the queue is, or is created as. "": not known; created as quorum."""
    arguments: dict[str, str | int | float | bool] = {}
    """More of the queue's declaration: `x-max-length`, `x-dead-letter-exchange`."""
    exchange_type: str = "direct"
    binding_keys: list[str] | None = None
    """Bind the queue with these keys. None: with the routing key."""
    delays_s: Annotated[list[Delay], Meta(max_length=DELAY_STEPS_MAX)] = []
    """Delays for which there is a queue that holds messages so long; others are rounded up."""
    persistent: bool = True
    mandatory: bool = True
    """Whether a message that no queue takes is a failure; without it nobody is told."""
    expiration_s: Annotated[float, Meta(ge=0)] | None = None
    """The server drops a message that nobody took for so long. None: never."""
    message_ids: bool = False
    """Whether publishers set `message_id`, unique and the same when they send again."""
    prefetch: Annotated[int, Meta(ge=0, le=PREFETCH_MAX)] = 0
    """Messages that the server may hand us ahead, settled or not. 0: as many as are asked for."""
    unclaimed_s: Annotated[float, Meta(gt=0, le=3_600)] = 1.0
    """Messages that were handed us ahead go back to the queue when nobody asks so long."""
    message_bytes_max: Annotated[int, Meta(ge=1, le=MESSAGE_BYTES_MAX)] = MESSAGE_BYTES_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address, understood."""

    exchange: str
    """"" is the default exchange: it hands a message to the queue that the key names."""
    routing_key: str
    queue: str
    """"" when there is none to receive from."""
    options: Options

    @property
    def is_quorum(self) -> bool:
        """Whether the queue is known to count its deliveries."""
        kind = self.options.queue_type or ("quorum" if self.options.create else "")
        return kind == "quorum"

    @property
    def delays_ms(self) -> tuple[int, ...]:
        """The steps of delay, ascending; none without a queue to come back to."""
        if not self.queue:
            return ()
        return tuple(sorted({max(1, round(each * 1_000)) for each in self.options.delays_s}))

    def delay_ms(self, delay_s: float) -> int:
        """The step that is not shorter than `delay_s`; the last one beyond all; 0 for none."""
        steps = self.delays_ms
        if delay_s <= 0 or not steps:
            return 0
        return steps[min(bisect.bisect_left(steps, delay_s * 1_000), len(steps) - 1)]

    def delay_queue(self, delay_ms: int) -> str:
        """Which holds a message that long and then hands it to the queue."""
        return f"{self.queue}.delay.{delay_ms}ms"

    def traits(self) -> Traits:
        longest_s = self.delays_ms[-1] / 1_000 if self.delays_ms else 0.0
        return Traits(
            system=SYSTEM,
            message_bytes_max=self.options.message_bytes_max,
            send_count_max=BATCH_COUNT_MAX,
            receive_count_max=self.options.prefetch or PREFETCH_MAX,
            batch_count_max=BATCH_COUNT_MAX,
            wait_s_max=WAIT_S_MAX,
            lease_s_max=0.0,
            can_extend=False,
            delay_s_max=longest_s if not self.exchange else 0.0,
            release_delay_s_max=longest_s,
            has_ids=self.options.message_ids,
            has_receive_count=self.is_quorum,
        )

    def identity(self, server: Server) -> str:
        name = self.queue or f"{self.exchange}/{self.routing_key}"
        return f"{SYSTEM}:{server.identity}/{name}"


def read_target(address: Address, options: Options) -> Target:
    """What the address means. Raises InvalidRequest for one that means nothing.

    With the option `exchange` the whole name is a queue's, also with a `/` in it.
    """
    if options.exchange is None and "/" in address.name:
        target = _split(address.name, options)
    else:
        target = _named_queue(address.name, options)
    for name in (target.exchange, target.queue, options.exchange_type):
        if not _NAME.fullmatch(name):
            chars = "letters, digits, blanks and -_.:@#,/+"
            raise _bad(address.name, f"a name has at most {NAME_CHARS_MAX} {chars}")
    for key in (target.routing_key, *(options.binding_keys or ())):
        if len(key.encode()) > KEY_BYTES_MAX:
            raise _bad(address.name, f"a key has more than {KEY_BYTES_MAX} bytes")
    for delay_ms in target.delays_ms:
        if len(target.delay_queue(delay_ms)) > NAME_CHARS_MAX:
            raise _bad(address.name, "the names of its delay queues would be too long")
    if options.delays_s and not target.queue:
        raise _bad(address.name, "delays_s needs a queue to come back to")
    return target


def _split(name: str, options: Options) -> Target:
    exchange, _, key = name.partition("/")
    if key and options.routing_key is not None:
        raise _bad(name, "the routing key is given twice")
    key = key or options.routing_key or ""
    if exchange:
        return Target(exchange=exchange, routing_key=key, queue=options.queue, options=options)
    if not key or options.queue not in ("", key):
        raise _bad(name, "the default exchange needs the queue's name as its key")
    return Target(exchange="", routing_key=key, queue=key, options=options)


def _named_queue(name: str, options: Options) -> Target:
    if not name:
        raise _bad(name, "it is empty")
    if options.queue not in ("", name):
        raise _bad(name, "the queue is given twice")
    exchange = options.exchange or ""
    if not exchange and options.routing_key not in (None, name):
        raise _bad(name, "a routing_key needs an exchange")
    key = (options.routing_key or "") if exchange else name
    return Target(exchange=exchange, routing_key=key, queue=name, options=options)


def _bad(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        "InvalidAddress",
        f"The address {name[:64]!r} cannot be used: {why}.",
        fix="Write a queue's name, or EXCHANGE/ROUTING-KEY with the option queue to receive from.",
    )

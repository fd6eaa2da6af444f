"""Bodies as messages of Dramatiq, whichever broker has sent them.

Layer: workers. The encoder is the program's own (`dramatiq.set_encoder`). Other brokers for the
same systems send base64, and name the queue of a delayed message otherwise; both are read.
"""

import binascii
import dataclasses
from typing import Any

from dramatiq import Message
from dramatiq.errors import DecodeError

from eventpost.workers.deadletters import OPTION


def decode(body: bytes, queue_name: str) -> Message[Any]:
    """The message, as one of this queue. Raises DecodeError."""
    try:
        message = Message.decode(body)
    except DecodeError as error:
        try:
            plain = binascii.a2b_base64(body, strict_mode=True)
        except ValueError:
            raise error from None
        message = Message.decode(plain)
    if not isinstance(message.options, dict) or not isinstance(message.kwargs, dict):
        raise DecodeError("options or kwargs is no object", body, TypeError("no object"))
    message.options.pop(OPTION, None)
    if message.queue_name != queue_name:
        message = dataclasses.replace(message, queue_name=queue_name)
    return message


def take_eta_ms(message: Message[Any]) -> float:
    """When it is due, UTC, 0 for at once; the option is taken away, because it would have the
    worker keep the message in memory until then."""
    eta = message.options.pop("eta", None)
    if isinstance(eta, bool) or not isinstance(eta, int | float):
        return 0.0
    return float(eta)


def encoded(message: Message[Any], otherwise: bytes) -> bytes:
    """The message with what its runs added to it; as it came when that cannot be encoded."""
    try:
        return bytes(message.encode())
    except Exception:  # noqa: BLE001 - a border: the program's own encoder and options
        return otherwise

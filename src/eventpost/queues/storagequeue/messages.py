"""What a message of Azure Storage Queues looks like: its options, its text, its bounds. Pure.

Layer: queues. The service takes text only, at most 64 KiB of UTF-8 inside an XML document.
"""

import base64
import math
import re
from collections.abc import Callable
from typing import Literal

import msgspec

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Message
from eventpost.queues.storagequeue.address import NAME, NAME_RULE

SYSTEM = "storagequeue"
TEXT_BYTES_MAX = 65_536
"""Of one message's text. The service's own, see "Put Message" in its REST reference."""
BASE64_BODY_BYTES_MAX = TEXT_BYTES_MAX // 4 * 3
PAGE_MAX = 32
"""Messages of one "Get Messages"."""
VISIBILITY_S_MAX = 604_800
"""7 days, for leases and for delays."""
TTL_NEVER = -1
CLAIM_BYTES_MAX = 33_554_432
"""Default of `claim_check_bytes_max`: a blob of 32 MiB passes in one request."""

Log = Callable[..., None]
"""As `queues.kinds.Services` lends it."""
Encoding = Literal["base64", "text"]

# XML 1.0 section 2.2: what a document cannot hold, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an address's `options` may hold."""

    encoding: Encoding = "base64"
    """How a body becomes text. `base64` carries any bytes, and is what Azure Functions expect."""
    create: Literal["never", "auto"] = "never"
    """`auto` makes the queue (and the claim-check container) when the service says that there is
    none. Takes more rights than sending and receiving."""
    ttl_s: int = TTL_NEVER
    """When the service deletes a message that nobody took. -1: never."""
    claim_check: str = ""
    """The container for bodies that are too large for a message; "" refuses them."""
    claim_check_bytes_max: int = CLAIM_BYTES_MAX
    requests_max: int = 16
    """Requests at once over this queue: the service has no batches for sending and deleting."""

    def __post_init__(self) -> None:
        if self.ttl_s != TTL_NEVER and self.ttl_s < 1:
            raise ValueError("ttl_s must be -1 (never) or at least 1")
        if not 1 <= self.requests_max <= 128:
            raise ValueError("requests_max must be between 1 and 128")
        if not TEXT_BYTES_MAX < self.claim_check_bytes_max <= 268_435_456:
            raise ValueError("claim_check_bytes_max must be above 65536 and at most 268435456")
        if self.claim_check and not NAME.fullmatch(self.claim_check):
            raise ValueError("claim_check must be a container's name: " + NAME_RULE)


def no_log(*_: object, **__: object) -> None:
    """For whoever lends none."""


# --- text -----------------------------------------------------------------------------------------


class NotText(Exception):
    """A body that cannot be sent as text. Says why."""


def body_bytes_max(options: Options) -> int:
    """The largest body that can be sent."""
    if options.claim_check:
        return options.claim_check_bytes_max
    return _inline_bytes_max(options)


def text_of(message: Message, options: Options) -> str | Failed | None:
    """The text to send a message as; None when its body is to go by claim check. Failed, finally,
    for what the service would never take."""
    size, size_max = len(message.body), body_bytes_max(options)
    if message.delay_s > VISIBILITY_S_MAX:
        return _never("OutOfRangeQueryParameterValue", f"{message.delay_s:g} s are over 7 days.")
    if options.ttl_s != TTL_NEVER and whole_seconds(message.delay_s, 0) >= options.ttl_s:
        told = (
            f"It would be deleted (ttl_s: {options.ttl_s}) before {message.delay_s:g} s are over."
        )
        return _never("OutOfRangeQueryParameterValue", told)
    if size > size_max:
        bound = "claim_check_bytes_max" if options.claim_check else f"as {options.encoding}"
        told = f"The body has {size} bytes; the most is {size_max} ({bound})."
        return _never("MessageTooLarge", told, Fault.TOO_LARGE)
    if size > _inline_bytes_max(options):
        return None
    try:
        return encode(message.body, options.encoding)
    except NotText as error:
        return _never("InvalidXmlDocument", f"The body cannot be sent as text: {error}.")


def encode(body: bytes, encoding: Encoding) -> str:
    """A body as a message's text. Raises NotText where `text` cannot carry it."""
    if encoding == "base64":
        return base64.b64encode(body).decode()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotText(f"it is not UTF-8 (byte {error.start})") from error
    if (found := _NOT_XML.search(text)) is not None:
        raise NotText(f"it holds U+{ord(found[0]):04X}, which XML does not")
    return text


def decode(text: str, encoding: Encoding) -> bytes:
    """A message's text as a body, whoever sent it.

    With `base64`, text that is none is taken as it is: other producers of the same queue may send
    plain JSON. With `text`, text is text, also where it looks like base64.
    """
    if encoding == "base64":
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:  # binascii.Error, or a character beyond ASCII
            pass
    return text.encode()


def whole_seconds(seconds: float, at_least: int) -> int:
    """A time for the service, which counts whole seconds: never shorter than asked for, cut to
    `VISIBILITY_S_MAX`."""
    return max(at_least, min(VISIBILITY_S_MAX, math.ceil(seconds)))


def _inline_bytes_max(options: Options) -> int:
    return BASE64_BODY_BYTES_MAX if options.encoding == "base64" else TEXT_BYTES_MAX


# --- failures of ours -----------------------------------------------------------------------------


def failed(
    operation: str,
    stage: Stage,
    fault: Fault,
    *,
    detail: str = "",
    address: str | None = None,
    elapsed_ms: int = 0,
    is_counted: bool = True,
) -> Failed:
    """A failure before the service had a say."""
    found = Evidence(
        stage=stage,
        fault=fault,
        system=SYSTEM,
        operation=operation,
        address=address,
        elapsed_ms=elapsed_ms,
        detail=bounded(detail),
    )
    return Failed(found, is_counted=is_counted)


def broken(operation: str, found: Evidence) -> Failed:
    """A failure of the connection, as one of this system."""
    return Failed(msgspec.structs.replace(found, system=SYSTEM, operation=operation))


def _never(code: str, detail: str, fault: Fault = Fault.CODE) -> Failed:
    """What the service would refuse at every attempt, under the code that it would give."""
    found = Evidence(
        stage=Stage.SETTINGS,
        fault=fault,
        system=SYSTEM,
        operation="send",
        code=code,
        detail=bounded(detail),
    )
    return Failed(found, final=True, is_counted=False)

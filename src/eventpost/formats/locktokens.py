"""Lock tokens: which event of which lock, for one event subscription only.

A token is the lock's number and a keyed hash of it and of the subscription, in base64, and the
event's place in the log. Whoever received the lock may name its events; nobody else can make one
up, and it means nothing for another subscription. Consumers treat it as opaque.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

SECRET_BYTES = 32

_HASH_BYTES = 16
_NUMBER_BYTES = 8
_HEAD_CHARS = (_NUMBER_BYTES + _HASH_BYTES) * 4 // 3
NUMBER_END = 1 << 63
"""Positions and the ids of dead letters are below."""
_PLACE_CHARS_MAX = 16 + 1 + 16
TOKEN_CHARS_MAX = _HEAD_CHARS + _PLACE_CHARS_MAX
"""No longer token is one."""


class LockTokens:
    """Makes and reads the tokens of one installation, whose `secret` no one else knows."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def head(self, subscription_id: int, lock: int) -> str:
        """What all tokens of one lock begin with; `token` adds the rest."""
        number = lock.to_bytes(_NUMBER_BYTES, "big")
        message = subscription_id.to_bytes(_NUMBER_BYTES, "big") + number
        signature = hmac.digest(self._secret, message, hashlib.sha256)[:_HASH_BYTES]
        return urlsafe_b64encode(number + signature).decode()

    def read(self, subscription_id: int, tokens: list[str]) -> list[tuple[int, int, int] | None]:
        """(lock, position, dead letter id) of each; None for one that was never given out for this
        subscription. A lock's hash is looked at once, however many of its tokens there are."""
        locks: dict[str, int | None] = {}
        found: list[tuple[int, int, int] | None] = []
        for token in tokens:
            head = token[:_HEAD_CHARS]
            if head not in locks:
                locks[head] = self._lock(subscription_id, head)
            lock = locks[head]
            place = None if lock is None else _place(token[_HEAD_CHARS:])
            found.append(None if lock is None or place is None else (lock, *place))
        return found

    def _lock(self, subscription_id: int, head: str) -> int | None:
        try:
            number = urlsafe_b64decode(head)[:_NUMBER_BYTES]
        except (binascii.Error, ValueError):  # ValueError: not ASCII
            return None
        lock = int.from_bytes(number, "big")
        good = self.head(subscription_id, lock)
        return lock if hmac.compare_digest(good.encode(), head.encode()) else None


def token(head: str, position: int, letter: int) -> str:
    """One token of a lock. `letter` is not 0 for a dead letter that was replayed."""
    return f"{head}{position:x}.{letter:x}" if letter else f"{head}{position:x}"


def _place(text: str) -> tuple[int, int] | None:
    """Position and dead letter, in exactly the form in which they are given out."""
    if len(text) > _PLACE_CHARS_MAX:
        return None
    position, _, letter = text.partition(".")
    try:
        place = int(position, 16), int(letter or "0", 16)
    except ValueError:
        return None
    # A dead letter that was read back from its copy has no place in the log any more: -1.
    least = -1 if place[1] else 0
    is_place = place[0] >= least and place[1] >= 0 and max(place) < NUMBER_END
    return place if is_place and token("", *place) == text else None

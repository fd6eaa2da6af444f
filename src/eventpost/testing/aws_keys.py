"""Temporary AWS keys for tests, as a credentials service hands them out."""

import itertools
import secrets
import threading
import time
from dataclasses import dataclass, field

LIFE_S = 6 * 3_600.0
"""As long as the keys of an ECS task role."""


@dataclass(frozen=True, slots=True)
class Issued:
    """One set of temporary keys. `expires_s` is UTC in seconds."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_s: float

    @property
    def expiration(self) -> str:
        """As services write it: whole seconds, with `Z`."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.expires_s))


class Issuer:
    """Hands out the current set of keys, and new ones when told. For any thread."""

    def __init__(self, life_s: float = LIFE_S) -> None:
        self.life_s = life_s
        """Of the sets that are made from now on."""
        self.issued: list[Issued] = []
        """All sets, the current one last."""
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._revoked: set[str] = set()
        self.rotate()

    def rotate(self, *, revoke: bool = False) -> Issued:
        """Make a new set the current one; `revoke` ends all earlier ones at once."""
        with self._lock:
            if revoke:
                self._revoked.update(each.access_key_id for each in self.issued)
            made = Issued(
                f"ASIA{next(self._numbers):04d}{secrets.token_hex(6).upper()}",
                secrets.token_urlsafe(30),
                secrets.token_urlsafe(180),
                time.time() + self.life_s,
            )
            self.issued.append(made)
            return made

    @property
    def current(self) -> Issued:
        return self.issued[-1]

    def find(self, access_key_id: str) -> Issued | None:
        """The set with that id that is valid now."""
        for each in reversed(self.issued):
            if each.access_key_id == access_key_id:
                is_valid = access_key_id not in self._revoked and time.time() < each.expires_s
                return each if is_valid else None
        return None

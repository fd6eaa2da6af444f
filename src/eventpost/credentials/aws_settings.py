"""What a user may say about an AWS account: settings of a connection of kind `aws`, and keys.

Layer: credentials. Keys are used when they are complete. Half a set is an error before anything is
tried: to guess the other half, or to fall back to another identity, would act as somebody else.
"""

from dataclasses import dataclass

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import secrets
from eventpost.credentials.reports import shortened
from eventpost.credentials.secrets import Reference

INCOMPLETE = "EP4502"
CONNECT_S_MAX = 60.0
REQUEST_S_MAX = 900.0
"""The longest that a Lambda function may run."""
POOL_CONNECTIONS_MAX = 1_000
ATTEMPTS_MAX = 10
_TEMPORARY = "ASIA"
"""Key ids with this prefix are valid with a session token only (IAM User Guide, "IAM
identifiers")."""


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """A complete set of keys, as values. Raises InvalidRequest for half a set."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __post_init__(self) -> None:
        missing = _missing(self.access_key_id, self.secret_access_key, self.session_token)
        if missing:
            raise _incomplete(missing)

    def __repr__(self) -> str:
        return f"Keys(access_key_id={shortened(self.access_key_id)!r})"


def given(
    access_key_id: str = "", secret_access_key: str = "", session_token: str = ""
) -> Keys | None:
    """The keys that a program gives by value; None when it gives nothing at all.

    Raises InvalidRequest that names what is missing for half a set.
    """
    if not access_key_id and not secret_access_key and not session_token:
        return None
    return Keys(access_key_id, secret_access_key, session_token)


class AwsConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a connection of kind `aws`. Holds references, never a secret.

    Everything that is left out is for the SDK to find: environment, shared files, roles.
    """

    region: str = ""
    profile: str = ""
    endpoint_url: str = ""
    access_key_id: str = ""
    """The id itself, or a reference to it."""
    secret_access_key: Reference = ""
    session_token: Reference = ""
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 15.0
    """For an answer, beside the wait of a long poll."""
    pool_connections_max: int = 16
    """Kept connections of one client; as many requests as this run at the same time."""
    attempts_max: int = 0
    """Requests for one call, the first one included; 0 leaves it to the SDK."""

    def __post_init__(self) -> None:
        for name in ("secret_access_key", "session_token"):
            reference = getattr(self, name)
            if reference and not secrets.is_reference(reference):
                raise InvalidRequest(
                    "SecretNotAReference",
                    f"{name} is given by reference only.",
                    fix=f"Write {name}: env:NAME or {name}: file:PATH.",
                )
        missing = _missing(self.access_key_id, self.secret_access_key, self.session_token)
        if self.has_keys and missing:
            raise _incomplete(missing)
        _within("connect_timeout_s", self.connect_timeout_s, 0.0, CONNECT_S_MAX)
        _within("request_timeout_s", self.request_timeout_s, 0.0, REQUEST_S_MAX)
        _within("pool_connections_max", self.pool_connections_max, 0, POOL_CONNECTIONS_MAX)
        _within("attempts_max", self.attempts_max, -1, ATTEMPTS_MAX)

    @property
    def has_keys(self) -> bool:
        """Whether any part of a set of keys is named here."""
        return bool(self.access_key_id or self.secret_access_key or self.session_token)

    def keys(self) -> Keys:
        """The keys behind the references, read anew. Raises InvalidRequest as `secrets.resolve`."""
        key_id = self.access_key_id
        if secrets.is_reference(key_id):
            key_id = secrets.resolve(key_id)
        secret = secrets.resolve(self.secret_access_key)
        token = secrets.resolve(self.session_token) if self.session_token else ""
        return Keys(key_id, secret, token)


def _missing(key_id: str, secret: str, token: str) -> list[str]:
    needed = {"access_key_id": key_id, "secret_access_key": secret}
    if key_id.startswith(_TEMPORARY):
        needed["session_token"] = token
    return [name for name, value in needed.items() if not value]


def _incomplete(missing: list[str]) -> InvalidRequest:
    names = " and ".join(missing)
    return InvalidRequest(
        INCOMPLETE,
        f"The AWS keys are incomplete: {names} is missing."
        if len(missing) == 1
        else f"The AWS keys are incomplete: {names} are missing.",
        why="Half a set of keys is never used, and never replaced by other credentials.",
        fix=f"Give {names} too, or no keys at all, so that the AWS SDK finds the credentials.",
    )


def _within(name: str, value: float, above: float, most: float) -> None:
    if not above < value <= most:
        raise InvalidRequest(
            "SettingOutOfRange",
            f"{name} is {value:g}; it must be above {above:g} and at most {most:g}.",
            fix=f"Give {name} a value in that range, or leave it out.",
        )

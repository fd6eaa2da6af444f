"""A ledger named by a URL: which place it is, refused before anything is opened when it cannot be.

Layer: queues.

    postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full&sslrootcert=FILE&name=NAME
    redis://USER:PASSWORD@HOST:6379/0?name=NAME&wait_replicas=1     (rediss:// is over TLS)
    file:///PATH
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from eventpost.core.errors import InvalidRequest
from eventpost.queues.ledger_file import FilePlace
from eventpost.queues.ledger_rows import LedgerPlace

DEFAULT_NAME = "eventpost_ledger"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
FORMS = "a path, postgresql://USER:PASSWORD@HOST/DATABASE or redis://USER:PASSWORD@HOST/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What every URL of a server says."""

    scheme: str
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    name: str = DEFAULT_NAME
    """Of the ledger: several may share a database."""
    options: Mapping[str, str]

    @property
    def shown(self) -> str:
        """Without the password."""
        user = f"{self.user}@" if self.user else ""
        named = "" if self.name == DEFAULT_NAME else f"?name={self.name}"
        return f"{self.scheme}://{user}{self.host}:{self.port}/{self.database}{named}"


def place_at(url: str) -> LedgerPlace:
    """Opens nothing. Raises InvalidRequest, which never shows the password."""
    scheme = url.partition("://")[0].lower()
    maker = _MAKERS.get(scheme)
    if maker is None:
        raise _unknown(scheme)
    return maker(url)


def server(url: str, port: int, options: Iterable[str]) -> Server:
    """The parts of a server's URL, with `options` beside the name. Raises InvalidRequest."""
    parts, port = _split(url, port)
    given = _options(parts, {*options, "name"})
    name = given.pop("name", DEFAULT_NAME)
    if _NAME.fullmatch(name) is None:
        raise _bad(
            f"The ledger's name {name[:64]!r} cannot be one.",
            "Use small letters, digits and `_`, at most 40, a letter first.",
        )
    return Server(
        scheme=parts.scheme.lower(),
        host=parts.hostname or "",
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")),
        name=name,
        options=given,
    )


def one_of(options: Mapping[str, str], name: str, allowed: Iterable[str], default: str) -> str:
    """An option that has only these values. Raises InvalidRequest."""
    value = options.get(name, default)
    if value not in (allowed := tuple(allowed)):
        raise _bad(f"{name} is {value[:64]!r}.", f"Give one of {', '.join(allowed)}.")
    return value


def number(options: Mapping[str, str], name: str, maximum: int) -> int:
    """An option that is a whole number from 0 on. Raises InvalidRequest."""
    value = options.get(name, "0")
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) <= maximum):
        raise _bad(f"{name} is {value[:64]!r}.", f"Give a whole number from 0 to {maximum}.")
    return int(value)


def half(what: str, fix: str) -> InvalidRequest:
    """Credentials of which a part is missing."""
    return InvalidRequest("CredentialsIncomplete", what, fix=fix)


def _split(url: str, port: int) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        found = parts.port or port
    except ValueError:
        # What it says may hold a part of the password.
        raise _bad("The ledger's URL cannot be read.", _ENCODE) from None
    if not parts.hostname or parts.fragment:
        raise _bad("The ledger's URL names no host.", _ENCODE)
    return parts, found


def _options(parts: SplitResult, known: set[str]) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    strange = sorted(given.keys() - known)
    if strange:
        raise _bad(
            f"The ledger's URL has the option {strange[0][:64]!r}, which there is not.",
            f"Options are {', '.join(sorted(known))}.",
        )
    return given


def _unknown(scheme: str) -> InvalidRequest:
    return InvalidRequest(
        "UnknownLedger", f"There is no ledger of the kind {scheme[:64]!r}.", fix=f"Give {FORMS}."
    )


def _bad(what: str, fix: str) -> InvalidRequest:
    return InvalidRequest("LedgerUrlInvalid", what, fix=fix)


_ENCODE = f"Give {FORMS}; write `@`, `/`, `#` and `:` in a password as %40, %2F, %23 and %3A."


def _file(url: str) -> LedgerPlace:
    return FilePlace(Path(url.partition("://")[2]))


def _postgresql(url: str) -> LedgerPlace:
    from eventpost.queues.ledger_postgresql import postgresql_place

    return postgresql_place(url)


def _redis(url: str) -> LedgerPlace:
    from eventpost.queues.ledger_redis import redis_place

    return redis_place(url)


_MAKERS: dict[str, Callable[[str], LedgerPlace]] = {
    "file": _file,
    "postgresql": _postgresql,
    "postgres": _postgresql,
    "redis": _redis,
    "rediss": _redis,
}

"""What goes wrong between a ledger and its server, in words that say what to do.

Layer: queues. The servers' own codes are looked up here; the libraries are not needed for that.
"""

import socket
import ssl

from eventpost.diagnosis import codes
from eventpost.queues.ledger_rows import LedgerError

UNREACHABLE = codes.LEDGER_SERVER_UNREACHABLE
LOGIN = codes.LEDGER_SERVER_LOGIN
FORBIDS = codes.LEDGER_SERVER_FORBIDS
OTHER = codes.LEDGER_SERVER_OTHER
FAILED = codes.LEDGER_SERVER_FAILED

FIXES = {
    UNREACHABLE: "Start the server, or correct host and port in the ledger's URL.",
    LOGIN: "Correct user and password in the ledger's URL, or let this address in at the server.",
    FORBIDS: "Let this user read and write the ledger, or name the primary in the ledger's URL.",
    OTHER: "Make the database, or give the ledger another name: ?name=NAME at the end of the URL.",
    FAILED: "Look at the server's log and at the room on its disk and in its memory.",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html, the longest beginning counts.
POSTGRESQL = {
    "08": UNREACHABLE,
    "57P": UNREACHABLE,
    "53300": UNREACHABLE,
    "28": LOGIN,
    "25006": FORBIDS,
    "42501": FORBIDS,
    "3D000": OTHER,
    "3F000": OTHER,
    "42": OTHER,
    "": FAILED,
}
# The word with which an answer begins.
REDIS = {
    "LOADING": UNREACHABLE,
    "MASTERDOWN": UNREACHABLE,
    "MAXCLIENTS": UNREACHABLE,
    "WRONGPASS": LOGIN,
    "NOPERM": FORBIDS,
    "READONLY": FORBIDS,
    "DENIED": FORBIDS,
    "WRONGTYPE": OTHER,
}


def of_postgresql(name: str, error: Exception) -> LedgerError:
    """Of what the server said, or of what became of the connection."""
    said = error.args[0] if error.args else None
    if not isinstance(said, dict):
        return of_network(name, error)
    state = str(said.get("C", ""))
    code = next(POSTGRESQL[state[:end]] for end in range(5, -1, -1) if state[:end] in POSTGRESQL)
    return refusal(code, name, f"{said.get('M', '')} ({state})")


def of_redis(name: str, word: str, text: str) -> LedgerError:
    """Of what the server answered: the word with which it began, and all of it."""
    code = REDIS.get(word, FAILED)
    if "unknown command" in text or "DB index" in text:
        code = OTHER
    return refusal(code, name, text)


def of_network(name: str, error: Exception) -> LedgerError:
    """Of a connection that could not be made, or that broke."""
    cause: BaseException = error
    while cause.__cause__ is not None or isinstance(cause.__context__, OSError):
        cause = cause.__cause__ or cause.__context__ or cause
    if isinstance(cause, ssl.SSLError):
        return LedgerError(
            codes.LEDGER_SERVER_TLS,
            f"{name} cannot be reached over TLS: {cause.reason or cause}.",
            fix="Name the authority that signed its certificate, and the host that is in it.",
        )
    if "not supported by" in str(error):
        return refusal(LOGIN, name, str(error))
    if isinstance(cause, TimeoutError):
        why = "it did not answer in time"
    elif isinstance(cause, socket.gaierror):
        why = f"its name cannot be looked up: {cause.strerror or cause}"
    else:
        why = getattr(cause, "strerror", "") or str(cause) or type(cause).__name__
    return refusal(UNREACHABLE, name, why)


def refusal(code: str, name: str, why: str) -> LedgerError:
    """One of `FIXES`."""
    return LedgerError(code, f"{_WHAT[code].format(name=name)}: {why}.", fix=FIXES[code])


_WHAT = {
    UNREACHABLE: "The ledger {name} cannot be reached",
    LOGIN: "The ledger {name} lets nobody in so",
    FORBIDS: "The ledger {name} may not be written",
    OTHER: "There is no ledger at {name}",
    FAILED: "The ledger {name} failed",
}

"""Who a connection is: what may be said of it, shown to people and written to logs.

Layer: credentials. Nothing here asks anybody: a report holds what the SDK already knows.
"""

import logging
import re
import weakref
from typing import Protocol

import msgspec

from eventpost.core.outcomes import EVIDENCE_DETAIL_CHARS_MAX
from eventpost.credentials.secrets import MASK

_LONG = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
"""Secret keys, session tokens, account keys and parts of bearer tokens; a UUID is shorter."""
_KEY_ID = re.compile(r"\b(A(?:KIA|SIA|ROA|IDA))[A-Z0-9]{8,120}([A-Z0-9]{4})\b")
_SIGNATURE = re.compile(r"\b(sig|code|client_secret|assertion|password)=[^&\s\"']+", re.IGNORECASE)
_SHOWN_CHARS = 4

_logger = logging.getLogger("eventpost.credentials")


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a connection's credentials at this moment. Holds no secret."""

    system: str
    """`aws` or `azure`."""
    link: str = ""
    """Which link of the SDK's chain answered, in the SDK's word; "" while none has."""
    identity: str = ""
    """The key's id, shortened, or the id of the application or of the account; "" when unknown."""
    is_renewed: bool = False
    """Whether the SDK fetches new ones before these expire."""
    expires_ms: int | None = None
    """UTC. None: they do not expire, or nobody knows when."""
    region: str = ""
    region_from: str = ""
    """`settings`, the environment variable's name, or `profile NAME`."""
    endpoint: str = ""
    """Where the calls of this connection go, once one was prepared."""


class Reporting(Protocol):
    """A session of any kind."""

    def report(self) -> Report:
        """What is known now: refreshes nothing, asks nobody."""
        ...


_sessions: "weakref.WeakValueDictionary[object, Reporting]" = weakref.WeakValueDictionary()


def remember(settings: object, session: Reporting) -> None:
    """Let `known` find the session of a connection's settings, while it lives. From any thread."""
    _sessions[settings] = session


def known(settings: object) -> Report | None:
    """The report of the session that these settings have in this process; None when none is open
    or its credentials have not been asked for yet."""
    # Settings that hold a mapping (a Kafka connection's `config`) cannot be looked up, and none of
    # them was remembered.
    try:
        session = _sessions.get(settings)
    except TypeError:
        return None
    report = None if session is None else session.report()
    return report if report is not None and report.link else None


def shortened(key_id: str) -> str:
    """`AKIA****WXYZ`: enough to find the key, and no more than a console shows."""
    if len(key_id) < 3 * _SHOWN_CHARS:
        return MASK if key_id else ""
    return f"{key_id[:_SHOWN_CHARS]}****{key_id[-_SHOWN_CHARS:]}"


def shown(text: str) -> str:
    """What a library or a service said, bounded, without anything that looks like a secret.

    A refusal of a signature repeats what was signed, session token included.
    """
    text = _SIGNATURE.sub(rf"\1={MASK}", _LONG.sub(MASK, " ".join(text.split())))
    return _KEY_ID.sub(r"\1****\2", text)[:EVIDENCE_DETAIL_CHARS_MAX]


def log(event: str, report: Report) -> None:
    """Say who answered. Once for each answer that differs from the one before."""
    fields = msgspec.to_builtins(report)
    fields.pop("endpoint", None)
    _logger.info(event, extra={"fields": fields})

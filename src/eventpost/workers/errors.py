"""Errors that the brokers raise where Dramatiq expects its own.

Layer: workers.
"""

from dramatiq.errors import BrokerConnectionError, BrokerError

from eventpost.core.outcomes import Failed
from eventpost.diagnosis import classify


class _Told(BrokerError):
    def __init__(self, message: str) -> None:
        super().__init__(message)  # type: ignore[no-untyped-call]  # Dramatiq does not say its type


class SendFailed(_Told, BrokerConnectionError):
    """A message could not be sent, or nobody knows whether it was. `failed` is what was seen."""

    def __init__(self, queue: str, failed: Failed) -> None:
        super().__init__(f"The message to {queue} was not sent. {told(failed)}")
        self.failed = failed


class MessageTooLarge(_Told):
    """A message is larger than the queue system takes."""


class LedgerUnusable(_Told, BrokerConnectionError):
    """A worker does not start without a ledger: what it finishes could be done twice."""


def told(failed: Failed) -> str:
    """A failure in words: its finding, what is wrong, what the service said, what to do."""
    found = classify.explain(failed.evidence)
    evidence = failed.evidence
    said = " ".join(part for part in (evidence.code or "", evidence.detail) if part)
    parts = [f"{found.code}: {found.cause}", f"[{said}]" if said else "", f"Fix: {found.fix}"]
    return " ".join(part for part in parts if part)

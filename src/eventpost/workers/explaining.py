"""What is told about a failure, once per kind and interval.

Layer: workers. Pure but for the lock.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from eventpost.core.outcomes import Evidence
from eventpost.diagnosis import classify

KINDS_MAX = 1_000
"""Kinds of failures that are told apart at a time."""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of failure, explained. This is also the data of the event on a grid's topic."""

    queue: str
    operation: str
    finding: str
    title: str
    cause: str
    check: str
    fix: str
    effect: str
    """What happens to the message."""
    code: str = ""
    status: int | None = None
    request_id: str = ""
    credential: str = ""
    """Which link of the chain says who we are."""
    detail: str = ""
    count: int = 1
    """How often it happened since it was told last."""

    def text(self) -> str:
        said = " ".join(
            part
            for part in (
                str(self.status or ""),
                self.code,
                f"request {self.request_id}" if self.request_id else "",
                f"as {self.credential}" if self.credential else "",
                self.detail,
            )
            if part
        )
        times = f" ({self.count} times)" if self.count > 1 else ""
        return "\n".join(
            [
                f"{self.finding} {self.queue}: {self.operation} failed{times}: {self.title}.",
                f"    seen:    {said or 'nothing more'}",
                f"    cause:   {self.cause}",
                f"    check:   {self.check}",
                f"    fix:     {self.fix}",
                f"    message: {self.effect}",
            ]
        )


def notice(evidence: Evidence, queue: str, operation: str, effect: str, count: int = 1) -> Notice:
    """A failure that evidence tells of."""
    return described(classify.classify(evidence), queue, operation, effect, count, evidence)


def described(
    finding: str,
    queue: str,
    operation: str,
    effect: str,
    count: int = 1,
    evidence: Evidence | None = None,
    detail: str = "",
) -> Notice:
    """A failure that has a finding, with or without evidence."""
    told = classify.describe(finding, evidence)
    return Notice(
        queue=queue,
        operation=operation,
        finding=told.code,
        title=told.title,
        cause=told.cause,
        check=told.check,
        fix=told.fix,
        effect=effect,
        code=(evidence.code or "") if evidence is not None else "",
        status=evidence.status if evidence is not None else None,
        request_id=(evidence.request_id or "") if evidence is not None else "",
        credential=(evidence.credential or "") if evidence is not None else "",
        detail=detail or (evidence.detail if evidence is not None else ""),
        count=count,
    )


@dataclass(slots=True)
class _Kind:
    told_s: float
    untold_count: int = 0


class Interval:
    """Lets each kind of notice through once per interval, with how many there were since."""

    def __init__(self, interval_s: float, monotonic_s: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str, str, str], _Kind] = {}

    def due(self, one: Notice) -> Notice | None:
        """The notice with its count, or None when its kind was told of late."""
        now_s = self._monotonic_s()
        key = (one.finding, one.code, one.queue, one.operation)
        with self._lock:
            kind = self._kinds.get(key)
            if kind is not None and now_s < kind.told_s + self._interval_s:
                kind.untold_count += one.count
                return None
            untold = 0 if kind is None else kind.untold_count
            self._kinds.pop(key, None)
            self._kinds[key] = _Kind(now_s)
            if len(self._kinds) > KINDS_MAX:
                del self._kinds[next(iter(self._kinds))]
        return msgspec.structs.replace(one, count=one.count + untold)

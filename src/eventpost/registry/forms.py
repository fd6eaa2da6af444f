"""How times, rates and schedules are written by people: in YAML, in JSON and on the command line.

One reading for all three; durations and filters are read by `core.notation`.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

from eventpost.core import notation
from eventpost.core.errors import InvalidRequest
from eventpost.core.notation import UNITS_MS

__all__ = ["UNITS_MS", "rate_per_s", "schedule", "time_ms", "time_text"]

_AGE = re.compile(r"[0-9.]+\s*(ms|s|m|h|d)")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(?:/\s*s)?", re.ASCII)


def schedule(value: str | list[str]) -> str | tuple[int, ...]:
    """The name of a schedule as it is, or its rungs in milliseconds, from `10s,30s` or a list."""
    return notation.parse_schedule(value if isinstance(value, str) else ",".join(value))


def rate_per_s(value: str | float, *, field: str = "rate") -> float:
    """Events a second of `50/s`, `0.5/s` or a bare number."""
    if isinstance(value, int | float):
        return float(value)
    match = _RATE.fullmatch(value.strip())
    if match is None:
        raise InvalidRequest(
            "InvalidRate",
            f"{field} is {value!r}, which is not a rate.",
            fix="Write events a second, such as 50/s or 0.5/s.",
        )
    return float(match[1])


def time_ms(text: str, *, field: str = "time", now_ms: int | None = None) -> int:
    """UTC milliseconds of an ISO 8601 time (no zone means UTC) or, with `now_ms`, of an age such as
    `15m` (that long ago)."""
    if now_ms is not None and _AGE.fullmatch(text.strip().lower()):
        return now_ms - notation.parse_duration_ms(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidRequest(
            "InvalidTime",
            f"{field} is {text!r}, which is not a time.",
            fix="Write UTC as 2026-01-31T12:00:00Z, or how long ago as 15m or 2h.",
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def time_text(ms: int) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`; "" for 0, which means never."""
    if not ms:
        return ""
    seconds, rest_ms = divmod(ms, 1000)
    return f"{_second_text(seconds)}.{rest_ms:03d}Z"


@lru_cache(maxsize=4_096)
def _second_text(seconds: int) -> str:
    """A list shows thousands of times, and many in the same second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]

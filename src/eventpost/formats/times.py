"""Times on the wire: how eventpost writes them and which it accepts. All are UTC milliseconds."""

import re
from datetime import UTC, datetime
from functools import lru_cache

_US_DATE = re.compile(
    r"\s*(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}),?"
    r"\s+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?:\s*(?P<zone>[+-]\d{2}:?\d{2}|Z))?\s*",
    re.ASCII,
)
_ANY_BLANK = re.compile(r"\s")


def seven_digits(ms: int) -> str:
    """As Event Grid writes times: `2026-11-21T18:53:03.1230000Z`."""
    second, rest = divmod(ms, 1000)
    return f"{_second(second)}.{rest:03d}0000Z"


def report_time(ms: int) -> str:
    """As Event Grid's error messages write it: `11/21/2026 6:53:03 PM`, UTC."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    hour = moment.hour % 12 or 12
    half = "AM" if moment.hour < 12 else "PM"
    return f"{moment.month}/{moment.day}/{moment.year} {hour}:{moment:%M:%S} {half}"


def is_time(text: str) -> bool:
    """Whether `text` is a time that publishing accepts: ISO 8601, a missing zone is tolerated."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return _is_lower_case_rfc3339(text)
    return True


def parse_expiry_ms(text: str) -> int:
    """The expiry of a shared access signature, in any of the four formats that clients write.

    ISO 8601 with `T` or a blank, with a zone or without one (then UTC), or the American
    `1/2/2030 3:04:05 AM`. Raises ValueError for anything else.
    """
    text = _ANY_BLANK.sub(" ", text).strip()
    match = _US_DATE.fullmatch(text)
    moment = _from_us_date(match) if match else datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return int(moment.timestamp() * 1000)
    except OverflowError as error:
        raise ValueError(f"the time {text!r} is out of range") from error


@lru_cache(maxsize=256)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _is_lower_case_rfc3339(text: str) -> bool:
    # RFC 3339 section 5.6 allows `t` and `z`; datetime.fromisoformat does not.
    if "t" not in text and "z" not in text:
        return False
    try:
        datetime.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def _from_us_date(match: re.Match[str]) -> datetime:
    part = match.groupdict()
    hour = int(part["hour"])
    if part["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(f"hour {hour} with AM or PM")
        hour = hour % 12 + (12 if part["half"] in "Pp" else 0)
    zone = part["zone"] or "Z"
    return datetime.fromisoformat(
        f"{part['year']}-{int(part['month']):02d}-{int(part['day']):02d}"
        f"T{hour:02d}:{part['minute']}:{part['second'] or '00'}{zone}"
    )

"""Numbers with units as people write them in settings: `90s`, `250ms`, `20GB`, `32KiB`."""

import math
import re

from eventpost.core.errors import InvalidRequest
from eventpost.core.notation import parse_duration_ms

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*\Z")
_SIZES: dict[str, int] = {"b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for unit, base in (("b", 1_000), ("ib", 1_024))
}


def number(name: str, text: str, *, is_whole: bool) -> int | float:
    """The number that `text` means for a setting whose name carries its unit.

    A bare number is taken as it is. Raises ValueError for anything else that is no quantity of the
    setting's unit, and for a part of one where whole ones are wanted.
    """
    value = _bare(text)
    if value is None:
        value = _with_unit(name.split("_"), text)
    if not is_whole:
        return value
    if value != int(value):
        raise ValueError(f"`{text}` is not a whole number of the setting's unit")
    return int(value)


def size_bytes(text: str) -> float:
    """Bytes of a size with a unit (KB = 1,000, KiB = 1,024). Raises ValueError otherwise."""
    match = _SIZE.match(text)
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError(f"`{text}` is not a size such as 500MB or 20GiB")
    return float(match[1]) * _SIZES[match[2].lower()]


def size_text(count: float) -> str:
    """A size for people: `1.5 MB`."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1_000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1_000
    return f"{count:.1f} TB"


def _with_unit(words: list[str], text: str) -> float:
    if "bytes" in words:
        return size_bytes(text)
    if "ms" not in words and "s" not in words:
        raise ValueError(f"`{text}` is not a number")
    try:
        duration_ms = parse_duration_ms(text)
    except InvalidRequest as error:
        raise ValueError(f"`{text}` is not a duration such as 10s, 90m or 24h") from error
    return duration_ms if "ms" in words else duration_ms / 1_000


def _bare(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

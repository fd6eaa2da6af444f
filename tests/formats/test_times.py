"""Times on the wire."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.formats import times

AT_MS = 1_893_553_445_000  # 2030-01-02 03:04:05 UTC


def test_seven_digits() -> None:
    """Times are written with seven fraction digits and Z."""
    assert times.seven_digits(AT_MS + 7) == "2030-01-02T03:04:05.0070000Z"


@given(st.integers(0, 4_000_000_000_000))
def test_seven_digits_round_trip(ms: int) -> None:
    """Every millisecond is written so that it reads back the same."""
    read = datetime.fromisoformat(times.seven_digits(ms))

    assert read == datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (AT_MS, "1/2/2030 3:04:05 AM"),
        (AT_MS + 12 * 3_600_000, "1/2/2030 3:04:05 PM"),
        (AT_MS - 3 * 3_600_000, "1/2/2030 12:04:05 AM"),
        (AT_MS + 9 * 3_600_000, "1/2/2030 12:04:05 PM"),
    ],
)
def test_report_time(ms: int, text: str) -> None:
    """Reports carry the American form without zero padding."""
    assert times.report_time(ms) == text
    assert times.parse_expiry_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "2030-01-02 03:04:05+00:00",
        "2030-01-02T03:04:05",
        "2030-01-02T03:04:05Z",
        "2030-01-02T03:04:05.0000000Z",
        "2030-01-02T05:04:05+02:00",
        "1/2/2030 3:04:05 AM",
        "01/02/2030 03:04:05",
        "1/2/2030, 3:04:05\u202fAM",
        "1/2/2030 3:04:05 am +00:00",
        " 1/2/2030  3:04:05 AM ",
    ],
)
def test_expiries(text: str) -> None:
    """An expiry is read in every form that clients write, as UTC unless it names a zone."""
    assert times.parse_expiry_ms(text) == AT_MS


@pytest.mark.parametrize(
    "text", ["", "soon", "13/1/2030 1:00:00 AM", "1/2/2030 13:00:00 PM", "1/2/2030 0:00:00 AM", "1"]
)
def test_no_expiries(text: str) -> None:
    """What is no time is an error and not some time."""
    with pytest.raises(ValueError):
        times.parse_expiry_ms(text)

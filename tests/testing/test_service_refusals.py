"""The errors of services that no emulator gives: what does not show through a proxy."""

from datetime import UTC, datetime, tzinfo
from typing import Self

import pytest

from eventpost.testing.proxied_http import Asked
from eventpost.testing.service_refusals import AZURE_FORBIDDEN


class Later(datetime):
    """A clock that has gone on."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls(2031, 5, 8, 12, 30, 0, tzinfo=tz or UTC)


def test_an_error_is_dated_when_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long ago an error was made, its date is that of the request: a client that compares
    clocks finds none that is wrong."""
    monkeypatch.setattr("eventpost.testing.service_refusals.datetime", Later)

    answer = AZURE_FORBIDDEN(Asked("DELETE", "/station/jobs/messages/1", {}, b"", b""))

    assert answer.headers["Date"] == "Thu, 08 May 2031 12:30:00 GMT"
    assert b"Time:2031-05-08T12:30:00" in answer.body

"""Rungs at which nobody is asked: settings that can be read, secrets that are there.

Layer: app.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

from eventpost.core.errors import EventpostError
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Faulty, Seen

UNUSABLE = "EP6003"
SECRET_UNREADABLE = "EP4042"  # noqa: S105 - a finding's code

Value = TypeVar("Value")


def faulty(error: EventpostError) -> Faulty:
    """What a setting that cannot be used comes to."""
    if catalogue.CODE.fullmatch(error.code):
        code = error.code
    elif error.code.startswith("Secret"):
        code = SECRET_UNREADABLE
    else:
        code = UNUSABLE
    return Faulty(code=code, detail=str(error))


def settings(read: Callable[[], str]) -> Look:
    """The rung of settings: `read` says what they come to, or raises what is wrong with them."""

    def look() -> Seen:
        try:
            return read()
        except EventpostError as error:
            return faulty(error)

    return look


def once(make: Callable[[], Value]) -> Callable[[], Value]:
    """What later rungs use of an earlier one: made when it is first wanted."""
    return functools.cache(make)

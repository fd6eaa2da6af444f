"""The catalogue's words for a code, where it has any."""

from eventpost.core.errors import NotFound
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.catalogue import Finding


def finding(code: str) -> Finding | None:
    """The finding of that code; None for "" and for words such as `TopicNotFound`."""
    if not catalogue.CODE.fullmatch(code):
        return None
    try:
        return catalogue.get(code)
    except NotFound:  # a finding of a newer version, kept in the store
        return None


def cause_and_fix(code: str) -> tuple[str, str]:
    """The likeliest cause and the fix; empty when the code is no finding."""
    found = finding(code)
    return (found.cause, found.fix) if found else ("", "")

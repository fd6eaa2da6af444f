"""Which finding a refused publish request leads to: the header `x-eventpost-finding`.

The body is Event Grid's, which has no place for it. Layer: server.
"""

from eventpost.core.errors import EventpostError
from eventpost.diagnosis import catalogue, codes
from eventpost.formats import sas

HEADER = b"x-eventpost-finding"
_BY_STATUS = {
    400: codes.EVENT_INVALID,
    401: codes.PUBLISH_UNAUTHORIZED,
    404: codes.TOPIC_NOT_FOUND,
    413: codes.PUBLISH_TOO_LARGE,
    415: codes.PUBLISH_CONTENT_TYPE,
}
_BY_CODE = {
    sas.EXPIRED: codes.PUBLISH_TOKEN_EXPIRED,
    sas.INVALID: codes.PUBLISH_TOKEN_INVALID,
}


def finding_of(error: EventpostError) -> str:
    """The code of the finding; "" where none says more than the answer itself."""
    if catalogue.CODE.fullmatch(error.code):
        return error.code
    named = error.what.partition(" ")[0]
    if catalogue.CODE.fullmatch(named):  # of a bearer token: Event Grid's `code` is in its place
        return named
    return _BY_CODE.get(error.code) or _BY_STATUS.get(error.status, "")


def of_status(status: int) -> str:
    """The finding of what is refused before anybody looks at what it holds."""
    return _BY_STATUS.get(status, "")


def headers(finding: str) -> list[tuple[bytes, bytes]]:
    return [(HEADER, finding.encode())] if finding else []

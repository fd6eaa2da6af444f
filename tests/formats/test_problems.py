"""Error answers of the data plane."""

import json

import pytest

from eventpost.core import errors
from eventpost.formats import bodies, problems

NOW_MS = 1_893_553_445_000


def test_shape() -> None:
    """The body has Event Grid's shape, both messages equal, ending in a report of the request."""
    body = problems.event_grid_error(400, "BadRequest", "InputJsonInvalid", "No.", "guid", NOW_MS)

    message = "No. Report 'guid:1:1/2/2030 3:04:05 AM (UTC)' to whoever runs this server."
    assert json.loads(body) == {
        "error": {
            "code": "BadRequest",
            "message": message,
            "details": [{"code": "InputJsonInvalid", "message": message}],
        }
    }


def test_no_report_for_413() -> None:
    """The answer to too large a request has no report and names the bound."""
    body = problems.event_grid_error(
        *problems.TOO_LARGE, problems.REQUEST_TOO_LARGE_MESSAGE, "guid", NOW_MS
    )

    assert json.loads(body)["error"]["message"] == "The maximum size (1536000) has been exceeded."


@pytest.mark.parametrize(
    ("error", "codes"),
    [
        (bodies.invalid("x"), (400, "BadRequest", "InputJsonInvalid")),
        (bodies.too_large(1), (413, "RequestEntityTooLarge", "PayloadTooLarge")),
        (errors.InvalidRequest("x", "x"), (400, "BadRequest", "InputJsonInvalid")),
        (errors.Unauthorized("x", "x"), (401, "Unauthorized", "Unauthorized")),
        (errors.NotFound("x", "x"), (404, "NotFound", "ResourceNotFound")),
        (errors.Overloaded("x", "x"), (503, "ServiceUnavailable", "ServiceUnavailable")),
        (errors.StoreError("x", "x"), (500, "InternalServerError", "InternalServerError")),
        (errors.Conflict("x", "x"), (500, "InternalServerError", "InternalServerError")),
    ],
)
def test_codes(error: errors.EventpostError, codes: tuple[int, str, str]) -> None:
    """Every expected error has its status and codes."""
    assert problems.codes_of(error) == codes


def test_messages() -> None:
    """The messages for a wrong place and a wrong method quote what was asked for."""
    assert "'http://h/x'" in problems.not_found_message("http://h/x")
    assert "'GET'" in problems.method_not_allowed_message("GET")

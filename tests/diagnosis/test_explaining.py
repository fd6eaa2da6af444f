"""`eventpost.diagnosis.explain` and what logs get of it: for any program, and never in its way."""

import asyncio
import logging
import socket
import ssl

import pytest
import requests

from eventpost import diagnosis
from eventpost.diagnosis import (
    ErrorExplanation,
    ExplainFailures,
    Explanation,
    explain,
    explained,
)
from eventpost.diagnosis.explaining import CAUSES_MAX, causes
from eventpost.diagnosis.ranking import Circumstances
from tests.doctor.wards import peer, refused_port, saying


def caught(url: str) -> Exception:
    with pytest.raises(requests.RequestException) as failed:
        requests.get(url, timeout=1)
    return failed.value


def test_the_deepest_error_is_what_happened() -> None:
    """An error of the system is found under the wrappers of three libraries, and is no guess."""
    with refused_port() as port:
        found = explain(caught(f"http://127.0.0.1:{port}/"))

    assert isinstance(found, Explanation)
    assert isinstance(found, ErrorExplanation)
    assert found.code == "EP2004"
    assert found.confidence > 0.9
    assert f"127.0.0.1:{port}" in found.cause
    assert ("EP2006", "an answer came, so nothing was dropped") in found.ruled_out
    assert found.check
    assert found.fix


def test_tls_and_names() -> None:
    """What OpenSSL and the resolver say with a number is taken at its word."""
    with peer(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert explain(caught(f"https://127.0.0.1:{port}/")).code == "EP2109"
    assert explain(socket.gaierror(socket.EAI_NONAME, "no")).code == "EP2001"


def test_circumstances_count() -> None:
    """What is known beside an error decides among its causes."""
    error = ssl.SSLCertVerificationError(1, "certificate has expired")
    error.verify_code, error.verify_message = 10, "certificate has expired"

    assert explain(error).code == "EP2103"
    assert explain(error, Circumstances(clock_ahead_s=90_000.0)).code == "EP6002"


def test_texts_are_explained_too() -> None:
    """A text that somebody else caught is explained like an exception."""
    found = explain("An error occurred (AccessDenied) when calling the SendMessage operation: no")

    assert found.code == "EP4101"


@pytest.mark.parametrize("error", [ValueError("nothing known"), KeyError(), Exception()])
def test_what_nobody_knows(error: Exception) -> None:
    """An error that is in no table is told as one, and not guessed at."""
    found = explain(error)

    assert found.code == "EP9001"
    assert found.confidence < 0.2


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_a_text() -> None:
    """An exception whose own text raises is explained as far as it can be."""
    assert explain(Unspeakable()).code == "EP9001"


class Computed(Exception):
    """Its attributes are another program's, and mean other things there."""

    args = None  # type: ignore[assignment]  # what a careless class may do

    @property
    def reason(self) -> str:
        raise RuntimeError("no reason")


def test_an_error_with_attributes_of_its_own() -> None:
    """An exception whose attributes raise, or are not what Python's are, is explained all the
    same, and so is what it comes from."""
    error = Computed()
    error.__cause__ = ConnectionRefusedError(111, "refused")

    assert explain(error).code == "EP2004"


def test_chains_are_bounded() -> None:
    """A chain of causes that is long, or goes in a circle, is walked so far and no farther."""
    first = error = ValueError("0")
    for index in range(100):
        error.__cause__ = ValueError(str(index))
        error = error.__cause__
    error.__cause__ = first

    assert len(list(causes(first))) == CAUSES_MAX


def test_groups_are_looked_into() -> None:
    """Of a group's errors the one that is known is told."""
    group = ExceptionGroup("several", [ValueError("x"), ConnectionRefusedError(111, "refused")])

    assert explain(group).code == "EP2004"


# --- logs -----------------------------------------------------------------------------------------


@pytest.fixture
def log() -> logging.Logger:
    logger = logging.getLogger("tests.explaining")
    logger.propagate = True
    return logger


def test_a_filter_gives_records_their_finding(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """A record with an exception gets its finding; others, and unknown ones, get none; all pass."""
    caplog.handler.addFilter(ExplainFailures())
    for error in (ConnectionRefusedError(111, "refused"), ValueError("nothing known"), None):
        log.error("failed", exc_info=error)

    findings = [getattr(record, "finding", "missing") for record in caplog.records]
    assert findings == ["EP2004", None, None]
    assert getattr(caplog.records[0], "finding_fix", "")


def test_a_decorator_logs_and_raises_on(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """What a decorated function raises is logged with its finding, and raised as it is."""

    @explained(log)
    def handler(event: dict[str, str], context: object) -> str:
        if event["what"] == "fail":
            raise ConnectionRefusedError(111, "refused")
        return "done"

    assert handler({"what": "work"}, None) == "done"
    with pytest.raises(ConnectionRefusedError):
        handler({"what": "fail"}, None)

    [record] = caplog.records
    assert getattr(record, "finding", "") == "EP2004"
    assert "EP2004" in record.getMessage()
    assert handler.__name__ == "handler"


def test_a_decorator_of_coroutines(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine function is decorated like any other."""

    @explained(log)
    async def handler() -> None:
        await asyncio.sleep(0)
        raise ConnectionRefusedError(111, "refused")

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(handler())

    assert [getattr(record, "finding", "") for record in caplog.records] == ["EP2004"]


def test_what_is_exported() -> None:
    """Every name that is promised is there, and no other."""
    assert all(getattr(diagnosis, name) is not None for name in diagnosis.__all__)
    with pytest.raises(AttributeError):
        _ = diagnosis.nothing_of_that_name

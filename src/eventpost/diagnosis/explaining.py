"""`explain(error)` for any program: what an exception means, how sure, what to check, what to do.

Layer: diagnosis. Also as a filter for logging and as a decorator. None of them ever raises for what
an exception is or says, and none shows more of it than its finding.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar, cast

from eventpost.core.outcomes import Evidence, Stage
from eventpost.diagnosis import codes
from eventpost.diagnosis.classify import Explanation, describe
from eventpost.diagnosis.ranking import NOTHING, Circumstances, rank
from eventpost.diagnosis.recognising import Recognised, peer_of, recognise
from eventpost.http.failures import evidence_of

CAUSES_MAX = 16
"""Of a chain of causes; the deepest ones are nearest to what happened."""
MESSAGE_CHARS_MAX = 20_000
SURE = 0.97
"""An error of the operating system carries its number: that is no guess."""
UNKNOWN = 0.1

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorExplanation(Explanation):
    """The likeliest finding of an error, and what else it may be."""

    confidence: float
    """0 to 1. Below 0.2 nobody knows: the finding is EP9001."""
    says: str = ""
    """Which library or service said so."""
    others: tuple[tuple[str, float], ...] = ()
    """Further findings, with their confidence."""
    ruled_out: tuple[tuple[str, str], ...] = ()
    """What it is not, and why."""


def explain(error: BaseException | str, circumstances: Circumstances = NOTHING) -> ErrorExplanation:
    """What an exception, or the text of one, comes from. Raises nothing; any thread; no I/O but
    reading the finding's file once.

    `circumstances` is what is known beside it: other attempts, the clock, when credentials end.
    """
    text = _text(error)
    found = [*_of_the_system(error, circumstances), *recognise(text)]
    if not found:
        found = [Recognised(code=codes.UNEXPECTED, confidence=UNKNOWN, says="")]
    best = max(found, key=lambda each: each.confidence)
    others = {each.code: each.confidence for each in found if each.code != best.code}
    told = describe(best.code, replace(best, address=best.address or peer_of(text)).seen)
    return ErrorExplanation(
        code=told.code,
        title=told.title,
        cause=told.cause,
        check=told.check,
        fix=told.fix,
        confidence=best.confidence,
        says=best.says,
        others=tuple(others.items()),
        ruled_out=_ruled_out(error, circumstances),
    )


def _ruled_out(
    error: BaseException | str, circumstances: Circumstances
) -> tuple[tuple[str, str], ...]:
    if isinstance(error, str):
        return ()
    evidence = _evidence(error)
    if evidence is None:
        return ()
    return tuple((each.code, each.why) for each in rank(evidence, circumstances).ruled_out)


def _of_the_system(
    error: BaseException | str, circumstances: Circumstances
) -> Iterator[Recognised]:
    """What the deepest error of the operating system, of TLS or of the resolver says."""
    evidence = None if isinstance(error, str) else _evidence(error)
    if evidence is None:
        return
    for index, each in enumerate(rank(evidence, circumstances).findings):
        confidence = SURE if index == 0 else each.confidence * SURE
        yield Recognised(code=each.code, confidence=round(confidence, 2), says="Python")


def _evidence(error: BaseException) -> Evidence | None:
    """None unless an error of the system lies at the bottom, with a number of its own."""
    import socket
    import ssl

    for each in reversed(list(causes(error))):
        if isinstance(each, socket.gaierror):
            return evidence_of(each, Stage.NAME, address=None)
        if isinstance(each, ssl.SSLError):
            return evidence_of(each, Stage.TLS, address=None)
        if isinstance(each, ConnectionRefusedError):
            return evidence_of(each, Stage.CONNECT, address=None)
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies under it: causes, contexts, and errors that were wrapped as
    arguments, as requests and urllib3 do. Each once, at most `CAUSES_MAX`."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < CAUSES_MAX:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = _of(each, "inner_exception"), _of(each, "reason")
        wrapped = _of(each, "args")
        waiting += [each.__cause__, each.__context__, *inner]
        waiting += wrapped if isinstance(wrapped, tuple) else ()
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def _of(error: BaseException, name: str) -> object:
    """An attribute of an exception; None when there is none, and when it raises itself: whoever
    logs an error must not get another one."""
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - a class of others' may compute anything here
        return None


def _text(error: BaseException | str) -> str:
    if isinstance(error, str):
        return error
    lines = []
    for each in causes(error):
        try:
            said = str(each)
        except Exception:  # noqa: BLE001 - an exception whose text cannot be made has none
            said = ""
        lines.append(f"{type(each).__name__}: {said[:MESSAGE_CHARS_MAX]}")
    return "\n".join(lines)


# --- for logs -------------------------------------------------------------------------------------


class ExplainFailures(logging.Filter):
    """A filter that gives a record with an exception its finding: `finding`, `finding_title`,
    `finding_cause`, `finding_fix`, `finding_confidence`. Lets every record pass.

    Below `confidence_min` a record gets `finding` only when nothing better is known: None.
    """

    def __init__(self, *, confidence_min: float = 0.4) -> None:
        super().__init__()
        self._confidence_min = confidence_min

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "finding"):
            error = record.exc_info[1] if record.exc_info else None
            for name, value in self._fields(error).items():
                setattr(record, name, value)
        return True

    def _fields(self, error: BaseException | None) -> dict[str, object]:
        found = None if error is None else explain(error)
        if found is None or found.confidence < self._confidence_min:
            return {"finding": None}
        return as_fields(found)


def as_fields(found: ErrorExplanation) -> dict[str, object]:
    """An explanation as fields of a log record."""
    return {
        "finding": found.code,
        "finding_title": found.title,
        "finding_cause": found.cause,
        "finding_fix": found.fix,
        "finding_confidence": found.confidence,
    }


def explained(
    logger: logging.Logger | None = None, *, level: int = logging.ERROR
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """A decorator: what the function raises is logged with its finding, and raised on as it is.

    For functions and coroutine functions alike: a Lambda handler, an actor, a job.
    """

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        log = logger or logging.getLogger(function.__module__)

        def tell(error: Exception) -> None:
            found = explain(error)
            message = "%s failed: %s %s"
            names = (function.__qualname__, found.code, found.title)
            log.log(level, message, *names, exc_info=error, extra=as_fields(found))

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def waiting(*arguments: Any, **named: Any) -> Any:
                try:
                    return await function(*arguments, **named)
                except Exception as error:
                    tell(error)
                    raise

            return cast("Callable[Arguments, Result]", waiting)

        @functools.wraps(function)
        def calling(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            try:
                return function(*arguments, **named)
            except Exception as error:
                tell(error)
                raise

        return calling

    return decorate

"""Recognises a pasted error: a traceback, a log, one line. Says what it is and how sure. Pure.

Layer: diagnosis. What was pasted is never repeated, and may be anything: huge, binary, full of
secrets. Of it only codes of services, a peer's `host:port` and a status leave this module.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.diagnosis import catalogue, services
from eventpost.diagnosis.classify import classify
from eventpost.diagnosis.clues import CLUES, SUMMARY, Clue

TEXT_CHARS_MAX = 131_072
"""Of a longer text its beginning and its end are read: a log ends with what went wrong."""
LINE_CHARS_MAX = 4_000
FOUND_MAX = 5
AGAIN = 0.01
"""What each further clue for a finding adds to its confidence."""
CONFIDENCE_MAX = 0.99

_PEER = re.compile(
    r"(?<![\w@.:-])((?:[A-Za-z0-9-]{1,63}\.){0,8}[A-Za-z0-9-]{1,63}:\d{1,5})(?![\w.:@-])"
)
_HOST_AND_PORT = re.compile(r"host='([A-Za-z0-9.-]{1,253})', port=(\d{1,5})")
_USER = re.compile(r"//[^/\s]{1,512}@")
_CODE = re.compile(r"\bEP[1-9]\d{3}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A finding that the text speaks for."""

    code: str
    confidence: float
    """0 to 1."""
    says: str
    """Which library or service said so."""
    address: str | None = None
    """The peer, where the text names one."""
    status: int | None = None

    @property
    def seen(self) -> Evidence | None:
        """What of the text may be told: the peer and the status."""
        if self.address is None and self.status is None:
            return None
        return Evidence(
            stage=Stage.ANSWER, fault=Fault.UNEXPECTED, address=self.address, status=self.status
        )


def recognise(text: str) -> list[Recognised]:
    """The findings that a text speaks for, the surest first; none when it is nothing known."""
    readable = _bounded(text)
    named = own_codes(readable)
    if named:
        return [
            Recognised(code=code, confidence=CONFIDENCE_MAX, says="eventpost") for code in named
        ]
    found: dict[str, Recognised] = {}
    summaries: dict[str, Recognised] = {}
    for clue, match in _matches(readable):
        code, status = _finding(clue, match)
        if code is None:
            continue
        kept = summaries if clue.weight == SUMMARY else found
        before = kept.get(code)
        weight = clue.weight if before is None else max(before.confidence, clue.weight) + AGAIN
        kept[code] = Recognised(
            code=code,
            confidence=round(min(weight, CONFIDENCE_MAX), 2),
            says=clue.says if before is None or before.confidence < clue.weight else before.says,
            status=status or (None if before is None else before.status),
        )
    ranked = sorted((found or summaries).values(), key=lambda each: -each.confidence)[:FOUND_MAX]
    address = peer_of(readable)
    return [replace(each, address=address) for each in _likely(ranked)]


def _likely(ranked: list[Recognised]) -> list[Recognised]:
    """Without those that are not half as sure as the first: a client that is refused hangs up, and
    that is no second fault."""
    return [each for each in ranked if each.confidence >= ranked[0].confidence / 2]


def _bounded(text: str) -> str:
    if len(text) > TEXT_CHARS_MAX:
        half = TEXT_CHARS_MAX // 2
        text = f"{text[:half]}\n{text[-half:]}"
    # A log says the same again and again: each line is read once.
    lines = dict.fromkeys(line[:LINE_CHARS_MAX] for line in text.replace("\0", "").splitlines())
    return _USER.sub("//", "\n".join(lines))


def _matches(text: str) -> Iterator[tuple[Clue, re.Match[str]]]:
    lowered = text.lower()
    for clue in CLUES:
        if not clue.may_match(lowered):
            continue
        for match in clue.pattern.finditer(text):
            yield clue, match
            if "code" not in match.groupdict():
                break


def _finding(clue: Clue, match: re.Match[str]) -> tuple[str | None, int | None]:
    """The finding of a clue, and the status when it is one of HTTP."""
    system, separator, code = clue.finding.partition(":")
    if not separator:
        return clue.finding, None
    code = code.format(**match.groupdict())
    if system == "status":
        status = int(code)
        return _of_status(status), status
    return services.named(system, code), None


def _of_status(status: int) -> str:
    evidence = Evidence(stage=Stage.ANSWER, fault=Fault.STATUS, status=status)
    return classify(evidence)


def peer_of(text: str) -> str | None:
    """The peer that a text names, as `host:port`: nothing that stands before an `@`."""
    text = _USER.sub("//", text[:TEXT_CHARS_MAX])
    named = _HOST_AND_PORT.search(text)
    if named is not None:
        return f"{named[1]}:{named[2]}"
    for match in _PEER.finditer(text):
        host, _, port = match[1].rpartition(":")
        is_host = "." in host or host == "localhost"
        is_file = host.endswith((".py", ".go", ".php", ".java", ".c", ".js"))
        if is_host and not is_file and 0 < int(port) < 65_536:
            return match[1]
    return None


def own_codes(text: str) -> list[str]:
    """Findings that the text names itself: a log of eventpost's. The newest first."""
    known = catalogue.all_codes()
    named = dict.fromkeys(reversed(_CODE.findall(text)))
    return [code for code in named if code in known][:FOUND_MAX]

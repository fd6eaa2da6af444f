"""From evidence to a finding. Pure: the same evidence always gives the same finding.

Called once for every failed attempt, so `classify` is a look-up or two and builds nothing.
"""

import re
from dataclasses import dataclass

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.diagnosis import catalogue, codes, services

_BY_STAGE_AND_FAULT = {
    **{(Stage.CREDENTIALS, fault): services.CREDENTIALS_UNAVAILABLE for fault in Fault},
    (Stage.CREDENTIALS, Fault.INCOMPLETE): services.CREDENTIALS_INCOMPLETE,
    (Stage.NAME, Fault.TIMED_OUT): "EP2003",
    (Stage.CONNECT, Fault.TIMED_OUT): "EP2006",
    (Stage.CONNECT, Fault.RESET): "EP2007",
    (Stage.CONNECT, Fault.CLOSED): "EP2007",
    (Stage.PROXY, Fault.NOT_FOUND): "EP2010",
    (Stage.PROXY, Fault.UNAVAILABLE): "EP2010",
    (Stage.PROXY, Fault.REFUSED): "EP2010",
    (Stage.PROXY, Fault.UNREACHABLE): "EP2010",
    (Stage.PROXY, Fault.RESET): "EP2010",
    (Stage.PROXY, Fault.CLOSED): "EP2010",
    (Stage.PROXY, Fault.MALFORMED): "EP2012",
    (Stage.PROXY, Fault.TOO_LARGE): "EP2012",
    (Stage.PROXY, Fault.TIMED_OUT): "EP2013",
    (Stage.TLS, Fault.TIMED_OUT): "EP2101",
    (Stage.TLS, Fault.RESET): "EP2102",
    (Stage.TLS, Fault.CLOSED): "EP2102",
    (Stage.WRITE, Fault.TIMED_OUT): "EP2201",
    (Stage.WRITE, Fault.RESET): "EP2202",
    (Stage.WRITE, Fault.CLOSED): "EP2202",
    (Stage.WAIT, Fault.TIMED_OUT): "EP2203",
    (Stage.WAIT, Fault.RESET): "EP2204",
    (Stage.WAIT, Fault.CLOSED): "EP2205",
    (Stage.READ, Fault.TIMED_OUT): "EP2206",
    (Stage.READ, Fault.RESET): "EP2207",
    (Stage.READ, Fault.CLOSED): "EP2207",
    (Stage.SETTINGS, Fault.TOO_LARGE): "EP2703",
    (Stage.SETTINGS, Fault.TIMED_OUT): "EP2705",
    (Stage.SETTINGS, Fault.UNEXPECTED): "EP2704",
    (Stage.SETTINGS, Fault.NOT_FOUND): "EP2704",
    (Stage.SETTINGS, Fault.MALFORMED): "EP2704",
    (Stage.HANDSHAKE, Fault.MALFORMED): "EP2601",
    (Stage.HANDSHAKE, Fault.STATUS): "EP2602",
    (Stage.HANDSHAKE, Fault.NO_CONSENT): "EP2603",
    (Stage.HANDSHAKE, Fault.TIMED_OUT): "EP2604",
}
"""Where one fault means something else at another stage."""

_BY_FAULT = {
    Fault.NOT_FOUND: "EP2001",
    Fault.UNAVAILABLE: "EP2002",
    Fault.REFUSED: "EP2004",
    Fault.UNREACHABLE: "EP2005",
    Fault.RESET: "EP2204",
    Fault.CLOSED: "EP2205",
    Fault.TIMED_OUT: "EP2203",
    Fault.FORBIDDEN_ADDRESS: "EP2701",
    Fault.FORBIDDEN_SCHEME: "EP2702",
    Fault.CERTIFICATE_EXPIRED: "EP2103",
    Fault.CERTIFICATE_NOT_YET_VALID: "EP2104",
    Fault.CERTIFICATE_UNKNOWN_ISSUER: "EP2105",
    Fault.CERTIFICATE_WRONG_NAME: "EP2106",
    Fault.CERTIFICATE_REFUSED: "EP2107",
    Fault.TLS_ALERT: "EP2108",
    Fault.NOT_TLS: "EP2109",
    Fault.MALFORMED: "EP2208",
    Fault.TOO_LARGE: "EP2209",
    Fault.NO_CONSENT: "EP2603",
    Fault.NO_DESCRIPTORS: "EP9002",
    Fault.CODE: services.SERVICE_REFUSES,
    Fault.INCOMPLETE: services.CREDENTIALS_INCOMPLETE,
    Fault.UNEXPECTED: codes.UNEXPECTED,
}

_BY_STATUS = {
    400: "EP2400",
    401: "EP2401",
    403: "EP2403",
    404: "EP2404",
    405: "EP2405",
    407: "EP2011",
    408: "EP2408",
    410: "EP2410",
    413: "EP2413",
    415: "EP2415",
    429: "EP2429",
    500: "EP2500",
    502: "EP2502",
    503: "EP2503",
    504: "EP2504",
}
_BY_STATUS_CLASS = {3: "EP2300", 4: "EP2499", 5: "EP2599"}
_PROXY_REFUSES = "EP2012"
_UNUSUAL_SUCCESS = "EP2210"
_PLAIN_HTTP_TO_TLS = "EP2211"

PLACEHOLDERS = {
    "address": "the endpoint",
    "proxy": "on the way",
    "elapsed": "some time",
    "status": "a status code",
    "tls_alert": "unknown",
}
"""What the first paragraph of a finding may hold in braces, and what stands there when it was not
seen."""

_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A finding with what was seen filled in: what the API, the commands and the log show."""

    code: str
    title: str
    cause: str
    check: str
    fix: str


def classify(evidence: Evidence) -> str:
    """The code of the finding that this evidence leads to; every evidence leads to one."""
    if evidence.code is not None and evidence.system is not None:
        found = services.finding(evidence.system, evidence.code)
        if found is not None:
            return found
    code = _BY_STAGE_AND_FAULT.get((evidence.stage, evidence.fault))
    if code is not None:
        return code
    if evidence.fault is Fault.MALFORMED and evidence.tls_alert is not None:
        return _PLAIN_HTTP_TO_TLS
    if evidence.fault is Fault.STATUS and evidence.status is not None:
        return _classify_status(evidence.stage, evidence.status)
    return _BY_FAULT.get(evidence.fault, codes.UNEXPECTED)


def _classify_status(stage: Stage, status: int) -> str:
    if stage is Stage.PROXY and status != 407:
        return _PROXY_REFUSES
    return _BY_STATUS.get(status) or _BY_STATUS_CLASS.get(status // 100, _UNUSUAL_SUCCESS)


def explain(evidence: Evidence) -> Explanation:
    """The finding of this evidence, told with the address, the time and the status seen."""
    return describe(classify(evidence), evidence)


def describe(code: str, evidence: Evidence | None = None) -> Explanation:
    """The finding `code`, told with the evidence if there is any.

    For findings that are not of an attempt, such as `codes.TIME_TO_LIVE_EXCEEDED`.
    Raises NotFound for a code that is not in the catalogue.
    """
    finding = catalogue.get(code)
    return Explanation(
        code=finding.code,
        title=finding.title,
        cause=f"{_capitalised(fill(finding.seen, _seen(evidence)))} {finding.cause}",
        check=finding.check,
        fix=finding.fix,
    )


def fill(text: str, values: dict[str, str]) -> str:
    """`text` with its placeholders replaced; words in braces that are none are left alone."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _seen(evidence: Evidence | None) -> dict[str, str]:
    values = dict(PLACEHOLDERS)
    if evidence is None:
        return values
    if evidence.address is not None:
        values["address"] = evidence.address
    if evidence.proxy is not None:
        values["proxy"] = evidence.proxy
    values["elapsed"] = duration(evidence.elapsed_ms)
    if evidence.status is not None:
        values["status"] = str(evidence.status)
    if evidence.tls_alert is not None:
        values["tls_alert"] = evidence.tls_alert
    return values


def duration(elapsed_ms: int) -> str:
    """`340 ms`, `2.5 s`, `30 s`: short, and exact enough to tell a refusal from a timeout."""
    if elapsed_ms < 1:
        return "less than 1 ms"
    if elapsed_ms < 1_000:
        return f"{elapsed_ms} ms"
    return f"{elapsed_ms / 1_000:.1f}".removesuffix(".0") + " s"


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]

"""One table: what Python, OpenSSL and the resolver raise -> the evidence of an attempt.

Layer: http. Only the loop's own connections are read here; answers are judged by the destination.
"""

import errno
import re
import socket
import ssl

import msgspec

from eventpost.core.outcomes import EVIDENCE_DETAIL_CHARS_MAX, Evidence, Fault, Stage

_BY_ERRNO = {
    errno.ECONNREFUSED: Fault.REFUSED,
    errno.EHOSTUNREACH: Fault.UNREACHABLE,
    errno.ENETUNREACH: Fault.UNREACHABLE,
    errno.EHOSTDOWN: Fault.UNREACHABLE,
    errno.ENETDOWN: Fault.UNREACHABLE,
    errno.EADDRNOTAVAIL: Fault.UNREACHABLE,
    errno.EACCES: Fault.UNREACHABLE,  # a local firewall rule, as is EPERM
    errno.EPERM: Fault.UNREACHABLE,
    errno.ECONNRESET: Fault.RESET,
    errno.EPIPE: Fault.RESET,
    errno.ECONNABORTED: Fault.RESET,
    errno.ESHUTDOWN: Fault.CLOSED,
    errno.ETIMEDOUT: Fault.TIMED_OUT,
    errno.EMFILE: Fault.NO_DESCRIPTORS,
    errno.ENFILE: Fault.NO_DESCRIPTORS,
}
_BY_RESOLVER_CODE = {
    socket.EAI_NONAME: Fault.NOT_FOUND,
    getattr(socket, "EAI_NODATA", -5): Fault.NOT_FOUND,
    getattr(socket, "EAI_ADDRFAMILY", -9): Fault.NOT_FOUND,
    socket.EAI_AGAIN: Fault.UNAVAILABLE,
    socket.EAI_FAIL: Fault.UNAVAILABLE,
    getattr(socket, "EAI_SYSTEM", -11): Fault.UNAVAILABLE,
    getattr(socket, "EAI_MEMORY", -10): Fault.UNAVAILABLE,
}
# X509_V_ERR_* of openssl/x509_vfy.h.
_BY_VERIFY_CODE = {
    9: Fault.CERTIFICATE_NOT_YET_VALID,
    10: Fault.CERTIFICATE_EXPIRED,
    2: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    18: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    19: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    20: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    21: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    62: Fault.CERTIFICATE_WRONG_NAME,
    64: Fault.CERTIFICATE_WRONG_NAME,
}
_NOT_TLS_REASONS = frozenset(
    {
        *("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"),
        *("PACKET_LENGTH_TOO_LONG", "BAD_RECORD_TYPE", "RECORD_LAYER_FAILURE"),
        *("NOT_SSL_RECORD_VERSION", "UNEXPECTED_MESSAGE"),
    }
)
_ALERT_REASON = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?([A-Z0-9_]+)")
# Alerts that OpenSSL sends itself when the peer offers nothing it would take.
_OWN_ALERTS = {
    "UNSUPPORTED_PROTOCOL": "protocol_version",
    "NO_SHARED_CIPHER": "handshake_failure",
    "NO_CIPHERS_AVAILABLE": "handshake_failure",
}
_ALERT_NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    47: "illegal_parameter",
    50: "decode_error",
    70: "protocol_version",
    80: "internal_error",
    112: "unrecognized_name",
}
"""By number: RFC 8446 section 6."""


def evidence_of(error: BaseException | None, stage: Stage, *, address: str | None) -> Evidence:
    """The evidence of an error that ended a connection at `stage`; None is an orderly end."""
    if error is None:
        return Evidence(stage=stage, fault=Fault.CLOSED, address=address)
    if isinstance(error, ssl.SSLError):
        return _tls_evidence(error, stage, address)
    if isinstance(error, socket.gaierror):
        return _resolver_evidence(error, stage)
    if isinstance(error, UnicodeError):
        return Evidence(stage=stage, fault=Fault.NOT_FOUND, detail=bounded(str(error)))
    if isinstance(error, OSError):
        return _os_evidence(error, stage, address)
    return Evidence(
        stage=stage, fault=Fault.UNEXPECTED, address=address, detail=bounded(repr(error))
    )


def is_attempted(evidence: Evidence) -> bool:
    """Whether name lookup or connecting had begun, so that the attempt counts."""
    return evidence.stage is not Stage.SETTINGS and evidence.fault is not Fault.NO_DESCRIPTORS


def plain_to_tls(data: bytes) -> str | None:
    """The alert's name if an answer begins as a TLS alert: plain http went to a TLS port."""
    if len(data) >= 7 and data[0] == 0x15 and data[1] == 3 and data[3:5] == b"\x00\x02":
        return _ALERT_NAMES.get(data[6], f"alert_{data[6]}")
    return None


def bounded(text: str) -> str:
    """Text fit for `Evidence.detail`: printable and short."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text[:EVIDENCE_DETAIL_CHARS_MAX]


def has_descriptors() -> bool:
    """Whether this process may open one more file just now.

    The C library reports a failed lookup, not EMFILE, when it cannot open the socket or the file
    that it needs for looking up a name.
    """
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    return True


def _os_evidence(error: OSError, stage: Stage, address: str | None) -> Evidence:
    fault = _BY_ERRNO.get(error.errno or 0)
    if fault is None:
        # Without a number it is the loop that speaks: the peer ended a TLS handshake in order.
        fault = Fault.CLOSED if isinstance(error, ConnectionError) else Fault.UNEXPECTED
    detail = bounded(str(error)) if fault is Fault.UNEXPECTED else ""
    return Evidence(stage=stage, fault=fault, errno=error.errno, address=address, detail=detail)


def _resolver_evidence(error: socket.gaierror, stage: Stage) -> Evidence:
    fault = _BY_RESOLVER_CODE.get(error.errno or 0, Fault.UNAVAILABLE)
    if not has_descriptors():
        fault = Fault.NO_DESCRIPTORS
    return Evidence(
        stage=stage, fault=fault, errno=error.errno, detail=bounded(error.strerror or "")
    )


def _tls_evidence(error: ssl.SSLError, stage: Stage, address: str | None) -> Evidence:
    evidence = Evidence(stage=stage, fault=Fault.UNEXPECTED, address=address)
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _BY_VERIFY_CODE.get(error.verify_code, Fault.CERTIFICATE_REFUSED)
        return msgspec.structs.replace(
            evidence, fault=fault, errno=error.verify_code, detail=bounded(error.verify_message)
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return msgspec.structs.replace(evidence, fault=Fault.CLOSED)
    reason = error.reason or ""
    alert = _ALERT_REASON.fullmatch(reason)
    own_alert = _OWN_ALERTS.get(reason)
    detail = bounded(reason or str(error))
    if reason in _NOT_TLS_REASONS:
        return msgspec.structs.replace(evidence, fault=Fault.NOT_TLS, detail=detail)
    if alert is not None or own_alert is not None:
        name = own_alert or (alert[1].lower() if alert else "")
        return msgspec.structs.replace(
            evidence, fault=Fault.TLS_ALERT, tls_alert=name, detail=detail
        )
    return msgspec.structs.replace(evidence, detail=detail)

"""What botocore and AWS say when they do not know who we are, as evidence: one table.

Layer: credentials. Pure, and without importing botocore: an error is known by its class's name and
by where it was raised. What is not about credentials is None, and the adapter's own to tell.
"""

import os
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.credentials.aws_answers import said
from eventpost.credentials.reports import shown

SYSTEM = "aws"
METADATA_S_MIN = 0.9
"""A chain without result that took this long has waited for the metadata service, whose bound is
1 s a try (`AWS_METADATA_SERVICE_TIMEOUT`)."""

CHAIN_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_V1_DISABLED",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
)
"""What the chain reads. Their names are told when nothing answered, never their values."""

_BY_CLASS = {
    "NoCredentialsError": (Fault.NOT_FOUND, "NoCredentials"),
    "PartialCredentialsError": (Fault.INCOMPLETE, "PartialCredentials"),
    "ProfileNotFound": (Fault.NOT_FOUND, "ProfileNotFound"),
    "ConfigNotFound": (Fault.NOT_FOUND, "ProfileNotFound"),
    "ConfigParseError": (Fault.MALFORMED, "ProfileUnusable"),
    "InvalidConfigError": (Fault.MALFORMED, "ProfileUnusable"),
    "UnknownCredentialError": (Fault.MALFORMED, "ProfileUnusable"),
    "UnauthorizedSSOTokenError": (Fault.REFUSED, "SignInExpired"),
    "SSOTokenLoadError": (Fault.NOT_FOUND, "SignInExpired"),
    "TokenRetrievalError": (Fault.REFUSED, "SignInExpired"),
    "LoginRefreshRequired": (Fault.REFUSED, "SignInExpired"),
    "LoginTokenLoadError": (Fault.NOT_FOUND, "SignInExpired"),
    "MissingDependencyException": (Fault.NOT_FOUND, "LibraryMissing"),
    "NoRegionError": (Fault.NOT_FOUND, "NoRegion"),
    "MetadataRetrievalError": (Fault.REFUSED, "MetadataVersion1Off"),
    "InvalidIMDSEndpointError": (Fault.MALFORMED, "MetadataAddress"),
    "InvalidIMDSEndpointModeError": (Fault.MALFORMED, "MetadataAddress"),
    "CredentialRetrievalError": (Fault.UNAVAILABLE, "CredentialRetrieval"),
}
"""Classes of `botocore.exceptions`; a subclass is known by its nearest base here."""

_BY_PROVIDER = {
    "custom-process": (Fault.UNAVAILABLE, "CredentialProcess"),
    "container-role": (Fault.UNAVAILABLE, "ContainerUnreachable"),
    "iam-role": (Fault.UNAVAILABLE, "RenewalFailed"),
}
"""`CredentialRetrievalError` names the link that failed."""

_BY_TEXT: tuple[tuple[re.Pattern[str], Fault, str], ...] = (
    (re.compile(r"Received non 200 response (\d{3})"), Fault.STATUS, "ContainerStatus"),
    (re.compile(r"Unable to parse JSON returned from container"), Fault.MALFORMED, "ContainerBody"),
    (
        re.compile(r"container metadata: .*timed? ?out", re.IGNORECASE),
        Fault.TIMED_OUT,
        "ContainerTimedOut",
    ),
    (re.compile(r"refresh failed, response did not contain"), Fault.UNAVAILABLE, "RenewalFailed"),
    (re.compile(r"refreshed credentials are still expired"), Fault.REFUSED, "StillExpired"),
    (re.compile(r"Unsupported host '"), Fault.FORBIDDEN_ADDRESS, "ContainerHost"),
    (re.compile(r"Auth token value is not a legal"), Fault.MALFORMED, "AuthorizationToken"),
)

_BY_CODE = {
    "ExpiredToken": (Fault.REFUSED, "ExpiredToken"),
    "ExpiredTokenException": (Fault.REFUSED, "ExpiredToken"),
    "InvalidAccessKeyId": (Fault.REFUSED, "UnknownKey"),
    "InvalidClientTokenId": (Fault.REFUSED, "UnknownKey"),
    "InvalidSecurity": (Fault.REFUSED, "UnknownKey"),
    "UnrecognizedClientException": (Fault.REFUSED, "UnknownKey"),
    "SignatureDoesNotMatch": (Fault.REFUSED, "SignatureDoesNotMatch"),
    "InvalidSignatureException": (Fault.REFUSED, "SignatureDoesNotMatch"),
    "IncompleteSignature": (Fault.REFUSED, "SignatureDoesNotMatch"),
    "RequestExpired": (Fault.REFUSED, "ClockSkewed"),
    "RequestTimeTooSkewed": (Fault.REFUSED, "ClockSkewed"),
    "MissingAuthenticationToken": (Fault.NOT_FOUND, "NoCredentials"),
    "MissingAuthenticationTokenException": (Fault.NOT_FOUND, "NoCredentials"),
}
"""Error codes of services that do not take the keys."""

_SIGNATURES = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
"""The first is what services of the JSON protocols say, the second what STS and IAM do."""
_SKEWED = re.compile(r"Signature (expired|not yet current)", re.IGNORECASE)
_EXCHANGES = frozenset({"AssumeRoleWithWebIdentity", "GetRoleCredentials"})
"""Calls without keys: what they call expired or invalid is the token that was to be exchanged."""
_ROLE_REFUSED = (Fault.REFUSED, "RoleRefused")
OUT_OF_REACH = "CredentialServiceUnreachable"
_UNREACHABLE = (Fault.UNAVAILABLE, OUT_OF_REACH)
_NETWORK = frozenset({"HTTPClientError", "ConnectionError"})
"""Classes of `botocore.exceptions` of which all failures of a connection are."""

_BY_LINK = {
    "ProcessProvider": ("CredentialProcess", "CredentialProcess"),
    "ContainerProvider": ("AuthorizationToken", "ContainerBody"),
    "FileWebIdentityTokenLoader": ("WebIdentityFile", "WebIdentityFile"),
}
"""Classes of botocore in which an error of Python's was raised: when it names a file, otherwise."""

_SETTINGS = frozenset({"NoRegion", "UnknownRegion"})
_CHAIN_FILES = ("botocore/credentials.py", "botocore/tokens.py")

_Told = tuple[Fault, str]


def evidence_of(error: BaseException, operation: str, *, credential: str = "") -> Evidence | None:
    """The evidence of an error that is about credentials; None for every other error.

    `operation` is what was under way (`send`), `credential` the link that had answered, if any.
    """
    told = _told(error)
    if told is None:
        return None
    fault, code = told
    return Evidence(
        stage=Stage.SETTINGS if code in _SETTINGS else Stage.CREDENTIALS,
        fault=fault,
        elapsed_ms=_elapsed_ms(error),
        status=_status(error),
        system=SYSTEM,
        operation=operation,
        code=code,
        request_id=_metadata(error).get("RequestId"),
        credential=credential or _provider(error) or None,
        detail=_detail(error, code),
    )


def is_of_the_chain(error: BaseException) -> bool:
    """Whether it was raised while credentials were looked for or renewed."""
    return any(file.endswith(_CHAIN_FILES) for file, _ in _frames(error.__traceback__))


def _told(error: BaseException) -> _Told | None:
    if isinstance(error, EventpostError):
        return _ours(error)
    code = _error_code(error)
    if code:
        return _by_code(error, code)
    named = _by_class(error)
    if named is not None:
        return _refined(error, named)
    if is_of_the_chain(error):
        return _raised_in_the_chain(error)
    return None


def _ours(error: EventpostError) -> _Told | None:
    if error.code == "EP4502":
        return Fault.INCOMPLETE, "PartialCredentials"
    if error.code == "EP4524":
        return Fault.NOT_FOUND, "UnknownRegion"
    if error.code.startswith("Secret"):
        return Fault.NOT_FOUND, error.code
    return None


def _by_code(error: BaseException, code: str) -> _Told | None:
    if code in _SIGNATURES and _SKEWED.search(str(error)):
        return Fault.REFUSED, "ClockSkewed"
    if getattr(error, "operation_name", "") in _EXCHANGES:
        return _ROLE_REFUSED
    if code in _BY_CODE:
        return _BY_CODE[code]
    return _ROLE_REFUSED if is_of_the_chain(error) else None


def _by_class(error: BaseException) -> _Told | None:
    for kind in type(error).__mro__:
        if kind.__module__ == "botocore.exceptions" and kind.__name__ in _BY_CLASS:
            return _BY_CLASS[kind.__name__]
    return None


def _refined(error: BaseException, told: _Told) -> _Told:
    if told[1] == "NoCredentials" and _elapsed_ms(error) >= METADATA_S_MIN * 1_000:
        return Fault.TIMED_OUT, "MetadataTimedOut"
    if told[1] == "NoCredentials" and _half_of_the_environment():
        return Fault.INCOMPLETE, "PartialCredentials"
    if told[1] == "CredentialRetrieval":
        return _by_text(error) or _BY_PROVIDER.get(_provider(error), told)
    return told


def _raised_in_the_chain(error: BaseException) -> _Told:
    """An error of Python's or of the network's, raised while the chain was walked or refreshed."""
    by_text = _by_text(error)
    if by_text is not None:
        return by_text
    if not _NETWORK.isdisjoint(kind.__name__ for kind in type(error).__mro__):
        return _UNREACHABLE
    is_file = isinstance(error, OSError) and error.filename is not None
    for _, of_class in _frames(error.__traceback__):
        if of_class in _BY_LINK:
            of_file, otherwise = _BY_LINK[of_class]
            return (Fault.NOT_FOUND, of_file) if is_file else (Fault.MALFORMED, otherwise)
    return Fault.UNEXPECTED, "CredentialRetrieval"


def _by_text(error: BaseException) -> _Told | None:
    text = str(error)
    for pattern, fault, code in _BY_TEXT:
        if pattern.search(text):
            return fault, code
    return None


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, str]]:
    """File and class of each frame, the outermost first."""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename.replace(os.sep, "/"), code.co_qualname.partition(".")[0]
        traceback = traceback.tb_next


def _half_of_the_environment() -> bool:
    """A secret or a session token without a key id: the chain passes over it without a word."""
    environ = os.environ
    has_other = bool(environ.get("AWS_SECRET_ACCESS_KEY") or environ.get("AWS_SESSION_TOKEN"))
    return has_other and not environ.get("AWS_ACCESS_KEY_ID")


def _arguments(error: BaseException) -> dict[str, Any]:
    arguments = getattr(error, "kwargs", None)
    return arguments if isinstance(arguments, dict) else {}


def _provider(error: BaseException) -> str:
    return str(_arguments(error).get("provider", ""))


def _elapsed_ms(error: BaseException) -> int:
    return int(_arguments(error).get("elapsed_ms", 0))


def _response(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}


def _error_code(error: BaseException) -> str:
    response = _response(error)
    code, _ = said(response)
    return code or str(response.get("Error", {}).get("Code", ""))


def _metadata(error: BaseException) -> dict[str, Any]:
    metadata = _response(error).get("ResponseMetadata", {})
    return metadata if isinstance(metadata, dict) else {}


def _status(error: BaseException) -> int | None:
    found = _BY_TEXT[0][0].search(str(error))
    if found is not None:
        return int(found[1])
    status = _metadata(error).get("HTTPStatusCode")
    return status if isinstance(status, int) else None


def _detail(error: BaseException, code: str) -> str:
    text = str(error)
    if code in ("NoCredentials", "MetadataTimedOut", "PartialCredentials"):
        present = [name for name in CHAIN_VARIABLES if os.environ.get(name)]
        text = f"{text}. Set in the environment: {', '.join(present) or 'none of the chain'}."
    return shown(text)

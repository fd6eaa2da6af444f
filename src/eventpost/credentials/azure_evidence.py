"""What azure-identity and Entra say when they do not know who we are, as evidence: one table.

Layer: credentials. Pure, and without importing the SDK: an error is known by its class's name. Of a
chain that failed only its text is left, one line for each link that was asked; the texts are those
of azure-identity, the numbers those of "Microsoft Entra authentication and authorization error
codes". What is not about credentials is None, and the adapter's own to tell.
"""

import os
import re

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.credentials.reports import shown

SYSTEM = "azure"

CHAIN_VARIABLES = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_TOKEN_CREDENTIALS",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "MSI_ENDPOINT",
    "MSI_SECRET",
)
"""What the chain reads. Their names are told when nothing answered, never their values."""

_SETS = (
    ("AZURE_CLIENT_SECRET", ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")),
    ("AZURE_CLIENT_CERTIFICATE_PATH", ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")),
    ("AZURE_FEDERATED_TOKEN_FILE", ("AZURE_TENANT_ID", "AZURE_CLIENT_ID")),
    ("IDENTITY_ENDPOINT", ("IDENTITY_HEADER",)),
    ("IDENTITY_HEADER", ("IDENTITY_ENDPOINT",)),
)
"""A variable, and those without which the chain passes over it."""

_OURS = {
    "EP4602": (Fault.INCOMPLETE, "Incomplete"),
    "EP4611": (Fault.FORBIDDEN_SCHEME, "OverHttp"),
    "EP4617": (Fault.MALFORMED, "KeyMalformed"),
    "ConnectionStringMalformed": (Fault.MALFORMED, "KeyMalformed"),
}

_Told = tuple[Fault, str]
_Rows = tuple[tuple[str, re.Pattern[str], Fault, str], ...]
_MANAGED = "ManagedIdentityCredential"
_FEDERATED = "WorkloadIdentityCredential"
_CLI = "AzureCliCredential"
_TELLING = frozenset({_MANAGED, _CLI})
"""Links whose words decide though the chain went on after them."""

_BY_TEXT: _Rows = (
    (_FEDERATED, re.compile(r"\A\[Errno \d+\]"), Fault.NOT_FOUND, "FederatedTokenFile"),
    (
        _MANAGED,
        re.compile(r"Identity not found|No User Assigned|No identity has been assigned"),
        Fault.NOT_FOUND,
        "IdentityNotAssigned",
    ),
    (
        _MANAGED,
        re.compile(r"new connection|[Cc]onnection refused|timed out|unreachable"),
        Fault.UNAVAILABLE,
        "ManagedIdentityUnreachable",
    ),
    (
        _MANAGED,
        re.compile(r"Token request error|Unexpected response|Authentication failed"),
        Fault.STATUS,
        "ManagedIdentityRefused",
    ),
    (_CLI, re.compile(r"az login"), Fault.REFUSED, "CliNotSignedIn"),
    (
        "",
        re.compile(r"new connection|[Cc]onnection refused|timed out|resolve|SSL|EOF"),
        Fault.UNAVAILABLE,
        "EntraUnreachable",
    ),
)
"""The link that said it ("" for any that asks Entra), what it said, and what that is."""

_ALONE: _Rows = (
    (_MANAGED, re.compile(r"no response"), Fault.UNAVAILABLE, "ManagedIdentityUnreachable"),
    (_MANAGED, re.compile(r""), Fault.MALFORMED, "ManagedIdentityRefused"),
    (_CLI, re.compile(r""), Fault.NOT_FOUND, "CliNotSignedIn"),
)
"""Links that are unavailable, when they were the only one that might be asked."""

_ENTRA = re.compile(r"AADSTS\d{4,7}")
_ATTEMPT = re.compile(
    r"^\t(\w+Credential): (.*?)(?=^\t\w+Credential: |\Z)", re.MULTILINE | re.DOTALL
)
_NAMED = re.compile(r"\b\w+Credential\b")
_ADVICE = re.compile(r"\s*To mitigate this issue, .*\Z", re.DOTALL)
_UNAVAILABLE = re.compile(
    r"unavailable|not found on path|not installed|could not be found|requires the|az login"
    r"|auth login|Connect-AzAccount|not fully configured"
)
_OVER_HTTP = re.compile(r"only supported with HTTPS|non-TLS protected")
_SELECTION = re.compile(r"AZURE_TOKEN_CREDENTIALS|is an invalid authority")


def evidence_of(error: BaseException, operation: str, *, credential: str = "") -> Evidence | None:
    """The evidence of an error that is about credentials; None for every other error.

    `operation` is what was under way (`send`), `credential` the link that had answered, if any.
    """
    told = _told(error)
    if told is None:
        return None
    fault, code, link, text = told
    return Evidence(
        stage=Stage.SETTINGS if fault is Fault.FORBIDDEN_SCHEME else Stage.CREDENTIALS,
        fault=fault,
        system=SYSTEM,
        operation=operation,
        code=code,
        credential=link or credential or None,
        detail=shown(text),
    )


def _told(error: BaseException) -> tuple[Fault, str, str, str] | None:
    text = str(error)
    if isinstance(error, EventpostError):
        found = _OURS.get(error.code)
        if found is None and error.code.startswith("Secret"):
            found = (Fault.NOT_FOUND, error.code)
        return None if found is None else (*found, "", text)
    names = {kind.__name__ for kind in type(error).__mro__}
    if _OVER_HTTP.search(text):
        return Fault.FORBIDDEN_SCHEME, "OverHttp", "", text
    if isinstance(error, ValueError) and _SELECTION.search(text):
        return Fault.MALFORMED, "SelectionUnknown", "", text
    if "AzureSigningError" in names:
        return Fault.MALFORMED, "KeyMalformed", "", text
    # A service's refusal is of the same class, and carries the service's own code.
    if "ClientAuthenticationError" not in names or getattr(error, "error_code", None):
        return None
    return _of_the_chain(text)


def _of_the_chain(text: str) -> tuple[Fault, str, str, str]:
    """Which link decided: the one at which the chain broke off, else what is most telling."""
    text = _ADVICE.sub("", text)
    attempts = [(link, said.strip()) for link, said in _ATTEMPT.findall(text)]
    if not attempts:
        attempts = [(_asked_alone(text), text)]
    link, said = attempts[-1]
    entra = _ENTRA.search(said)
    if entra is not None:
        return Fault.REFUSED, entra[0], link, said
    if not _UNAVAILABLE.search(said):
        fault, code = _by_text(_BY_TEXT, link, said) or (Fault.UNEXPECTED, "ChainBroke")
        return fault, code, link, said
    return _all_unavailable(attempts)


def _asked_alone(text: str) -> str:
    """The credential that a program asked without a chain; "" when the text does not tell."""
    named = _NAMED.search(text)
    if named is not None:
        return named[0]
    return _MANAGED if "managed identity" in text else ""


def _all_unavailable(attempts: list[tuple[str, str]]) -> tuple[Fault, str, str, str]:
    for link, said in attempts:
        found = _by_text(_BY_TEXT, link, said) if link in _TELLING else None
        if found is not None:
            return (*found, link, said)
    missing = _missing()
    if missing:
        return Fault.INCOMPLETE, "Incomplete", "", missing
    link, said = attempts[-1]
    alone = _by_text(_ALONE, link, said) if len(attempts) == 1 else None
    if alone is not None:
        return (*alone, link, said)
    present = [name for name in CHAIN_VARIABLES if os.environ.get(name)]
    asked = ", ".join(link for link, _ in attempts if link)
    told = f"Asked: {asked}. Set in the environment: {', '.join(present) or 'none of the chain'}."
    return Fault.NOT_FOUND, "NoCredentials", "", told


def _by_text(rows: _Rows, link: str, said: str) -> _Told | None:
    for of_link, pattern, fault, code in rows:
        if of_link in (link, "") and (of_link or link != _MANAGED) and pattern.search(said):
            return fault, code
    return None


def _missing() -> str:
    """Which variables are missing beside one that is set; "" when every set is whole."""
    environ = os.environ
    for name, needed in _SETS:
        missing = [other for other in needed if not environ.get(other)]
        if environ.get(name) and missing:
            return f"{name} is set, and {' and '.join(missing)} missing."
    return ""

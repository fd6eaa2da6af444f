"""What a user may say about a storage account: settings of a connection of kind `azure-storage`.

Layer: credentials. A key, a shared access signature or a connection string is used when it is
complete. Half of one is an error before anything is tried, never a reason to be somebody else.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import secrets
from eventpost.credentials.azure_token import RENEW_S, RETRY_S
from eventpost.credentials.secrets import Reference

INCOMPLETE = "EP4602"
OVER_HTTP = "EP4611"
KEY_MALFORMED = "EP4617"
CONNECT_S_MAX = 60.0
REQUEST_S_MAX = 900.0
RENEW_S_MAX = 3_600.0
RETRY_S_MAX = 3_600.0
PUBLIC_SUFFIX = "core.windows.net"

Service = Literal["queue", "blob"]
Kind = Literal["account_key", "sas", "connection_string", "token"]

_SECRETS = ("connection_string", "account_key", "sas")
_EMULATED = {"queue": 10001, "blob": 10000}
_EMULATOR = "devstoreaccount1"
# Everybody's: Azurite's documentation, "Default storage account".
_EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_ENDPOINTS = {"queue": "QUEUEENDPOINT", "blob": "BLOBENDPOINT"}


class AzureStorageConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a connection of kind `azure-storage`. Holds references, never a secret.

    Without key, signature and connection string the SDK's `DefaultAzureCredential` finds who we
    are.
    """

    account: str = ""
    account_url: str = ""
    """Instead of `account`, for other clouds and emulators: `https://ACCOUNT.queue.SUFFIX`."""
    connection_string: Reference = ""
    account_key: Reference = ""
    sas: Reference = ""
    """A shared access signature."""
    managed_identity_client_id: str = ""
    """The application id of a user-assigned managed identity; "" is as the environment says."""
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 15.0
    token_renew_s: float = RENEW_S
    """So long before its end a token is replaced."""
    token_retry_s: float = RETRY_S
    """After that was tried in vain, while the token is good: the next try waits so long."""

    def __post_init__(self) -> None:
        given = [name for name in _SECRETS if getattr(self, name)]
        for name in given:
            if not secrets.is_reference(getattr(self, name)):
                raise InvalidRequest(
                    "SecretNotAReference",
                    f"{name} is given by reference only.",
                    fix=f"Write {name}: env:NAME or {name}: file:PATH.",
                )
        if len(given) > 1:
            raise InvalidRequest(
                "KeysGivenTwice",
                f"{' and '.join(given)} are given; one of them would override the other.",
                fix="Give one of them.",
            )
        if given and given != ["connection_string"] and not self.account and not self.account_url:
            raise incomplete(f"{given[0]} is given, and account is missing.")
        _within("connect_timeout_s", self.connect_timeout_s, CONNECT_S_MAX)
        _within("request_timeout_s", self.request_timeout_s, REQUEST_S_MAX)
        _within("token_renew_s", self.token_renew_s, RENEW_S_MAX)
        _within("token_retry_s", self.token_retry_s, RETRY_S_MAX)

    @property
    def kind(self) -> Kind:
        """By what we say who we are."""
        if self.connection_string:
            return "connection_string"
        if self.account_key:
            return "account_key"
        return "sas" if self.sas else "token"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a service of the account is, and by what we may use it: `key`, `sas`, or a token."""

    url: str
    account: str
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)

    @property
    def credential(self) -> object:
        """Key or signature as the SDK's clients take it; None when there is neither."""
        if self.key:
            return {"account_name": self.account, "account_key": self.key}
        if self.sas:
            from azure.core.credentials import AzureSasCredential

            return AzureSasCredential(self.sas)
        return None


def access(settings: AzureStorageConnection, service: Service, *, is_token: bool = True) -> Access:
    """URL and secret of a service, with secrets read anew.

    `is_token` is False when a program gave another credential than a token's. Raises InvalidRequest
    for half a set, for what is malformed, for a token that would go over plain http, and as
    `secrets.resolve` does.
    """
    if settings.connection_string:
        return _of_connection_string(secrets.resolve(settings.connection_string), service)
    url = _url(settings, service)
    account = settings.account or account_of(url)
    if settings.account_key:
        return Access(url, account, key=_checked_key(secrets.resolve(settings.account_key)))
    if settings.sas:
        return Access(url, account, sas=secrets.resolve(settings.sas).lstrip("?"))
    if is_token and urlsplit(url).scheme != "https":
        raise InvalidRequest(
            OVER_HTTP,
            f"A token of Microsoft Entra is never sent over plain http, and {url} is http.",
            fix="Use https, or give the connection an account_key, a sas or a connection_string.",
        )
    return Access(url, account)


def access_of(connection_string: str, service: Service) -> Access:
    """What a connection string says that a program gives by value. Raises InvalidRequest for half a
    set, and for what is malformed."""
    return _of_connection_string(connection_string, service)


def account_of(url: str) -> str:
    """The account's name: the first label of the host, or the first part of an emulator's path."""
    parts = urlsplit(url)
    in_path = parts.path.strip("/").partition("/")[0]
    return in_path or (parts.hostname or "").partition(".")[0]


def url_of(settings: AzureStorageConnection, service: Service) -> str:
    """Where a service of the account is; only a connection string is read for it. Raises as
    `access` does."""
    if settings.connection_string:
        return access(settings, service).url
    return _url(settings, service)


def incomplete(what: str) -> InvalidRequest:
    return InvalidRequest(
        INCOMPLETE,
        f"The credentials of the storage account are incomplete: {what}",
        why="Half a set is never used, and never replaced by other credentials.",
        fix="Give what is missing, or none of it, so that the Azure SDK finds the credentials.",
    )


def _url(settings: AzureStorageConnection, service: Service) -> str:
    if not settings.account_url:
        if not settings.account:
            raise incomplete("neither account nor account_url is given.")
        return f"https://{settings.account}.{service}.{PUBLIC_SUFFIX}"
    url = settings.account_url.rstrip("/")
    for other in _ENDPOINTS:
        if f".{other}." in url:
            return url.replace(f".{other}.", f".{service}.", 1)
    if service == "queue":
        return url
    raise InvalidRequest(
        "EndpointUnknown",
        f"From {url} the URL of the account's {service} service cannot be told.",
        fix="Give a connection_string that names both endpoints.",
    )


def _of_connection_string(text: str, service: Service) -> Access:
    pairs = [part.partition("=") for part in text.strip().strip(";").split(";")]
    if any(not name or not separator for name, separator, _ in pairs):
        raise InvalidRequest(
            "ConnectionStringMalformed",
            "The connection string is not a list of NAME=VALUE, separated by `;`.",
            fix="Copy it anew from the account's access keys.",
        )
    values = {name.strip().upper(): value for name, _, value in pairs}
    if values.get("USEDEVELOPMENTSTORAGE", "").lower() == "true":
        url = f"http://127.0.0.1:{_EMULATED[service]}/{_EMULATOR}"
        return Access(url, _EMULATOR, key=_EMULATOR_KEY)
    account, key = values.get("ACCOUNTNAME", ""), values.get("ACCOUNTKEY", "")
    sas = values.get("SHAREDACCESSSIGNATURE", "").lstrip("?")
    if not key and not sas:
        raise incomplete("the connection string has neither AccountKey nor SharedAccessSignature.")
    if key and not account:
        raise incomplete("the connection string has an AccountKey, and AccountName is missing.")
    url = values.get(_ENDPOINTS[service], "") or _named(values, account, service)
    if key:
        return Access(url.rstrip("/"), account, key=_checked_key(key))
    return Access(url.rstrip("/"), account or account_of(url), sas=sas)


def _named(values: dict[str, str], account: str, service: Service) -> str:
    if not account:
        raise incomplete(f"the connection string has no AccountName and no {service} endpoint.")
    protocol = values.get("DEFAULTENDPOINTSPROTOCOL", "https")
    return f"{protocol}://{account}.{service}.{values.get('ENDPOINTSUFFIX', PUBLIC_SUFFIX)}"


def _checked_key(key: str) -> str:
    try:
        base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            KEY_MALFORMED,
            "The account key is not base64.",
            fix="Copy it anew from the account's access keys; it ends in `==`.",
        ) from error
    return key


def _within(name: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise InvalidRequest(
            "SettingOutOfRange",
            f"{name} is {value:g}; it must be above 0 and at most {most:g}.",
            fix=f"Give {name} a value in that range, or leave it out.",
        )

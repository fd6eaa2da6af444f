"""The network rules of a storage account, read and written with Azure's management library.

Layer: cli. "Storage Accounts - Get Properties" and "- Update", with a token of the SDK's own chain.
The rules are one list, which is always written whole: what else the network rules say, the default
action above all, goes back as it was read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eventpost.config.checks import is_loopback
from eventpost.core.errors import EventpostError, InvalidRequest, extra_missing

ENDPOINT = "https://management.azure.com"
CONNECT_S, ANSWER_S = 10.0, 30.0
ATTEMPTS_MAX = 3
SCOPE = "https://management.azure.com/.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of an account's network rules."""

    region: str
    rules: tuple[str, ...]
    default_action: str
    is_public: bool
    """Whether it is reached over public addresses at all."""
    acls: dict[str, Any]
    """As they were read, to be written again with another list of IP rules."""


class Arm:
    """One account. Raises EventpostError for what the service does not do."""

    def __init__(
        self, *, subscription: str, group: str, account: str, endpoint: str = ENDPOINT
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise InvalidRequest("InvalidUrl", "A token is sent over https only.")
        self._subscription = subscription
        self._group = group
        self._account = account
        self._endpoint = endpoint.rstrip("/")
        self._accounts: Any = None

    def read(self) -> Account:
        found = self._asked(lambda accounts, more: accounts.get_properties(*self._names, **more))
        told = found.as_dict()
        properties = told.get("properties") or {}
        acls = dict(properties.get("networkAcls") or {})
        return Account(
            region=str(told.get("location") or ""),
            rules=tuple(str(each.get("value")) for each in acls.get("ipRules") or ()),
            default_action=str(acls.get("defaultAction") or "Allow"),
            is_public=str(properties.get("publicNetworkAccess") or "Enabled") != "Disabled",
            acls=acls,
        )

    def write(self, account: Account, rules: tuple[str, ...]) -> None:
        """Write the whole list; everything else of the network rules as it was read, also what the
        library does not know."""
        kept = {each["value"]: each for each in account.acls.get("ipRules") or ()}
        listed = [kept.get(each, {"value": each, "action": "Allow"}) for each in rules]
        body = {"properties": {"networkAcls": {**account.acls, "ipRules": listed}}}
        self._asked(lambda accounts, more: accounts.update(*self._names, body, **more))

    @property
    def _names(self) -> tuple[str, str]:
        return self._group, self._account

    def _asked(self, call: Callable[[Any, dict[str, Any]], Any]) -> Any:
        if self._accounts is None:
            self._accounts = self._client().storage_accounts
        try:
            # A token goes over plain http to this machine only, and only because it was told so.
            return call(self._accounts, {"enforce_https": self._endpoint.startswith("https:")})
        except Exception as error:
            told = self._told(error)
            if told is error:
                raise
            raise told from error

    def _client(self) -> Any:
        from eventpost.credentials.azure_token import default_credential

        try:
            from azure.mgmt.storage import StorageManagementClient
        except ModuleNotFoundError as error:
            raise extra_missing("firewall sync", "azure-mgmt-storage", "firewall") from error
        return StorageManagementClient(
            default_credential(),
            self._subscription,
            base_url=self._endpoint,
            credential_scopes=[SCOPE],
            connection_timeout=CONNECT_S,
            read_timeout=ANSWER_S,
            retry_total=ATTEMPTS_MAX - 1,
        )

    def _told(self, error: Exception) -> Exception:
        """What the library raises, as an error of ours; what it does not foresee, as it is."""
        from azure.core.exceptions import AzureError

        from eventpost.credentials import azure
        from eventpost.diagnosis.classify import classify

        answer = getattr(error, "response", None)
        if answer is not None and str(answer.request.url).startswith(self._endpoint):
            return self._refused(error, int(answer.status_code))
        evidence = azure.evidence_of(error, "firewall sync")
        if evidence is not None:
            code = classify(evidence)
            told = f"No token of Azure: {evidence.detail}"
            return EventpostError(code, told, fix=f"eventpost explain {code}")
        if isinstance(error, AzureError):
            told = f"Azure Resource Manager was not reached: {type(error).__name__}."
            return EventpostError("ArmUnreachable", told)
        return error

    def _refused(self, error: Exception, status: int) -> EventpostError:
        said = getattr(error, "error", None)
        code = str(getattr(said, "code", None) or f"Status{status}")
        message = str(getattr(said, "message", None) or "")
        fix = ""
        if status == 403:
            fix = (
                "Give who runs this the action Microsoft.Storage/storageAccounts/write on the "
                "account; the role Storage Account Contributor has it."
            )
        what = f"The account {self._account} was not changed or read: {status} {message[:300]}"
        return EventpostError(code[:64], what.rstrip(), fix=fix)

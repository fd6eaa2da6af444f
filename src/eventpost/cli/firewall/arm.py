"""The network rules of a storage account, read and written over Azure Resource Manager.

Layer: cli. Two requests of its REST API ("Storage Accounts - Get Properties", "- Update"), with a
token of the SDK's own chain. The rules are one list, which is always written whole: what else the
network rules say, the default action above all, goes back as it was read.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from eventpost.cli.firewall.egress import trust
from eventpost.config.checks import is_loopback
from eventpost.core.errors import EventpostError, InvalidRequest

ENDPOINT = "https://management.azure.com"
VERSION = "2023-05-01"
ANSWER_S = 30.0
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
        path = (
            f"/subscriptions/{quote(subscription, safe='')}/resourceGroups/{quote(group, safe='')}"
            f"/providers/Microsoft.Storage/storageAccounts/{quote(account, safe='')}"
        )
        self._url = f"{endpoint.rstrip('/')}{path}"
        self._account = account
        self._tokens: Any = None

    def read(self) -> Account:
        found = self._ask("GET")
        properties = found.get("properties") or {}
        acls = dict(properties.get("networkAcls") or {})
        return Account(
            region=str(found.get("location") or ""),
            rules=tuple(str(each.get("value")) for each in acls.get("ipRules") or ()),
            default_action=str(acls.get("defaultAction") or "Allow"),
            is_public=str(properties.get("publicNetworkAccess") or "Enabled") != "Disabled",
            acls=acls,
        )

    def write(self, account: Account, rules: tuple[str, ...]) -> None:
        """Write the whole list; everything else of the network rules as it was read."""
        kept = {each["value"]: each for each in account.acls.get("ipRules") or ()}
        listed = [kept.get(each, {"value": each, "action": "Allow"}) for each in rules]
        acls = {**account.acls, "ipRules": listed}
        self._ask("PATCH", {"properties": {"networkAcls": acls}})

    def _ask(self, method: str, body: object = None) -> dict[str, Any]:
        try:
            with httpx.Client(timeout=ANSWER_S, verify=trust()) as client:
                answer = client.request(
                    method,
                    self._url,
                    params={"api-version": VERSION},
                    headers={"Authorization": f"Bearer {self._token()}"},
                    json=body,
                )
        except httpx.HTTPError as error:
            raise EventpostError(
                "ArmUnreachable", f"Azure Resource Manager was not reached: {type(error).__name__}."
            ) from error
        if answer.status_code not in (200, 202):
            raise self._refused(answer)
        found = answer.json() if answer.content else {}
        return found if isinstance(found, dict) else {}

    def _token(self) -> str:
        from eventpost.credentials import azure
        from eventpost.credentials.azure_token import default_credential
        from eventpost.diagnosis.classify import classify

        if self._tokens is None:
            self._tokens = default_credential()
        try:
            return str(self._tokens.get_token_info(SCOPE).token)
        except Exception as error:
            evidence = azure.evidence_of(error, "firewall sync")
            if evidence is None:
                raise
            code = classify(evidence)
            raise EventpostError(
                code, f"No token of Azure: {evidence.detail}", fix=f"eventpost explain {code}"
            ) from error

    def _refused(self, answer: httpx.Response) -> EventpostError:
        try:
            error = answer.json().get("error") or {}
        except (ValueError, AttributeError):
            error = {}
        code = str(error.get("code") or f"Status{answer.status_code}")
        fix = ""
        if answer.status_code == 403:
            fix = (
                "Give who runs this the action Microsoft.Storage/storageAccounts/write on the "
                "account; the role Storage Account Contributor has it."
            )
        return EventpostError(
            code[:64],
            f"The account {self._account} was not changed or read: {answer.status_code} "
            f"{str(error.get('message') or '')[:300]}".rstrip(),
            fix=fix,
        )

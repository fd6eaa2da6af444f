"""`eventpost firewall sync` against a local service that speaks ARM's protocol."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from eventpost.cli.firewall import rules, syncing
from eventpost.cli.firewall.arm import Account
from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.testing.azure_identity import AzureIdentity
from tests.cli.running import Done, Program, ended, program, until

pytestmark = pytest.mark.slow
OTHERS, FIRST, SECOND = "20.60.0.0/24", "52.10.1.1", "52.10.1.2"
PATH = (
    "/subscriptions/sub-1/resourceGroups/radio/providers/Microsoft.Storage/storageAccounts/"
    "bluesradio"
)


def _nothing() -> None:
    pass


class Arm:
    """Azure Resource Manager with one storage account: "Storage Accounts - Get Properties" and
    "- Update". It refuses what the service refuses, and says in which address it is asked."""

    def __init__(self) -> None:
        self.acls: dict[str, Any] = {
            "bypass": "AzureServices",
            "virtualNetworkRules": [{"id": "subnet-1", "action": "Allow"}],
            "ipRules": [{"value": OTHERS, "action": "Allow"}],
            "defaultAction": "Deny",
        }
        self.location = "westeurope"
        self.public = "Enabled"
        self.writes: list[list[str]] = []
        self.egress = [FIRST]
        self.region = ""
        self.forbids_writing = False
        self.forbidden_count = 0
        self.before_write: Callable[[], None] = _nothing
        arm = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                if self.path == "/ip":
                    arm.egress = [*arm.egress[1:], arm.egress[0]]
                    return self.answer(200, arm.egress[0], "text/plain")
                if self.path.startswith("/location"):
                    return self.answer(200 if arm.region else 404, arm.region, "text/plain")
                if self.is_asked_rightly():
                    self.answer(200, arm.resource())
                return None

            def do_PATCH(self) -> None:
                if not self.is_asked_rightly():
                    return None
                size = int(self.headers["Content-Length"])
                acls = json.loads(self.rfile.read(size))["properties"]["networkAcls"]
                status, told = arm.written(acls)
                return self.answer(status, told)

            def is_asked_rightly(self) -> bool:
                path, _, query = self.path.partition("?")
                is_known = self.headers.get("Authorization", "").startswith("Bearer ")
                if path == PATH and query.startswith("api-version=20") and is_known:
                    return True
                self.answer(401 if path == PATH else 404, {"error": {"code": "NotFound"}})
                return False

            def answer(self, status: int, body: object, kind: str = "application/json") -> None:
                content = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def rules(self) -> list[str]:
        return [each["value"] for each in self.acls["ipRules"]]

    def resource(self) -> dict[str, Any]:
        return {
            "location": self.location,
            "properties": {"networkAcls": self.acls, "publicNetworkAccess": self.public},
        }

    def written(self, acls: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.forbids_writing:
            self.forbidden_count += 1
            return 403, {"error": {"code": "AuthorizationFailed", "message": "no write"}}
        for each in acls["ipRules"]:
            network = IPv4Network(each["value"])
            has_prefix = "/" in each["value"]
            if network.is_private or (has_prefix and network.prefixlen > 30):
                return 400, {"error": {"code": "InvalidValuesForRequestParameters"}}
        self.acls = acls
        self.writes.append(self.rules)
        self.before_write()
        return 200, self.resource()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def arm() -> Iterator[Arm]:
    arm = Arm()
    yield arm
    arm.close()


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Program]:
    with AzureIdentity() as identity:
        yield program(
            tmp_path,
            AZURE_SUBSCRIPTION_ID="sub-1",
            XDG_STATE_HOME=str(tmp_path / "state"),
            AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential",
            **identity.app_service(),
        )


def sync(runs: Program, arm: Arm, *words: str) -> Done:
    return runs.run(*words_of(arm, *words))


def words_of(arm: Arm, *words: str) -> list[str]:
    return [
        *("firewall", "sync", "--account", "bluesradio", "--resource-group", "radio"),
        *("--endpoint", arm.url, "--ask", f"{arm.url}/ip", "--settle", "0"),
        *("--metadata", f"{arm.url}/location", *words),
    ]


def test_a_plan_changes_nothing(runs: Program, arm: Arm) -> None:
    """Without --apply it is only said what would be done; --check makes that an exit code."""
    done = sync(runs, arm)
    checked = sync(runs, arm, "--plan", "--check")

    assert (done.code, checked.code) == (0, 1)
    assert f"+ {FIRST}" in done.out
    assert "--apply" in done.out
    assert arm.writes == []


def test_apply(runs: Program, arm: Arm) -> None:
    """The own address is added, and everything else of the network rules stays as it was."""
    arm.acls["ruleOfTomorrow"] = {"value": [1]}  # what the library does not know
    arm.acls["ipRules"][0]["note"] = "the office"
    before = {name: value for name, value in arm.acls.items() if name != "ipRules"}

    done = sync(runs, arm, "--apply", "--json")
    again = sync(runs, arm, "--apply", "--check")

    assert done.code == again.code == 0
    assert done.json["add"] == [FIRST]
    assert done.json["applied"] is True
    assert done.json["propagationS"] > 0
    assert arm.writes == [[OTHERS, FIRST]]
    assert {name: value for name, value in arm.acls.items() if name != "ipRules"} == before
    assert arm.acls["defaultAction"] == "Deny"
    assert arm.acls["ipRules"][0]["note"] == "the office"


def test_an_address_that_changed(runs: Program, arm: Arm) -> None:
    """The rule of the former address, which is ours, goes; those of others never do."""
    sync(runs, arm, "--apply")
    arm.egress = [SECOND]

    done = sync(runs, arm, "--apply", "--json")

    assert (done.json["add"], done.json["remove"]) == ([SECOND], [FIRST])
    assert arm.rules == [OTHERS, SECOND]


def test_a_rule_that_was_there_before_is_not_ours(runs: Program, arm: Arm) -> None:
    """An address that somebody else had let in already is never taken away."""
    arm.acls["ipRules"].append({"value": FIRST, "action": "Allow"})
    sync(runs, arm, "--apply")
    arm.egress = [SECOND]

    sync(runs, arm, "--apply")

    assert arm.rules == [OTHERS, FIRST, SECOND]


def test_several_egress_addresses(runs: Program, arm: Arm) -> None:
    """A machine that leaves through several addresses is asked again, and all are let in."""
    arm.egress = [FIRST, SECOND]

    sync(runs, arm, "--apply")

    assert set(arm.rules) == {OTHERS, FIRST, SECOND}


def test_two_machines_do_not_erase_each_other(runs: Program, arm: Arm) -> None:
    """When another machine writes its list over ours, ours is written again beside its rule."""
    erased: list[bool] = []

    def other_machine() -> None:
        if not erased:  # it had read before we wrote
            erased.append(True)
            arm.acls["ipRules"] = [{"value": each, "action": "Allow"} for each in (OTHERS, SECOND)]

    arm.before_write = other_machine

    done = sync(runs, arm, "--apply")

    assert done.code == 0
    assert set(arm.rules) == {OTHERS, FIRST, SECOND}


def test_addresses_that_are_given(runs: Program, arm: Arm) -> None:
    """Networks that are given are let in without asking anybody; small ones as single addresses."""
    done = sync(runs, arm, "--apply", "--address", "52.10.2.0/31", "--address", "52.10.3.0/28")
    refused = sync(runs, arm, "--apply", "--address", "10.0.0.0/8")
    newer = sync(runs, arm, "--apply", "--address", "2001:db8::1")

    assert done.code == 0
    assert arm.rules == [OTHERS, "52.10.2.0", "52.10.2.1", "52.10.3.0/28"]
    assert (refused.code, newer.code) == (2, 2)
    assert "private endpoint" in refused.err


def test_when_a_rule_is_not_the_road(runs: Program, arm: Arm) -> None:
    """Same region, public access that is off, and a default action Allow are told."""
    arm.region, arm.public = "westeurope", "Disabled"
    arm.acls["defaultAction"] = "Allow"

    done = sync(runs, arm, "--json")

    told = " ".join(done.json["notes"])
    assert "no IP rule matches" in told
    assert "Public access to the account is off" in told
    assert "default action Allow" in told
    arm.region = "northeurope"
    assert "no IP rule matches" not in sync(runs, arm).out


def test_nobody_says_the_address(runs: Program, arm: Arm) -> None:
    """Without an address nothing is changed, and it is said how to give one."""
    arm.egress = ["no address"]

    done = sync(runs, arm, "--apply")

    assert (done.code, arm.writes) == (1, [])
    assert "--address" in done.err


def test_what_the_service_refuses(runs: Program, arm: Arm) -> None:
    """A missing right names the action and the role that has it."""
    arm.forbids_writing = True

    done = sync(runs, arm, "--apply")

    assert done.code == 1
    assert "Microsoft.Storage/storageAccounts/write" in done.err
    assert "Bearer" not in done.err


def test_watching_goes_on_after_a_refusal(runs: Program, arm: Arm) -> None:
    """Whoever watches tries again at the next look: what was refused is done once it may be."""
    arm.forbids_writing = True
    process = runs.start(*words_of(arm, "--watch", "0.05"))
    try:
        until(lambda: arm.forbidden_count >= 2)
        arm.forbids_writing = False
        until(lambda: FIRST in arm.rules)
    finally:
        process.terminate()
        _, err = ended(process)

    assert b"This time it was not done" in err
    assert b"Microsoft.Storage/storageAccounts/write" in err


def test_usage(runs: Program, arm: Arm, tmp_path: Path) -> None:
    """A missing subscription, and a token over plain http to another machine, are refused."""
    elsewhere = runs.run(
        *("firewall", "sync", "--account", "a", "--resource-group", "g"),
        *("--endpoint", "http://arm.example"),
    )
    nowhere = program(tmp_path).run("firewall", "sync", "--account", "a", "--resource-group", "g")

    assert (elsewhere.code, nowhere.code) == (2, 2)


# --- the plan -------------------------------------------------------------------------------------


def test_the_bound_of_rules() -> None:
    """An account takes 400 rules; one more is refused before anything is written."""
    current = [f"52.{index // 250}.{index % 250}.1" for index in range(399)]

    assert len(rules.plan(current, [FIRST], []).wanted) == rules.RULES_MAX
    with pytest.raises(InvalidRequest):
        rules.plan(current, [FIRST, SECOND], [])


def test_an_address_that_a_network_of_others_lets_in() -> None:
    """Nothing is added for an address that somebody else's rule covers."""
    assert rules.plan(["52.10.1.0/24"], [FIRST], []).is_empty
    assert rules.plan(["52.10.1.0/24"], [FIRST], ["52.10.1.0/24"]).add == (FIRST,)


class Restless:
    """An account whose rules somebody resets after every write."""

    def __init__(self) -> None:
        self.writes = 0

    def read(self) -> Account:
        return Account(region="", rules=(OTHERS,), default_action="Deny", is_public=True, acls={})

    def write(self, account: Account, wanted: tuple[str, ...]) -> None:
        assert account.rules[0] in wanted
        self.writes += 1


def test_who_is_undone_again_and_again_gives_up(tmp_path: Path) -> None:
    """After five writes that did not last it is said that somebody else writes, too."""
    account = Restless()

    with pytest.raises(EventpostError, match="still not as they should be"):
        syncing.sync(
            account, syncing.Ours(tmp_path / "ours"), [FIRST], settle_s=0, sleep=lambda _: None
        )

    assert account.writes == syncing.WRITES_MAX


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"rules": 3}'])
def test_a_state_file_that_is_none(tmp_path: Path, text: str) -> None:
    """A damaged state file means that nothing is ours, so that nothing is removed."""
    (tmp_path / "ours").write_text(text)

    assert syncing.Ours(tmp_path / "ours").read() == ()

"""`eventpost firewall sync`: a storage account's IP rules, kept equal to the egress addresses."""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command, noun

if TYPE_CHECKING:
    from eventpost.cli.firewall.arm import Account, Arm
    from eventpost.cli.firewall.rules import Plan

SUBSCRIPTION_VARIABLE = "AZURE_SUBSCRIPTION_ID"


def add(group: Commands) -> None:
    verbs = noun(group, "firewall", summary="keep the firewall of a storage account open for us")
    parser = command(
        verbs,
        "sync",
        sync,
        summary="make the account's IP rules equal to this machine's egress addresses",
        parents=[as_json()],
        epilog="Rules that were made elsewhere are never removed, and the default action is never "
        "touched. Without --apply it only says what it would do.",
    )
    add = parser.add_argument
    add("--account", required=True, metavar="NAME", help="the storage account")
    add("--resource-group", required=True, metavar="RG", help="its resource group")
    add("--subscription", metavar="ID", help=f"its subscription (default: {SUBSCRIPTION_VARIABLE})")
    add("--plan", action="store_true", help="say what would be done (the default)")
    add("--check", action="store_true", help="exit 1 when there is something to do")
    add("--apply", action="store_true", help="do it")
    add("--watch", type=float, metavar="SECONDS", help="do it again and again, so often")
    add("--address", action="append", metavar="CIDR", help="let this in, and ask nobody")
    add("--ask", action="append", metavar="URL", help="who says from which address we come")
    add("--state", metavar="FILE", help="which rules are ours (default: the user's state folder)")
    add("--endpoint", metavar="URL", help="of Azure Resource Manager, for other clouds")
    add("--metadata", metavar="URL", help=argparse.SUPPRESS)
    add("--settle", type=float, metavar="SECONDS", help=argparse.SUPPRESS)


def sync(arguments: argparse.Namespace) -> int:
    from eventpost.cli.firewall.arm import ENDPOINT, Arm
    from eventpost.core.errors import EventpostError, InvalidRequest

    subscription = arguments.subscription or os.environ.get(SUBSCRIPTION_VARIABLE, "")
    if not subscription:
        raise InvalidRequest(
            "SubscriptionMissing",
            "Nothing says in which subscription the account is.",
            fix=f"Give --subscription, or set {SUBSCRIPTION_VARIABLE}.",
        )
    if arguments.watch is not None and not arguments.watch > 0:
        raise InvalidRequest("InvalidOption", "--watch takes seconds above 0.")
    arm = Arm(
        subscription=subscription,
        group=arguments.resource_group,
        account=arguments.account,
        endpoint=arguments.endpoint or ENDPOINT,
    )
    if arguments.watch is None:
        return _once(arm, arguments)
    while True:
        try:
            _once(arm, arguments)
        except EventpostError as error:  # the next look may find it mended: watching goes on
            output.note(f"This time it was not done: {error}")
        output.flush()
        time.sleep(arguments.watch)


def _once(arm: "Arm", arguments: argparse.Namespace) -> int:
    from eventpost.cli.firewall import syncing
    from eventpost.cli.firewall.rules import plan

    egress = _egress(arguments)
    ours = syncing.Ours(
        Path(arguments.state) if arguments.state else syncing.state_file(arguments.account)
    )
    account = arm.read()
    notes = _notes(account, arguments)
    if not (arguments.apply or arguments.watch):
        wanted = plan(account.rules, egress, ours.read())
        _print(wanted, notes, egress, arguments, is_done=False)
        return EXIT_BAD if arguments.check and not wanted.is_empty else EXIT_DONE
    settle_s = syncing.SETTLE_S if arguments.settle is None else arguments.settle
    done = syncing.sync(arm, ours, egress, settle_s=settle_s)
    _print(done, notes, egress, arguments, is_done=True)
    return EXIT_DONE


def _egress(arguments: argparse.Namespace) -> list[str]:
    from eventpost.cli.firewall import egress, rules
    from eventpost.core.errors import EventpostError

    if arguments.address:
        return rules.normal(arguments.address)
    seen = egress.look(arguments.ask or egress.ASKED)
    for url in seen.silent:
        output.note(f"{url} did not say from which address we come.")
    if not seen.addresses:
        raise EventpostError(
            "EgressUnknown",
            "Nobody said from which address this machine's requests come.",
            fix="Give the addresses with --address, or somebody else to ask with --ask.",
        )
    return rules.normal(seen.addresses)


def _notes(account: "Account", arguments: argparse.Namespace) -> list[str]:
    """When an IP rule is not the road, or cannot be."""
    from eventpost.cli.firewall import egress

    notes = []
    if not account.is_public:
        notes.append(
            "Public access to the account is off: no IP rule lets anybody in. Use a private "
            "endpoint."
        )
    if account.default_action == "Allow":
        notes.append("The account lets everybody in (default action Allow): rules change nothing.")
    region = egress.own_region(arguments.metadata or egress.METADATA)
    if region and region.lower() == account.region.replace(" ", "").lower():
        notes.append(
            f"This machine is in {region}, as the account is: its requests come from private "
            "addresses, which no IP rule matches. Use a service endpoint of the subnet, or a "
            "private endpoint."
        )
    elif region:
        notes.append(
            f"This machine is in Azure ({region}): a private endpoint outlives every change of "
            "its address."
        )
    return notes


def _print(
    plan: "Plan",
    notes: list[str],
    egress: list[str],
    arguments: argparse.Namespace,
    *,
    is_done: bool,
) -> None:
    from eventpost.cli.firewall.syncing import PROPAGATION_S

    if arguments.json:
        output.json_line(
            {
                "account": arguments.account,
                "egress": egress,
                "add": list(plan.add),
                "remove": list(plan.remove),
                "keep": list(plan.keep),
                "applied": is_done,
                "notes": notes,
                "propagationS": PROPAGATION_S,
            }
        )
        return
    for note in notes:
        output.wrapped(note)
    output.line(f"This machine leaves from {', '.join(egress)}.")
    for sign, rules in (("+", plan.add), ("-", plan.remove)):
        for each in rules:
            output.line(f"{sign} {each}")
    if plan.is_empty:
        output.line("The rules let us in as they are.")
    elif is_done:
        output.line(f"Done. It takes effect within about {PROPAGATION_S} s.")
    else:
        output.line("Nothing was changed: --apply does it.")

"""`eventpost move`: one queue into another, each message deleted only after it arrived."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from eventpost.cli import output, pairs
from eventpost.cli.parser import (
    EXIT_BAD,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    Commands,
    as_json,
    command,
)
from eventpost.cli.progress import progress

if TYPE_CHECKING:
    from eventpost.app.moving import Leg, Moving, Order
    from eventpost.core.sources import Connection
    from eventpost.sources.moving.account import Account
    from eventpost.sources.moving.limits import MoveLimits
    from eventpost.sources.moving.result import Result


def add(group: Commands) -> None:
    parser = command(
        group,
        "move",
        move,
        summary="move the messages of one queue into another",
        parents=[as_json()],
        epilog="Connections are those of the file. Ctrl-C finishes what is being sent, and tells"
        " how far it came; the same command goes on from there, also after a crash.",
    )
    option = parser.add_argument
    option("--from", dest="source", required=True, metavar="CONNECTION/QUEUE", help="the source")
    option("--to", dest="target", required=True, metavar="CONNECTION/QUEUE", help="the target")
    option("--config", metavar="FILE", help="eventpost.yaml (default: EVENTPOST_CONFIG)")
    option(
        "--format",
        default="raw",
        metavar="FORMAT",
        help="what the messages are: raw, event, roadrunner or dramatiq (default: raw)",
    )
    option("--rate", metavar="N/s", help="at most so many a second")
    option("--count", type=int, metavar="N", help="move so many, and leave the rest")
    option("--dry-run", action="store_true", help="look at both sides, and move nothing")
    for side, what in (("from", "source"), ("to", "target")):
        option(
            f"--{side}-option",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"an option of the {what}'s queue system (repeatable); a list is JSON",
        )
    option(
        "--drop-attributes",
        action="store_true",
        help="move messages whose attributes the target has no room for, without these",
    )
    option(
        "--queue-name", metavar="NAME", help="the queue that Dramatiq's messages name from now on"
    )
    option("--base64", action="store_true", help="send Dramatiq's messages as base64")
    option("--wait", metavar="DURATION", help="for messages that are hidden (default: 60s)")
    option("--patience", metavar="DURATION", help="with a side that fails (default: 5m)")
    option(
        "--journal",
        metavar="FILE",
        help="what arrived and is not deleted yet (default: a file"
        " of this move in the user's state directory)",
    )


def move(arguments: argparse.Namespace) -> int:
    from eventpost.app.moving import Moving

    moving = Moving(_order(arguments))
    legs = moving.begin()
    if arguments.dry_run:
        _print_look(moving.order, legs, arguments)
        return EXIT_DONE
    results, is_interrupted = _run(moving, legs)
    _report(moving.order, results, arguments)
    if is_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_DONE if all(each.is_complete for each in results) else EXIT_BAD


def _order(arguments: argparse.Namespace) -> "Order":
    from eventpost.app.moving import Order, end_of
    from eventpost.core.errors import InvalidRequest
    from eventpost.registry.declared import format_named
    from eventpost.registry.forms import rate_per_s

    connections = _connections(arguments)
    rate = None if arguments.rate is None else rate_per_s(arguments.rate, field="--rate")
    if rate == 0:
        raise InvalidRequest("InvalidRate", "--rate is 0.", fix="Give a rate above 0.")
    if arguments.count is not None and arguments.count < 1:
        what = f"--count is {arguments.count}."
        raise InvalidRequest("InvalidCount", what, fix="Give 1 or more.")
    source = pairs.given(arguments.from_option)
    target = pairs.given(arguments.to_option)
    return Order(
        source=end_of(arguments.source, connections, source, option="--from"),
        target=end_of(arguments.target, connections, target, option="--to"),
        format=format_named(arguments.format, "--format"),
        count_max=arguments.count,
        rate_per_s=rate,
        drops_attributes=arguments.drop_attributes,
        queue_name=arguments.queue_name or "",
        is_base64=arguments.base64,
        journal=Path(arguments.journal) if arguments.journal else None,
        limits=_limits(arguments),
    )


def _limits(arguments: argparse.Namespace) -> "MoveLimits":
    from dataclasses import replace

    from eventpost.core.notation import parse_duration_ms
    from eventpost.sources.moving.limits import MoveLimits

    limits = MoveLimits()
    if arguments.wait is not None:
        limits = replace(limits, hidden_wait_s=parse_duration_ms(arguments.wait) / 1000)
    if arguments.patience is not None:
        limits = replace(limits, patience_s=parse_duration_ms(arguments.patience) / 1000)
    return limits


def _connections(arguments: argparse.Namespace) -> "dict[str, Connection]":
    """By their names. Raises InvalidRequest without a file."""
    from eventpost.cli.settings_options import config_file
    from eventpost.config.declared import declared_connections
    from eventpost.core.errors import InvalidRequest
    from eventpost.registry.pulled import to_connection

    file = config_file(arguments)
    if file is None:
        raise InvalidRequest(
            "ConfigMissing",
            "No file says what the connections are.",
            fix="Name it with --config, or in EVENTPOST_CONFIG.",
        )
    return {each.name: to_connection(each) for each in declared_connections(file)}


def _run(moving: "Moving", legs: "list[Leg]") -> "tuple[list[Result], bool]":
    """The results, and whether somebody asked to stop."""
    counts = [leg.count for leg in legs]
    total = sum(one or 0 for one in counts) if None not in counts else None
    if total is not None and moving.order.count_max is not None:
        total = min(total, moving.order.count_max)
    with _stopping(moving) as asked, progress("Move", total=total, unit="messages") as shown:

        def show(account: "Account") -> None:
            shown.to(account.taken - account.in_hand)

        results = moving.run(legs, show, output.note)
    return results, bool(asked)


@contextmanager
def _stopping(moving: "Moving") -> Iterator[list[int]]:
    """The first Ctrl-C (or SIGTERM) lets the move end; the second ends the program. Yields the
    signals that came."""
    asked: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt
        moving.stop()

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


# --- what is printed ------------------------------------------------------------------------------


def _print_look(order: "Order", legs: "list[Leg]", arguments: argparse.Namespace) -> None:
    if arguments.json:
        output.json(
            {
                "source": str(order.source),
                "target": str(order.target),
                "format": order.format.value,
                "queues": [{"queue": leg.source.queue, "messages": leg.count} for leg in legs],
            }
        )
        return
    for leg in legs:
        count = "an unknown number of messages"
        if leg.count is not None:
            count = f"about {output.count(leg.count, 'message')}"
        output.line(f"{leg.source} holds {count}.")
    output.line(f"They would go to {order.target} ({order.target.system}) as {order.format.value}.")
    output.line("Both can be used, as far as a look can tell. Nothing was moved.")


def _report(order: "Order", results: "list[Result]", arguments: argparse.Namespace) -> None:
    from eventpost.app.moving import total

    account = total(results)
    if arguments.json:
        output.json(_as_json(order, results, account))
    else:
        output.line(f"Moved {order.source} to {order.target}.")
        output.fields(_shown(account))
    for result in results:
        _explain(order, result)


def _shown(account: "Account") -> dict[str, object]:
    """Always all four parts of the sum; the others where there are any."""
    return {
        "taken": account.taken,
        "= moved": account.moved,
        "+ moved before": account.moved_before or None,
        "+ skipped": account.skipped,
        "+ left": account.left,
        "not sent": account.returned or None,
        "not deleted": account.undeleted or None,
        "maybe twice": account.twice or None,
    }


def _as_json(order: "Order", results: "list[Result]", account: "Account") -> dict[str, object]:
    return {
        "source": str(order.source),
        "target": str(order.target),
        "format": order.format.value,
        "ended": results[-1].ended.value,
        "complete": all(each.is_complete for each in results),
        "taken": account.taken,
        "moved": account.moved,
        "movedBefore": account.moved_before,
        "skipped": account.skipped,
        "skippedBy": account.skipped_by,
        "left": account.left,
        "returned": account.returned,
        "undeleted": account.undeleted,
        "maybeTwice": account.twice,
        "hidden": sum(each.hidden for each in results),
    }


def _explain(order: "Order", result: "Result") -> None:
    """Why it is not complete, on standard error."""
    from eventpost.app.moving import refused
    from eventpost.diagnosis import catalogue
    from eventpost.sources.moving.result import Ended

    for finding, count in result.account.skipped_by.items():
        title = catalogue.get(finding).title
        output.note(f"{finding} {title}: {output.count(count, 'message')} left in the source.")
        output.note(f"  why: {output.plain(result.examples.get(finding, ''))}")
        output.note(f"  fix: see `eventpost explain {finding}`.")
    if result.failed is not None:
        side = order.source if result.ended is Ended.SOURCE_FAILS else order.target
        where = "source" if side is order.source else "target"
        output.error(refused(side, result.failed.evidence, where))
    if result.error is not None:
        output.error(result.error)
    if result.ended is Ended.HIDDEN:
        hidden = output.count(result.hidden, "message")
        output.note(
            f"{hidden} more are in {order.source}, and were not handed out: they are delayed,"
            " or somebody else has them. Move again later."
        )
    if result.ended is Ended.SKIPPED:
        output.note("The move ended, because too many messages cannot be moved.")
    if result.account.undeleted:
        output.note("What is not deleted is in the target already. The same command deletes it.")

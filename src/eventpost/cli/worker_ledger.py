"""`eventpost worker ledger check`: whether a worker could start with its ledger, and what it holds.

Asked of the ledger itself, as a worker does when it starts: nothing is written but its own tables.
"""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command, nouns

if TYPE_CHECKING:
    from eventpost.queues.ledger import Ledger


def add(worker: Commands) -> None:
    parser = worker.add_parser(
        "ledger", help="look at a worker's ledger", description="Look at a worker's ledger."
    )
    verbs = nouns(parser, dest="ledger_verb")
    check_parser = command(
        verbs, "check", check, summary="see that a worker can use it", parents=[as_json()]
    )
    where = check_parser.add_mutually_exclusive_group()
    where.add_argument("--broker", metavar="MODULE[:NAME]", help="the ledger of this broker")
    where.add_argument("--ledger", metavar="PATH_OR_URL", help="this one (default: your file)")


def check(arguments: argparse.Namespace) -> int:
    """1 when a worker would not start, or would warn."""
    from eventpost.queues.ledger import LedgerError
    from eventpost.workers import ledgers

    ledger = _named(arguments)
    try:
        risks = ledgers.risks(ledger)
        rows = ledger.stats().rows
    except LedgerError as error:
        faults = [{"code": error.code, "what": error.what, "fix": error.fix}]
        return _print(arguments, {"ledger": ledger.place.name, "findings": faults})
    finally:
        ledger.close()
    found = [{"code": risk.code, "what": risk.what, "fix": risk.fix} for risk in risks]
    return _print(arguments, {"ledger": ledger.place.name, "rows": rows, "findings": found})


def _named(arguments: argparse.Namespace) -> "Ledger":
    from eventpost.cli.worker import broker_named
    from eventpost.workers import ledgers

    if arguments.broker:
        return broker_named(arguments.broker).ledger
    return ledgers.open_ledger(arguments.ledger, "")


def _print(arguments: argparse.Namespace, told: dict[str, object]) -> int:
    findings = told["findings"]
    assert isinstance(findings, list)
    if arguments.json:
        output.json(told)
    else:
        output.fields({name: value for name, value in told.items() if name != "findings"})
        for one in findings:
            output.line(f"{one['code']} {one['what']}")
            output.line(f"  fix: {one['fix']}")
    return EXIT_BAD if findings else EXIT_DONE

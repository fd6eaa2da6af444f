"""`eventpost worker deadletters ...`: dead letters of a Dramatiq program's own queues.

They are in the program's queue system, not in a server: the program itself says where.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eventpost.cli import confirming, output, worker_ledger
from eventpost.cli.parser import (
    EXIT_DONE,
    EXIT_USAGE,
    Commands,
    Parser,
    as_json,
    command,
    noun,
    nouns,
)
from eventpost.cli.progress import progress

if TYPE_CHECKING:
    from eventpost.workers.broker import LeaseBroker
    from eventpost.workers.shelf import Letter, Selection, Shelf


def add(group: Commands) -> None:
    worker = noun(group, "worker", summary="look after the queues of Dramatiq's workers")
    parser = worker.add_parser(
        "deadletters",
        help="list, replay and purge dead letters of workers",
        description="List, replay and purge dead letters of workers.",
    )
    worker_ledger.add(worker)
    verbs = nouns(parser, dest="deadletters_verb")
    shared = [_selection(), as_json()]
    parser = command(verbs, "list", list_letters, summary="list dead letters", parents=shared)
    parser.add_argument(
        "--limit", type=int, default=100, metavar="N", help="at most (default: 100)"
    )
    parser = command(
        verbs, "replay", replay, summary="send dead letters to their queue again", parents=shared
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    parser.add_argument("--rate", metavar="N/s", help="at most so many a second")
    parser.add_argument("--dry-run", action="store_true", help="only count them")
    parser = command(
        verbs,
        "purge",
        purge,
        summary="throw dead letters away for good",
        parents=[*shared, confirming.yes()],
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    parser.add_argument("--dry-run", action="store_true", help="only count them")


def _selection() -> Parser:
    parser = Parser(add_help=False)
    parser.add_argument(
        "--broker",
        required=True,
        metavar="MODULE[:NAME]",
        help="where the program makes its broker, as for `dramatiq`; NAME is `broker` by default",
    )
    parser.add_argument("--queue", default="default", help="the queue (default: default)")
    add = parser.add_argument_group("selection").add_argument
    add("--reason", default="", help="with this reason, such as Failed")
    add("--finding", default="", metavar="CODE", help="with this finding, such as EP5013")
    add("--actor", default="", help="of this actor")
    add("--error", default="", metavar="TEXT", help="with this text in its error")
    add("--since", default="", metavar="TIME", help="that fell since then: a time, or an age (2h)")
    add("--until", default="", metavar="TIME", help="that fell before then")
    return parser


def list_letters(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as shelf:
        letters = list(shelf.letters(_selected(arguments), arguments.limit + 1))
    if len(letters) > arguments.limit:
        output.note(f"The first {arguments.limit:,} are shown; --limit shows more.")
        letters = letters[: arguments.limit]
    if arguments.json:
        output.json([_as_data(one) for one in letters])
        return EXIT_DONE
    rows = [_as_data(one) for one in letters]
    columns = ("id", "fell", "actor", "reason", "finding", "receives", "retries", "error")
    output.table(
        columns, [[row[name] for name in columns] for row in rows], empty="There are none."
    )
    return EXIT_DONE


def replay(arguments: argparse.Namespace) -> int:
    from eventpost.registry import forms
    from eventpost.workers.shelf import paced

    if arguments.dry_run:
        return _print_count(_count(arguments), "would be replayed", arguments)
    with _opened(arguments) as shelf:
        letters = shelf.letters(_selected(arguments))
        rate = forms.rate_per_s(arguments.rate, field="--rate") if arguments.rate else 0.0
        done = _each(paced(letters, rate, time.sleep), "Replay", shelf.replay)
    return _print_count(done, "sent again", arguments)


def purge(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _print_count(_count(arguments), "would be purged", arguments)
    if not arguments.yes and not _is_confirmed():
        output.note("Nothing was purged.")
        return EXIT_USAGE
    with _opened(arguments) as shelf:
        done = _each(shelf.letters(_selected(arguments)), "Purge", shelf.remove)
    return _print_count(done, "purged", arguments)


def _each(letters: "Iterator[Letter]", label: str, act: "Callable[[Letter], None]") -> int:
    done = 0
    with progress(label, total=None, unit="dead letters") as shown:
        for one in letters:
            act(one)
            done += 1
            shown.to(done)
    return done


def _count(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as shelf:
        return sum(1 for _ in shelf.letters(_selected(arguments)))


def _is_confirmed() -> bool:
    if not output.is_terminal(sys.stdin):
        output.note("PurgeNotConfirmed Purging asks first, and nobody can answer here.")
        output.note("  fix: give --yes.")
        return False
    output.note("What is selected will be gone for good.")
    return confirming.is_answered("Purge")


def _opened(arguments: argparse.Namespace) -> "Shelf":
    from eventpost.workers.shelf import Shelf

    return Shelf(broker_named(arguments.broker), arguments.queue)


def broker_named(named: str) -> "LeaseBroker":
    """The program's own. Raises InvalidRequest for a module or a name that is not there."""
    from eventpost.core.errors import InvalidRequest
    from eventpost.workers.broker import LeaseBroker

    module_name, _, name = named.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module_name), name or "broker", None)
    except ImportError as error:
        raise InvalidRequest(
            "NoSuchModule",
            f"The module {module_name} cannot be imported: {error}.",
            fix="Run this where `dramatiq` runs, with the same environment.",
        ) from error
    if not isinstance(found, LeaseBroker):
        raise InvalidRequest(
            "NoSuchBroker",
            f"{module_name} has no broker of eventpost called {name or 'broker'}.",
            fix="Name it: --broker MODULE:NAME.",
        )
    return found


def _selected(arguments: argparse.Namespace) -> "Selection":
    from eventpost.workers.shelf import Selection

    return Selection(
        reason=arguments.reason,
        finding=arguments.finding,
        actor=arguments.actor,
        error=arguments.error,
        since_ms=_time_ms(arguments.since, "--since"),
        until_ms=_time_ms(arguments.until, "--until"),
        ids=frozenset(getattr(arguments, "ids", ())),
    )


def _time_ms(text: str, option: str) -> int:
    from eventpost.registry import forms

    now_ms = int(time.time() * 1000)
    return forms.time_ms(text, field=option, now_ms=now_ms) if text else 0


def _as_data(one: "Letter") -> dict[str, object]:
    from eventpost.registry.forms import time_text

    story = one.letter.story
    return {
        "id": one.id,
        "fell": time_text(one.at_ms),
        "actor": one.letter.actor,
        "message_id": one.letter.message_id,
        "reason": "" if story is None else story.reason.value,
        "finding": "" if story is None else story.finding,
        "receives": 0 if story is None else story.receives,
        "retries": 0 if story is None else story.retries,
        "error": "" if story is None else story.error,
        "body": one.letter.body.decode(errors="replace"),
    }


def _print_count(count: int, what: str, arguments: argparse.Namespace) -> int:
    if arguments.json:
        output.json({"count": count})
    else:
        output.line(f"{output.count(count, 'dead letter')} {what}.")
    return EXIT_DONE

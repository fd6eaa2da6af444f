"""`eventpost deadletter ...`: what was given up, why, and its second chance."""

import argparse
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, cast

from eventpost.cli import confirming, output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_DONE,
    EXIT_USAGE,
    Commands,
    Parser,
    as_json,
    command,
    connection,
    noun,
)
from eventpost.cli.progress import progress

if TYPE_CHECKING:
    from eventpost.client.operations import Selection
    from eventpost.server.models import DeadLetterView, MessageView, Progress


def add(group: Commands) -> None:
    verbs = noun(group, "deadletter", summary="list, show, replay and purge dead letters")
    shared = [as_json(), connection()]
    parser = command(
        verbs,
        "list",
        list_dead_letters,
        summary="list dead letters, oldest first",
        parents=[_selection(), *shared],
    )
    parser.add_argument(
        "--limit", type=int, default=100, metavar="N", help="at most (default: 100)"
    )
    parser.add_argument("--replayed", action="store_true", help="those that were replayed already")
    parser = command(
        verbs, "show", show, summary="show one dead letter with its event", parents=shared
    )
    parser.add_argument("id", help="its id, as the list shows it")
    parser.add_argument(
        "--body",
        metavar="FILE",
        help="write the very bytes of a source's message to FILE (- is stdout)",
    )
    parser = command(
        verbs,
        "replay",
        replay,
        summary="deliver dead letters again, all that are selected",
        parents=[_selection(), *shared],
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    parser.add_argument("--rate", metavar="N/s", help="at most so many a second")
    parser.add_argument(
        "--from",
        dest="place",
        metavar="PLACE",
        help="read their copies from folder:PATH, azureblob://ACCOUNT/CONTAINER or "
        "s3://BUCKET/PREFIX",
    )
    parser.add_argument("--connection", metavar="NAME", help="named connection that leads there")
    parser.add_argument("--dry-run", action="store_true", help="only count them")
    parser = command(
        verbs,
        "purge",
        purge,
        summary="throw dead letters away for good",
        parents=[_selection(), confirming.yes(), *shared],
    )
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these")
    parser.add_argument("--dry-run", action="store_true", help="only count them")


def _selection() -> Parser:
    parser = Parser(add_help=False)
    add = parser.add_argument_group("selection").add_argument
    add("--topic", help="of this topic")
    add("--subscription", metavar="NAME", help="of this subscription")
    add("--source", metavar="NAME", help="messages of this source")
    add("--since", metavar="TIME", help="that fell since then: a time, or an age such as 2h")
    add("--until", metavar="TIME", help="that fell before then")
    add("--reason", help="with this reason, such as TimeToLiveExceeded")
    add("--finding", metavar="CODE", help="with this finding, such as EP2004")
    return parser


def _selected(arguments: argparse.Namespace) -> "Selection":
    """What was asked for, and nothing else."""
    names = (
        *("topic", "subscription", "source", "since", "until", "reason", "finding", "ids"),
        "replayed",
    )
    given = {name: getattr(arguments, name, None) for name in names}
    return cast("Selection", {name: value for name, value in given.items() if value})


def list_dead_letters(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        found = client.dead_letters(**_selected(arguments))
        letters = list(islice(found, arguments.limit))
        is_cut = next(found, None) is not None
    if is_cut:
        output.note(f"The first {arguments.limit:,} are shown; --limit shows more.")
    if arguments.json:
        output.json(letters)
        return EXIT_DONE
    output.table(
        ("id", "fell", "from", "event", "subject", "reason", "attempts", "finding"),
        [
            (
                *(each.id, each.dead_letter_time, each.subscription or each.source),
                *(each.event_id, each.subject),
                *(each.dead_letter_reason, each.delivery_attempts, each.finding),
            )
            for each in letters
        ],
        empty="There are no dead letters.",
    )
    return EXIT_DONE


def show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        letter = client.show_dead_letter(arguments.id)
    if arguments.body is not None:
        _write_body(letter, arguments.body)
    elif arguments.json:
        output.json(letter)
    else:
        _print(letter)
    return EXIT_DONE


def replay(arguments: argparse.Namespace) -> int:
    selected = _selected(arguments)
    if arguments.place is not None:
        return _replay_files(arguments, selected)
    with connect(arguments) as client:
        total = client.count_dead_letters(**selected)
        if arguments.dry_run or not total:
            return _print_count(total, "would be replayed" if total else "to replay", arguments)
        output.note(f"Replaying {output.count(total, 'dead letter')}.")
        done = _follow("Replay", total, client.replay(rate=arguments.rate, **selected))
    return _print_count(done, "put back on the ladder", arguments)


def _replay_files(arguments: argparse.Namespace, selected: "Selection") -> int:
    """Of copies: how many there are is known when all have been read."""
    from eventpost.cli import local_paths

    with connect(arguments) as client:
        declared: dict[str, object] = {"deadletter": arguments.place}
        local_paths.resolve(declared, client.place)
        lines = client.replay(
            rate=arguments.rate,
            dry_run=arguments.dry_run,
            place=str(declared["deadletter"]),
            place_connection=arguments.connection,
            **selected,
        )
        done = total = 0
        for line in lines:
            done, total = line.done, line.total
    if arguments.dry_run:
        return _print_count(total, "would be replayed", arguments)
    return _print_count(done, "put back on the ladder", arguments)


def purge(arguments: argparse.Namespace) -> int:
    selected = _selected(arguments)
    with connect(arguments) as client:
        total = client.count_dead_letters(**selected)
        if arguments.dry_run or not total:
            return _print_count(total, "would be purged" if total else "to purge", arguments)
        if not arguments.yes and not _is_confirmed(total):
            output.note("Nothing was purged.")
            return EXIT_USAGE
        done = _follow("Purge", total, client.purge(**selected))
    return _print_count(done, "purged", arguments)


def _is_confirmed(total: int) -> bool:
    import sys

    if not output.is_terminal(sys.stdin):
        output.note("PurgeNotConfirmed Purging asks first, and nobody can answer here.")
        output.note("  fix: give --yes.")
        return False
    output.note(f"{output.count(total, 'dead letter')} will be gone for good.")
    return confirming.is_answered("Purge")


def _follow(label: str, total: int, lines: "Iterable[Progress]") -> int:
    done = 0
    with progress(label, total=total, unit="dead letters") as shown:
        for line in lines:
            done = line.done
            shown.to(done)
    return done


def _print_count(count: int, what: str, arguments: argparse.Namespace) -> int:
    if arguments.json:
        output.json({"count": count})
    else:
        output.line(f"{output.count(count, 'dead letter')} {what}.")
    return EXIT_DONE


def _print(letter: "DeadLetterView") -> None:
    output.fields(
        {
            "id": letter.id,
            "topic": letter.topic,
            "subscription": letter.subscription,
            "source": letter.source,
            "event": letter.event_id,
            "type": letter.event_type,
            "subject": letter.subject,
            "position": None if letter.source else letter.position,
            "reason": letter.dead_letter_reason,
            "attempts": letter.delivery_attempts,
            "last outcome": letter.last_delivery_outcome,
            "last status": letter.last_http_status_code,
            "published": letter.publish_time,
            "last attempt": letter.last_delivery_attempt_time,
            "fell": letter.dead_letter_time,
            "replayed": letter.replayed_time,
            "written to": letter.exported_to,
            "finding": letter.finding,
            "cause": letter.cause,
            "fix": letter.fix,
            "address": letter.evidence.address if letter.evidence else None,
            "detail": letter.evidence.detail if letter.evidence else None,
        }
    )
    if letter.message is not None:
        _print_message(letter.message)
    elif letter.event is not None:
        output.line()
        output.raw_json(bytes(letter.event))


def _print_message(message: "MessageView") -> None:
    output.line()
    attributes = message.attributes | message.system_attributes
    output.fields({"content type": message.content_type, "group": message.group, **attributes})
    output.line()
    shown = message.body if message.body is not None else message.body_base64
    for line in shown.splitlines():
        output.line(output.plain(line))


def _write_body(letter: "DeadLetterView", file: str) -> None:
    """The bytes as they came. Raises InvalidRequest for what is no message or cannot be written."""
    import sys
    from base64 import b64decode
    from pathlib import Path

    from eventpost.core.errors import InvalidRequest

    if letter.message is None:
        raise InvalidRequest(
            "NoMessage",
            f"The dead letter {letter.id} is an event, and no message of a source.",
            fix="Leave --body out: the event is printed.",
        )
    body = b64decode(letter.message.body_base64)
    if file == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
        return
    try:
        Path(file).write_bytes(body)
    except OSError as error:
        raise InvalidRequest(
            "FileNotWritable",
            f"{file} cannot be written: {error.strerror}.",
            fix="Name another file.",
        ) from error

"""`eventpost store ...`: whether what is kept is intact, and a copy of it."""

import argparse
from pathlib import Path

from eventpost.cli import output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command, connection, noun
from eventpost.cli.progress import waiting


def add(group: Commands) -> None:
    verbs = noun(group, "store", summary="verify, copy and measure what is kept")
    shared = [as_json(), connection()]
    command(
        verbs,
        "verify",
        verify,
        summary="check every segment's checksum and the books, while serving",
        parents=shared,
    )
    parser = command(
        verbs, "backup", backup, summary="write a consistent copy, while serving", parents=shared
    )
    parser.add_argument("file", metavar="FILE", help="where; must not exist yet")
    command(verbs, "usage", usage, summary="show how much is kept", parents=shared)


def verify(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client, waiting("Verifying"):
        verified = client.verify_store()
    if arguments.json:
        output.json(verified)
    elif verified.is_intact:
        output.line("The store is intact.")
    else:
        output.line(f"The store has {output.count(len(verified.damage), 'damage')}:")
        for damage in verified.damage:
            output.line(f"  {output.plain(damage)}")
    return EXIT_DONE if verified.is_intact else EXIT_BAD


def backup(arguments: argparse.Namespace) -> int:
    from eventpost.config.quantities import size_text

    path = Path(arguments.file).absolute()
    with connect(arguments) as client, waiting("Copying"):
        copy = client.backup_store(str(path))
    if arguments.json:
        output.json(copy)
    else:
        output.line(f"{copy.path}: {size_text(copy.bytes)}.")
    return EXIT_DONE


def usage(arguments: argparse.Namespace) -> int:
    from eventpost.config.quantities import size_text

    with connect(arguments) as client:
        used = client.show_usage()
    if arguments.json:
        output.json(used)
    else:
        output.fields(
            {
                "size": size_text(used.bytes_used),
                "events": used.event_count,
                "segments": used.segment_count,
                "on the ladder": used.ladder_count,
                "dead letters": used.dead_letter_count,
            }
        )
    return EXIT_DONE

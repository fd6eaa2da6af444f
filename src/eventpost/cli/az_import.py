"""`eventpost az-import`: topics and event subscriptions of Azure Event Grid as `eventpost.yaml`."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import files, output
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command

if TYPE_CHECKING:
    from eventpost.registry.azure.imported import Imported


def add(group: Commands) -> None:
    parser = command(
        group,
        "az-import",
        run,
        summary="write eventpost.yaml from what `az eventgrid ... list` prints, or an ARM template",
        parents=[as_json()],
        epilog="Nothing is sent anywhere. What cannot be carried over is listed on standard error; "
        "exit code 1 when nothing can.",
    )
    parser.add_argument("file", metavar="FILE.json", help="the JSON; - reads standard input")


def run(arguments: argparse.Namespace) -> int:
    from eventpost.config import yaml_text
    from eventpost.registry import shapes
    from eventpost.registry.azure import imported

    found = imported.read(shapes.decode_json(files.read(arguments.file)))
    if arguments.json:
        output.json({"file": found.sections, "leftOut": found.left})
    else:
        output.line(yaml_text.written(found.sections).rstrip())
        _tell(found)
    return EXIT_DONE if found.sections else EXIT_BAD


def _tell(found: "Imported") -> None:
    counts = (
        (len(found.topics), "topic"),
        (len(found.subscriptions), "event subscription"),
        (len(found.connections), "connection"),
    )
    carried = ", ".join(output.count(number, noun) for number, noun in counts)
    output.note(f"Carried over: {carried}.")
    for each in found.left:
        what = f"{each.where}: {each.field}" if each.field else each.where
        output.note(f"Left out: {what}\n  why: {each.why}")

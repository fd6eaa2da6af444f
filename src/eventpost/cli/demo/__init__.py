"""`eventpost demo`: a radio station, played by the real server over real sockets.

`story` is what happens and what must come of it, `stage` the server and the handlers, `screen` how
it is told.
"""

import argparse

from eventpost.cli import output
from eventpost.cli.parser import Commands, command


def add(group: Commands) -> None:
    parser = command(
        group,
        "demo",
        demo,
        summary="a tour of a radio station, told as it happens",
        epilog="Nothing is left behind: the server keeps its data in a temporary directory.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="end by itself, 0 if all went as told (so it does whenever nobody watches)",
    )


def demo(arguments: argparse.Namespace) -> int:
    from eventpost.cli.demo import story

    is_staying = output.is_terminal() and not arguments.once
    return story.tell(is_staying=is_staying)

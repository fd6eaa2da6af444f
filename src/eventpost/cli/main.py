"""`eventpost`: finds the command, runs it, and turns what went wrong into an exit code.

0 done; 1 the thing asked about is bad or the server refused; 2 usage; 3 server not reachable;
130 interrupted; 141 the reader of the output went away.
"""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eventpost.cli import parser as cli
from eventpost.cli import shaping
from eventpost.cli.parser import Parser
from eventpost.core.version import VERSION

if TYPE_CHECKING:
    import argparse

    from eventpost.core.errors import EventpostError

_DASHES = re.compile("^([\u2013\u2014]-?|-[\u2013\u2014])(?=[a-z])")
DESCRIPTION = (
    "An event grid that you run yourself: durable, at least once, and it explains failures."
)
EPILOG = "`eventpost COMMAND --help` tells more. Begin with `eventpost demo` or `eventpost serve`."


MODULES = {
    "demo": ("demo",),
    "serve": ("serve",),
    "plan": ("plan", "apply"),
    "topic": ("topic",),
    "domain": ("domain",),
    "subscription": ("subscription", "event-subscription"),
    "connection": ("connection",),
    "source": ("source",),
    "move": ("move",),
    "az_import": ("az-import",),
    "publish": ("publish",),
    "event": ("event",),
    "deadletter": ("deadletter",),
    "worker": ("worker",),
    "store": ("store",),
    "config": ("config",),
    "doctor": ("doctor",),
    "explain": ("explain",),
    "firewall": ("firewall",),
    "completion": ("completion",),
}
"""The modules of this folder that add commands, in the order of the help, and which they add."""


def build_parser(word: str = "") -> Parser:
    """The whole command line; when `word` is a command, only what begins with it: to build all of
    them takes longer than most commands do."""
    parser = Parser(prog="eventpost", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"eventpost {VERSION}")
    group = cli.nouns(parser)
    named = [module for module, words in MODULES.items() if word in words]
    for name in named or MODULES:
        importlib.import_module(f"eventpost.cli.{name}").add(group)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Prints errors, raises nothing but SystemExit."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return cli.EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output at exit; point it away so that this raises no second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return cli.EXIT_BROKEN_PIPE


def _run(argv: Sequence[str] | None) -> int:
    from eventpost.core.errors import EventpostError

    try:
        given = sys.argv[1:] if argv is None else argv
        words = [_with_hyphens(word) for word in given]
        arguments = build_parser(words[0] if words else "").parse_args(words)
        _note_ignored(arguments)
        with shaping.asked(arguments):
            code: int = arguments.run(arguments)
        sys.stdout.flush()
    except EventpostError as error:
        from eventpost.cli import output

        output.error(error)
        return exit_code(error)
    return code


def _with_hyphens(word: str) -> str:
    """`--name` of `\u2013-name` and the like: on many pages dashes stand for hyphens."""
    return _DASHES.sub("--", word, count=1)


def _note_ignored(arguments: "argparse.Namespace") -> None:
    ignored = getattr(arguments, "ignored", None)
    if ignored:
        from eventpost.cli import output

        output.note(f"Ignored: {', '.join(ignored)} (it has no meaning here).")


def exit_code(error: "EventpostError") -> int:
    """2 for what was asked wrongly, 3 for a server that cannot be reached, 1 for the rest."""
    from eventpost.core.errors import InvalidRequest, ServerUnreachable

    if isinstance(error, InvalidRequest):
        return cli.EXIT_USAGE
    if isinstance(error, ServerUnreachable):
        return cli.EXIT_NOT_REACHABLE
    return cli.EXIT_BAD


if __name__ == "__main__":
    sys.exit(main())

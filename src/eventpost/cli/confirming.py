"""Asking before something is gone for good: on a terminal only, and not with `--yes`."""

import argparse
import sys
from collections.abc import Callable

from eventpost.cli import output
from eventpost.cli.parser import Parser


def yes() -> Parser:
    """The option `--yes`, for commands that ask."""
    parser = Parser(add_help=False)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return parser


def is_confirmed(arguments: argparse.Namespace, verb: str, losses: Callable[[], str]) -> bool:
    """Whether to go on: `--yes` was given, a person said so, or there is nobody to be asked.

    `losses` says in a sentence what will be gone; it is called before somebody is asked.
    """
    if arguments.yes or not output.is_terminal(sys.stdin):
        return True
    output.note(losses())
    return is_answered(verb)


def is_answered(verb: str) -> bool:
    """Ask on standard error, so that standard output stays a program's. No answer is a no."""
    sys.stderr.write(f"{verb}? [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        output.note("")  # Ctrl-D leaves the cursor behind the question
    return answer.strip().lower() in ("y", "yes")

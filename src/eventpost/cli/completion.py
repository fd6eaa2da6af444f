"""`eventpost completion SHELL`: a script that completes commands and options."""

import argparse

from eventpost.cli import output
from eventpost.cli.parser import EXIT_DONE, Commands, command

SHELLS = ("bash", "zsh", "tcsh")


def add(group: Commands) -> None:
    parser = command(
        group,
        "completion",
        completion,
        summary="print a completion script for a shell",
        epilog='bash: eval "$(eventpost completion bash)" in ~/.bashrc',
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def completion(arguments: argparse.Namespace) -> int:
    import shtab

    from eventpost.cli.main import build_parser

    output.line(shtab.complete(build_parser(), shell=arguments.shell))
    return EXIT_DONE

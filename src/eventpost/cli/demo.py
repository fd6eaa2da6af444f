"""`eventpost demo`: the radio station."""

import argparse

from eventpost.cli.parser import Commands, command


def add(group: Commands) -> None:
    parser = command(group, "demo", demo, summary="a tour: a radio station, told as it happens")
    parser.add_argument("--once", action="store_true", help="end by itself")


def demo(arguments: argparse.Namespace) -> int:
    raise NotImplementedError

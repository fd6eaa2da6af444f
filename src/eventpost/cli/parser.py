"""The parser that every command is built from: full option names, errors that suggest."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from eventpost.cli import shaping

Run = Callable[[argparse.Namespace], int]

EXIT_DONE = 0
EXIT_BAD = 1
"""The thing asked about is bad, or what was asked for was refused by the server."""
EXIT_USAGE = 2
EXIT_NOT_REACHABLE = 3
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""What a shell reports of a program that a closed pipe ended: 128 + SIGPIPE."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviated options, and with `CODE what` / `fix:` errors."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", HelpFormatter)
        super().__init__(*args, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument name: not allowed with") and (unknown := self._unknown()):
            # Its value was taken for the name in its place.
            message = f"unrecognized arguments: {unknown}"
        if message.startswith("one of the arguments name "):
            message = "the following arguments are required: name"
        lines = [f"UsageError {message[:1].upper()}{message[1:]}."]
        word, known = self._misspelt(message)
        if near := get_close_matches(word, known, n=1, cutoff=0.5):
            lines.append(f"  fix: did you mean `{near[0]}`?")
        else:
            lines.append(f"  fix: see `{self.prog} --help`.")
        print("\n".join(lines), file=sys.stderr)
        sys.exit(EXIT_USAGE)

    def _unknown(self) -> str:
        """The first option that was given and is none; "" where all are known."""
        known = {option for action in self._actions for option in action.option_strings}
        options = (word.partition("=")[0] for word in self._given if word.startswith("--"))
        return next((option for option in options if option != "--" and option not in known), "")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        what = "command" if isinstance(action, argparse._SubParsersAction) else "value"
        known = ", ".join(map(str, action.choices))
        raise argparse.ArgumentError(
            None if what == "command" else action,
            f"unknown {what} `{value}` (known: {known})",
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            # The command's own parser knows the options to suggest from.
            parser = getattr(parsed, "parser", self)
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed

    def _misspelt(self, message: str) -> tuple[str, Iterable[str]]:
        """The word that was not understood and what was possible in its place."""
        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            return word, [option for action in self._actions for option in action.option_strings]
        if "unknown " in message and "(known: " in message:
            word = message.partition("`")[2].partition("`")[0]
            return word, message.partition("(known: ")[2].rstrip(")").split(", ")
        return "", []


class HelpFormatter(argparse.HelpFormatter):
    """Room for long options; the same width everywhere, so that the documentation is stable."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=100)


if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[Parser]
else:
    Commands = argparse._SubParsersAction


def nouns(parser: Parser, *, title: str = "commands", dest: str = "noun") -> Commands:
    """The group of sub-commands of `parser`; one must be given."""
    group = parser.add_subparsers(title=title, dest=dest, metavar="COMMAND", parser_class=Parser)
    group.required = True
    return group


def command(
    group: Commands,
    name: str,
    run: Run,
    *,
    summary: str,
    parents: Iterable[Parser] = (),
    epilog: str | None = None,
) -> Parser:
    """Add one command. `run` gets the parsed arguments and returns the exit code."""
    parser: Parser = group.add_parser(
        name, help=summary, description=_sentence(summary), parents=list(parents), epilog=epilog
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def noun(group: Commands, name: str, *, summary: str, aliases: Sequence[str] = ()) -> Commands:
    """Add a noun and return the group that its verbs go into."""
    parser: Parser = group.add_parser(
        name, help=summary, description=_sentence(summary), aliases=aliases
    )
    return nouns(parser, dest=f"{name}_verb")


def as_json() -> Parser:
    """`--json`, `--output` and `--query`, for everything that prints data."""
    parser = Parser(add_help=False)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument(
        "--output",
        "-o",
        dest="output_form",
        choices=shaping.FORMS,
        type=str.lower,
        help="print data in this form, as the Azure CLI does",
    )
    parser.add_argument(
        "--query", metavar="JMESPATH", help="print this part of the data (https://jmespath.org)"
    )
    return parser


class _Ignored(argparse.Action):
    """Takes an option of the Azure CLI that has no meaning here; it is told, and nothing else."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words = [*(getattr(namespace, self.dest, None) or []), f"{option_string} {values}"]
        setattr(namespace, self.dest, words)


class _IgnoredFlag(_Ignored):
    """The same without a value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words = [*(getattr(namespace, self.dest, None) or []), str(option_string)]
        setattr(namespace, self.dest, words)


class _Refused(argparse.Action):
    """An option of the Azure CLI that would have to mean something here and cannot; says why."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if (option_string, values) == (_OPEN, ["enabled"]):
            words = [*(getattr(namespace, "ignored", None) or []), f"{_OPEN} enabled"]
            namespace.ignored = words  # it holds anyway
            return
        parser.error(f"{option_string} is not supported: {_REFUSED[str(option_string)]}")


_OPEN = "--public-network-access"
_NO_IDENTITY = "there are no managed identities here, and a connection says who we are"
_NO_PLACE = "a topic is where this server is"
_NO_SECRETS = "a secret is never shown"
_NO_RULES = "who may connect is said by the address that is listened on and by a firewall"
_REFUSED = {
    "--identity": _NO_IDENTITY,
    "--delivery-identity": _NO_IDENTITY,
    "--delivery-identity-endpoint": _NO_IDENTITY,
    "--delivery-identity-endpoint-type": _NO_IDENTITY,
    "--deadletter-identity": _NO_IDENTITY,
    "--deadletter-identity-endpoint": _NO_IDENTITY,
    "--user-assigned": _NO_IDENTITY,
    "--inbound-ip-rules": _NO_RULES,
    _OPEN: _NO_RULES,
    "--minimum-tls-version-allowed": "TLS is the listener's: 1.2 or later",
    "--disable-local-auth": "the keys of a topic always open it",
    "--tags": "tags are not kept; event subscriptions have --labels",
    "--sku": "how much a topic may do is not bought here",
    "--kind": _NO_PLACE,
    "--extended-location-name": _NO_PLACE,
    "--extended-location-type": _NO_PLACE,
    "--data-residency-boundary": _NO_PLACE,
    "--event-type-info": "event types are not declared here: a topic takes them all",
    "--odata-query": "choose with --query, such as \"[?contains(name, 'songs')]\"",
    "--topic-type-name": "choose with --topic-name, or with --source-resource-id",
    "--ids": "give its name, with --name",
    "--include-static-delivery-attribute-secret": _NO_SECRETS,
    "--include-attrib-secret": _NO_SECRETS,
}
"""Options of `az eventgrid`, and why they cannot be."""


def azure() -> Parser:
    """Options that `az eventgrid` has and that have no meaning here, for commands of its names."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("taken from `az eventgrid` and ignored")
    for names in (("--resource-group", "-g"), ("--location", "-l"), ("--subscription",)):
        group.add_argument(
            *names, action=_Ignored, dest="ignored", metavar="NAME", help="ignored, with a note"
        )
    group.add_argument(
        "--no-wait",
        action=_IgnoredFlag,
        nargs=0,
        dest="ignored",
        help="ignored, with a note: it is done when the command ends",
    )
    for name in _REFUSED:
        group.add_argument(
            name, action=_Refused, nargs="*", dest=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    return parser


def named(parser: Parser, summary: str) -> None:
    """The name of the thing: in its place, or as `--name` as `az` has it."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("name", nargs="?", default=argparse.SUPPRESS, help=summary)
    group.add_argument("--name", "-n", dest="name", metavar="NAME", help="the same, as an option")


def connection(*, has_data_option: bool = True) -> Parser:
    """How a server is reached, for every command that talks to one.

    Where `--data` means the event's data, the directory has its long name only.
    """
    parser = Parser(add_help=False)
    group = parser.add_argument_group("server")
    group.add_argument(
        "--url", help="the server's URL (default: EVENTPOST_URL, else the local server's)"
    )
    group.add_argument(
        "--token",
        help="the admin token (default: EVENTPOST_TOKEN, else from the data directory)",
    )
    names = ("--data", "--data-dir") if has_data_option else ("--data-dir",)
    group.add_argument(
        *names,
        dest="data_dir",
        metavar="DIR",
        help="data directory of a local server (default: EVENTPOST_DATA or ./eventpost-data)",
    )
    return parser


def _sentence(summary: str) -> str:
    return f"{summary[:1].upper()}{summary[1:]}."

"""`eventpost explain`: what a finding means, and which finding a pasted error is."""

import argparse
import sys
from typing import IO, TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.parser import EXIT_DONE, Commands, as_json, command

if TYPE_CHECKING:
    from eventpost.diagnosis.catalogue import Finding
    from eventpost.diagnosis.classify import Explanation
    from eventpost.diagnosis.recognising import Recognised


BYTES_MAX = 64 * 1024 * 1024
"""Of what is pasted; of more the beginning is read."""
HEAD_BYTES, TAIL_BYTES = 65_536, 131_072
"""What is kept of it: a log begins with who speaks and ends with what went wrong."""


def add(group: Commands) -> None:
    parser = command(
        group,
        "explain",
        explain,
        summary="explain a finding by its code, such as EP2103, or any error that is pasted",
        parents=[as_json()],
        epilog="What is pasted is never printed again: secrets in it stay where they are.",
    )
    parser.add_argument("code", nargs="?", metavar="CODE", help="the finding's code")
    parser.add_argument(
        "--error", metavar="TEXT", help="the text of an error or a log; - reads standard input"
    )
    parser.add_argument("--file", metavar="FILE", help="a file with it, such as a log")


def explain(arguments: argparse.Namespace) -> int:
    """Raises NotFound, with the nearest codes, for one that the catalogue does not have."""
    given = [each for each in (arguments.code, arguments.error, arguments.file) if each is not None]
    if len(given) != 1:
        arguments.parser.error("give one of CODE, --error TEXT and --file FILE")
    if arguments.code is None:
        return _explain_text(_pasted(arguments), arguments)

    from eventpost.diagnosis import catalogue

    finding = catalogue.get(arguments.code)
    if arguments.json:
        output.json({"findings": [_as_json(finding)]})
    else:
        _print(finding)
    return EXIT_DONE


# --- pasted errors --------------------------------------------------------------------------------


def _pasted(arguments: argparse.Namespace) -> str:
    if arguments.file is not None:
        return _of_file(arguments.file)
    if arguments.error != "-":
        return str(arguments.error)
    return _of_stream(sys.stdin.buffer)


def _of_file(path: str) -> str:
    from eventpost.core.errors import InvalidRequest

    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs more than the whole answer
            return _of_stream(file)
    except OSError as error:
        raise InvalidRequest(
            "FileNotReadable",
            f"{path} cannot be read: {error.strerror}.",
            fix="Give the path of a readable file.",
        ) from error


def _of_stream(stream: "IO[bytes]") -> str:
    """Its beginning and its end, read piece by piece."""
    head, tail, count = b"", b"", 0
    while count < BYTES_MAX:
        piece = stream.read(65_536)
        if not piece:
            break
        count += len(piece)
        if len(head) < HEAD_BYTES:
            kept = HEAD_BYTES - len(head)
            head, piece = head + piece[:kept], piece[kept:]
        tail = (tail + piece)[-TAIL_BYTES:]
    return (head + tail).decode("utf-8", "replace")


def _explain_text(text: str, arguments: argparse.Namespace) -> int:
    from eventpost.diagnosis.recognising import recognise

    found = recognise(text)
    if arguments.json:
        output.json({"findings": [_recognised(each) for each in found]})
    elif not found:
        output.line("This is nothing known.")
        output.wrapped(
            "Paste more of it: the lines before the last one often name the cause. "
            "`eventpost doctor` finds out what is broken without an error."
        )
    else:
        _print_recognised(found)
    return EXIT_DONE


def _told(each: "Recognised") -> "Explanation":
    from eventpost.diagnosis.classify import describe

    return describe(each.code, each.seen)


def _recognised(each: "Recognised") -> dict[str, object]:
    told = _told(each)
    return {
        "code": told.code,
        "title": told.title,
        "cause": told.cause,
        "check": told.check,
        "fix": told.fix,
        "confidence": each.confidence,
        "says": each.says,
    }


def _print_recognised(found: "list[Recognised]") -> None:
    best, told = found[0], _told(found[0])
    by = f", by what {best.says} says" if best.says else ""
    output.line(f"{told.code} {told.title}")
    output.line(f"  sure to {best.confidence:.0%}{by}")
    for name, text in (("cause", told.cause), ("check", told.check), ("fix", told.fix)):
        output.wrapped(f"{name}: {text}", indent="  ")
    if len(found) > 1:
        output.line("It may also be:")
        for each in found[1:]:
            output.line(f"  {each.code} {_told(each).title} ({each.confidence:.0%})")
    output.line(f"More: eventpost explain {told.code}")


def _as_json(finding: "Finding") -> dict[str, object]:
    return {
        "code": finding.code,
        "title": finding.title,
        "cause": finding.cause,
        "causes": list(finding.causes),
        "check": finding.check,
        "fix": finding.fix,
        "event": finding.event,
        "heals": finding.heals,
        "confidence": 1.0,
    }


def _print(finding: "Finding") -> None:
    output.line(f"{finding.code} {finding.title}")
    sections = {
        "What you see": finding.symptoms,
        "Causes": "\n".join(f"{index}. {cause}" for index, cause in enumerate(finding.causes, 1)),
        "Check": finding.check,
        "Fix": finding.fix,
        "What happens to the event": finding.event,
        "Does it heal by itself": finding.heals,
    }
    for heading, text in sections.items():
        output.line(f"\n{heading}")
        for paragraph in text.splitlines():
            output.wrapped(paragraph, indent="  ")

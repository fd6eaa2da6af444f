"""`eventpost explain CODE`: what a finding means, how to check it, how to mend it."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.parser import EXIT_DONE, Commands, as_json, command

if TYPE_CHECKING:
    from eventpost.diagnosis.catalogue import Finding


def add(group: Commands) -> None:
    parser = command(
        group,
        "explain",
        explain,
        summary="explain a finding by its code, such as EP2103",
        parents=[as_json()],
    )
    parser.add_argument("code", metavar="CODE", help="the finding's code")


def explain(arguments: argparse.Namespace) -> int:
    """Raises NotFound, with the nearest codes, for one that the catalogue does not have."""
    from eventpost.diagnosis import catalogue

    finding = catalogue.get(arguments.code)
    if arguments.json:
        output.json({"findings": [_as_json(finding)]})
    else:
        _print(finding)
    return EXIT_DONE


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

"""The documentation cannot fall behind the program."""

import contextlib
import io
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from eventpost.cli.main import build_parser
from eventpost.cli.parser import Parser
from eventpost.config.inventory import settings
from eventpost.diagnosis import catalogue
from eventpost.grid.settling import Action
from eventpost.server.api import operations
from eventpost.telemetry.inventory import METRICS
from tests.documentation import (
    ROOT,
    anchors,
    blocks,
    headings,
    links,
    named_commands,
    pages,
    prose,
    typed_commands,
)

DOCS = ROOT / "docs"
PUBLISH_ROUTES = ("POST /topics/{topic}/api/events", "OPTIONS /topics/{topic}/api/events")
PULLED = "POST /topics/{topic}/eventsubscriptions/{name}"
PULL_ROUTES = (
    "POST /topics/{topic}:publish",
    f"{PULLED}:receive",
    *(f"{PULLED}:{action.value}" for action in Action),
)
PROBE_ROUTES = ("/healthz", "/readyz", "/metrics", "/validate/{token}", "/admin/openapi.json")


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("script", ["write-reference", "write-inventories"])
def test_generated_pages_are_current(script: str) -> None:
    """What the pages list is what the program has: `make docs` would change nothing."""
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )

    assert checked.returncode == 0, checked.stderr


def test_every_setting_has_a_heading() -> None:
    """A setting that exists can be looked up, and says what it is for."""
    assert set(settings()) <= set(headings(DOCS / "configuration.md"))
    assert all(setting.description for setting in settings().values())


def test_every_metric_has_a_heading() -> None:
    """A metric that is exposed can be looked up."""
    assert {metric.name for metric in METRICS} <= set(headings(DOCS / "metrics.md"))


def test_every_log_event_is_told() -> None:
    """An event that is logged can be looked up, and what can be looked up is logged."""
    named = re.compile(r"""\b_?log\(\s*"([^"]+)"|"(log\.[a-z]+|library\.[a-z]+)\"""")
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    logged = {one or other for text in sources for one, other in named.findall(text)}

    rows = re.findall(r"^\| `([a-z_.]+)` \|", (DOCS / "logs.md").read_text(), flags=re.MULTILINE)
    assert set(rows) == logged
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", event) for event in logged)


def test_every_finding_has_a_heading_and_a_link() -> None:
    """A code that a user meets can be looked up."""
    index = DOCS / "findings/index.md"
    findings = [catalogue.get(code) for code in catalogue.all_codes()]

    assert {f"{finding.code}: {finding.title}" for finding in findings} <= set(headings(index))
    linked = {Path(link).stem for link in links(index)}
    assert {f"{finding.code}-{finding.slug}" for finding in findings} <= linked


def test_every_route_has_a_heading() -> None:
    """A route that answers can be looked up."""
    told = set(headings(DOCS / "http.md"))

    managed = {f"{each.method} {each.path.replace(':path', '')}" for each in operations()}
    assert (
        managed | {*PUBLISH_ROUTES, *PULL_ROUTES} | {f"GET {path}" for path in PROBE_ROUTES} <= told
    )


def test_every_dependency_has_its_line() -> None:
    """Each library that is installed says what it is for, what it costs, what else was there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {dependency.split(">")[0].split(";")[0] for dependency in project["dependencies"]}
    page = DOCS / "decisions/0004-dependencies.md"

    assert names <= set(headings(page))
    assert page.read_text().count("Looked at:") >= len(names)


def test_links_lead_somewhere() -> None:
    """A link to a file or to a heading finds it."""
    broken = [
        f"{by_path(page)}: {link}"
        for page in pages()
        for link in links(page)
        if not link.startswith(("https://", "http://", "mailto:")) and not leads(page, link)
    ]

    assert broken == []


def leads(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.exists() and (not anchor or anchor in anchors(target))


def test_every_page_can_be_reached() -> None:
    """Every page is linked from another one, so that nobody has to know of it."""
    reached = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in pages()
        for link in links(page)
        if link.partition("#")[0]
    }

    assert set(DOCS.rglob("*.md")) - reached - {DOCS / "index.md"} == set()


def test_commands_to_paste_are_understood() -> None:
    """Every `eventpost ...` that a reader may paste exists, with these options."""
    refused = [
        f"{by_path(page)}: eventpost {' '.join(arguments)}: {told}"
        for page in pages()
        for arguments in typed_commands(page)
        if (told := complaint(arguments)) is not None
    ]

    assert refused == []


def test_commands_in_the_text_exist() -> None:
    """Every `eventpost ...` that a sentence names exists, though it may leave out what follows."""
    refused = [
        f"{by_path(page)}: eventpost {' '.join(arguments)}: {told}"
        for page in pages()
        for arguments in named_commands(page)
        if arguments[0] not in {"NOUN", "COMMAND"}
        if (told := complaint(arguments)) is not None and "arguments are required" not in told
    ]

    assert refused == []


@cache
def parser() -> Parser:
    return build_parser()


def complaint(arguments: list[str]) -> str | None:
    """What the command line has against these arguments; None when it takes them."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            parser().parse_args(arguments)
        except SystemExit as end:
            return told.getvalue() if end.code else None
    return None


def test_make_targets_exist() -> None:
    """Every `make ...` that a reader may paste is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    missing = [
        f"{block}: {command}"
        for page in pages()
        for block in blocks(page)
        for command in block.commands
        if command.startswith("make ") and f"\n{command.split()[1]}:" not in makefile
    ]

    assert missing == []


def test_the_readme_begins_with_commands() -> None:
    """The first thing to paste comes early, in a block that a test can run."""
    typed = [command for block in blocks(ROOT / "README.md") for command in block.commands]

    assert typed
    assert "make demo" in typed


def test_the_glossary_is_in_order() -> None:
    """A word stands once in the glossary and is explained by at least one sentence."""
    text = prose(DOCS / "glossary.md")
    entries = text.partition("## Words that are not used")[0].split("\n### ")[1:]
    terms = [entry.partition("\n")[0] for entry in entries]

    assert len(set(terms)) == len(terms)
    for entry in entries:
        explained = entry.partition("\n")[2].split("\n## ")[0].strip()
        assert explained.endswith("."), entry


def test_decisions_have_their_four_parts() -> None:
    """Every decision says why it was taken and when it should be looked at again."""
    parts = ["Context", "Decision", "Consequences", "When to look again"]
    for page in (DOCS / "decisions").glob("[0-9]*.md"):
        text = page.read_text()
        found = [part for part in parts if f"\n## {part}\n" in text]
        assert found == parts, page.name

"""Reads the project's pages: their headings, links and command blocks."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "src/eventpost/diagnosis/findings"
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_SEPARATOR = re.compile(r"\s(?:\\?\|\|?|&&|&|>|#)(?:\s|$)")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    path: Path
    line: int
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What a reader would type: lines after `$ ` in a console, all lines in sh or bash, those
        that end in a backslash joined with the next ones."""
        joined = self.text.replace("\\\n", "")
        if self.language == "console":
            lines = [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
        elif self.language in {"sh", "bash"}:
            lines = joined.splitlines()
        else:
            lines = []
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that users read, the findings' texts included."""
    top = [path for path in (ROOT / "README.md", ROOT / "ARCHITECTURE.md") if path.exists()]
    return top + sorted((ROOT / "docs").rglob("*.md")) + sorted(FINDINGS.glob("*.md"))


def prose(path: Path) -> str:
    """The page without its fenced blocks."""
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def headings(path: Path) -> list[str]:
    """The texts of all headings, links and code marks taken off."""
    found = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "") for text in found]


def anchors(path: Path) -> set[str]:
    """What a link may point to inside the page."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in headings(path)
    }


def links(path: Path) -> list[str]:
    """Targets of the page's links and pictures."""
    return [link or picture for link, picture in _LINK.findall(prose(path))]


def blocks(path: Path) -> list[Block]:
    """The page's fenced blocks, so that a test can run what a reader would paste."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(path, text.count("\n", 0, match.start()) + 1, match[2], match[3])
        for match in _BLOCK.finditer(text)
    ]


def typed_commands(path: Path) -> list[list[str]]:
    """The arguments of every `eventpost ...` in the page's blocks: what a reader may paste."""
    commands = [command for block in blocks(path) for command in block.commands]
    parts = [part for command in commands for part in _SEPARATOR.split(command)]
    return _arguments(parts)


def named_commands(path: Path) -> list[list[str]]:
    """The arguments of every `eventpost ...` between backticks: some name a command only."""
    named: list[str] = re.findall(r"`(eventpost [^`\n]+)`", prose(path))
    return _arguments([_SEPARATOR.split(text)[0] for text in named])


def _arguments(commands: list[str]) -> list[list[str]]:
    found = [command.strip() for command in commands]
    return [shlex.split(text)[1:] for text in found if text.startswith("eventpost ")]

"""How the story is told: with colour on a terminal, in plain lines otherwise."""

import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING

from eventpost.cli import output

if TYPE_CHECKING:
    from rich.console import Console

BREATH_S = 0.8
INDENT = len("   listener   ")
FOLDED_CHARS_MIN = 40

STYLES = {
    "chapter": "bold cyan",
    "command": "bold",
    "good": "green",
    "bad": "red",
    "wait": "yellow",
    "aside": "dim",
    "": "",
}


class Screen:
    """Lines, told one at a time from whatever thread sees something happen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._console: Console | None = None
        self.part = 0
        if output.is_terminal():
            from rich import console

            self._console = console.Console(highlight=False)

    def chapter(self, title: str) -> None:
        """The next part of the story, after a breath for those who watch."""
        if self._console is not None and self.part:
            time.sleep(BREATH_S)
        self.part += 1
        self.say("")
        self.say(f"{self.part}. {title}", style="chapter")

    def command(self, text: str) -> None:
        """What a person would type to do the same."""
        self.say(f"   $ {text}", style="command")

    def happened(self, who: str, what: str, *, style: str = "") -> None:
        """Something that just happened, seen from its place."""
        self.say(self._folded(f"   {who:<9}  {what}"), style=style)

    def say(self, text: str, *, style: str = "") -> None:
        with self._lock:
            if self._console is None:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            else:
                # Lines stay whole, so that a command can be copied however narrow the terminal is.
                self._console.print(text, style=STYLES[style], markup=False, soft_wrap=True)

    def _folded(self, text: str) -> str:
        """Broken below its own beginning on a terminal, left alone where nobody watches."""
        if self._console is None:
            return text
        width = max(self._console.width, FOLDED_CHARS_MIN)
        return textwrap.fill(text, width, subsequent_indent=" " * INDENT, break_on_hyphens=False)

    def table(self, columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
        with self._lock:
            output.table(columns, rows, empty="")
            output.flush()

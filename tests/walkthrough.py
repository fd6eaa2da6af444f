"""Follows a page as its reader would: saves its files, types its commands, reads their output.

A file is a block whose first line is a comment with its name. In what a command prints, times, ids
and ports may differ; `...` stands for anything, on a line of its own for any lines.
"""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.documentation import Block, blocks
from tests.patience import PATIENCE_S

MARK = "=== done, with"
LOOKS_ONLY = re.compile(
    r"(eventpost \w+ (show|list|trace|test)|eventpost serve|cat|tail|find|curl -s) "
)
"""What may be typed again until it shows what the page says: deliveries take their moment."""
LANGUAGES = ("sh", "console", "python", "yaml")
STAYS = ("eventpost serve", "python3 handler.py")
"""What has a terminal of its own: run in the background, until it listens."""
PORTS = ("7790", "8080", "8081")
"""Those that the pages use; each stands for a free one."""
HOME = "/home/you"
"""Where the pages are read."""

_VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z?"), "TIME"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b\d{19}\b"), "ID"),
    (re.compile(r"[A-Za-z0-9+/]{43}="), "KEY"),
    (re.compile(r"\b\d+ ms\b"), "N ms"),
    (re.compile(r"\b\d+(\.\d+)? (KB|B)\b"), "SIZE"),
    (re.compile(r"/\d{4}/\d+/\d+/\d+/"), "/DATE/"),
    (re.compile(r" {2,}|\t"), "  "),
    (re.compile(r"-{3,}"), "---"),
)


@dataclass(frozen=True)
class Step:
    """A command, and the lines that the page shows below it."""

    command: str
    shown: list[str]


class Shell:
    """One bash that a page's commands are typed into, one after the other."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=dict(environment),
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[list[str], int]:
        """What it printed, and how it ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{{ {command}\n}} </dev/null\necho; echo '{MARK}' $? $PWD\n")
        stdin.flush()
        lines: list[str] = []
        for line in stdout:
            if line.startswith(MARK):
                status, directory = line.removeprefix(MARK).split()
                self.directory = Path(directory)
                while lines and not lines[-1]:
                    lines.pop()
                return lines, int(status)
            lines.append(line.rstrip())
        raise AssertionError(f"the shell ended at {command!r}: {lines}")

    def close(self) -> None:
        """End it with all that it started."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.communicate()


@contextmanager
def reader(home: Path, folder: Path, environment: Mapping[str, str]) -> Iterator["Reader"]:
    """Somebody at a terminal in `folder`."""
    ports = {port: str(free_port()) for port in PORTS}
    listen = {"EVENTPOST_SERVER_LISTEN": f"127.0.0.1:{ports['7790']}"}
    shell = Shell(folder, {**environment, **listen, "HOME": str(home)})
    try:
        yield Reader(shell, home, ports)
    finally:
        shell.close()


class Reader:
    """Types what pages say."""

    def __init__(self, shell: Shell, home: Path, ports: Mapping[str, str]) -> None:
        self.shell = shell
        self.home = home
        self.ports = ports

    def follow(self, page: Path, *, languages: Collection[str] = LANGUAGES) -> None:
        """Do all that the page says, from its beginning to its end."""
        for block in blocks(page):
            if block.language not in languages:
                continue
            self.save(block)
            for step in steps(block):
                self.type(step, str(block))

    def save(self, block: Block) -> None:
        """Save the file that the block is, if it is one."""
        name = re.match(r"# ([\w.]+\.(?:py|yaml))\n", block.text)
        if name is not None:
            path = self.shell.directory / name[1]
            path.write_text(self.here(block.text), encoding="utf-8")

    def type(self, step: Step, place: str) -> None:
        """Type a command until it shows what the page says; fail when it does not in time."""
        command = self.here(step.command)
        if command.startswith(STAYS) and not command.endswith("&"):
            command = self.stay(command)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            lines, status = self.shell.run(command)
            told = f"{place}: $ {command}\n" + "\n".join(lines)
            has_failed = status != 0 and not any(line.startswith("  fix: ") for line in step.shown)
            is_as_shown = not has_failed and self.is_as_shown(step.shown, lines)
            if is_as_shown or not LOOKS_ONLY.match(f"{command} "):
                break
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.1)
        assert not has_failed, f"{told}\nended with {status}"
        assert is_as_shown, f"{told}\nis not what the page shows:\n" + "\n".join(step.shown)

    def stay(self, command: str) -> str:
        """Start it in the background; returns the command that shows what it has printed."""
        log = f"{command.split()[1].removesuffix('.py')}.log"
        self.shell.run(f"{command} > {log} 2>&1 &")
        port = self.ports["7790" if command.startswith("eventpost") else "8080"]
        deadline_s = time.monotonic() + PATIENCE_S
        while not is_listening(port):
            assert time.monotonic() < deadline_s, self.shell.run(f"cat {log}")
            time.sleep(0.05)
        return f"cat {log}"

    def here(self, text: str) -> str:
        """The page's text with the ports of this reading."""
        for ours, free in self.ports.items():
            text = text.replace(f"127.0.0.1:{ours}", f"127.0.0.1:{free}")
            text = text.replace(f'"127.0.0.1", {ours}', f'"127.0.0.1", {free}')
        return text

    def is_as_shown(self, shown: list[str], lines: list[str]) -> bool:
        """Whether this was printed, but for what differs each time. Nothing shown: anything."""
        if not shown:
            return True
        text = "\n".join(lines).replace(str(self.home), HOME) + "\n"
        for ours, free in self.ports.items():
            text = text.replace(f":{free}", f":{ours}")
        text = "".join(steady(line) + "\n" for line in text.splitlines())
        return re.fullmatch(pattern_of(shown), text) is not None


def pattern_of(shown: list[str]) -> str:
    """What a page shows, as a regular expression over steady lines."""
    anything = re.escape("...")
    lines = [re.escape(steady(line)).replace(anything, ".*") + r"\n" for line in shown]
    return "".join(r"(?:.*\n)*?" if line == r".*\n" else line for line in lines)


def steady(line: str) -> str:
    """The line without what differs each time."""
    for pattern, instead in _VOLATILE:
        line = pattern.sub(instead, line)
    return line.rstrip()


def steps(block: Block) -> Iterator[Step]:
    """The commands of a block, each with what is shown below it."""
    if block.language != "console":
        yield from (Step(command, []) for command in block.commands)
        return
    command, shown = "", list[str]()
    for line in block.text.replace("\\\n", "").splitlines():
        if not line.startswith("$ "):
            shown.append(line)
            continue
        if command:
            yield Step(command, shown)
        command, shown = line[2:], []
    if command:
        yield Step(command, shown)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: str) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", int(port))) == 0

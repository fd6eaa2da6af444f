"""The program as a user runs it, against the real server in a process of its own."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from eventpost.cli.main import main
from eventpost.config import local

WAITING_S_MAX = 120.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Program:
    """Runs `eventpost` in a directory of its own, with nothing of the user's environment."""

    directory: Path
    environment: dict[str, str]

    def run(self, *words: str, stdin: bytes = b"") -> Done:
        """In this process: what the shell sees, without the second that starting Python costs."""
        out, err = io.StringIO(), io.StringIO()
        given = io.TextIOWrapper(io.BytesIO(stdin))
        with (
            redirect_stdout(out),
            redirect_stderr(err),
            chdir(self.directory),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "stdin", given),
        ):
            try:
                code = main(words)
            except SystemExit as end:
                code = int(end.code or 0)
        return Done(code, out.getvalue(), err.getvalue())

    def run_alone(self, *words: str, stdin: bytes = b"") -> Done:
        """In a process of its own, every warning an error."""
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            env=self.environment,
            cwd=self.directory,
            timeout=WAITING_S_MAX,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *words: str, stdin: bytes = b"") -> Done:
        done = self.run(*words, stdin=stdin)
        assert done.code == 0, done
        return done

    def start(self, *words: str, stdin: int | None = None) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.command(*words),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.directory,
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "eventpost", *words]


def program(directory: Path, **environment: str) -> Program:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return Program(directory, kept | environment)


@contextmanager
def server(directory: Path, *options: str, **environment: str) -> Iterator[Program]:
    """A server in `directory` on a free port; commands of the program find it by its data."""
    runs = program(directory, **environment)
    process = runs.start("serve", "--listen", "127.0.0.1:0", *options)
    try:
        data = directory / "eventpost-data"
        until(lambda: process.poll() is not None or local.read_address(data) is not None)
        assert process.poll() is None, process.communicate()
        yield runs
    finally:
        out, err = ended(process)
    assert process.returncode == 0, (process.returncode, out, err)


def ended(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Ask it to end, wait, and kill it when it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=WAITING_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    deadline_s = time.monotonic() + WAITING_S_MAX
    while not condition():
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.01)

"""How the program ends: exit codes, Ctrl-C, a closed pipe, errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from eventpost.cli import main as entry
from eventpost.core.errors import (
    Conflict,
    EventpostError,
    HandshakeFailed,
    InvalidEvent,
    InvalidRequest,
    NotFound,
    ServerUnreachable,
    StoreError,
    Unauthorized,
)
from tests.cli.running import program


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("C", "w"), 2),
        (InvalidEvent(400, "C", "D", "w"), 2),
        (ServerUnreachable("C", "w"), 3),
        (NotFound("C", "w"), 1),
        (Conflict("C", "w"), 1),
        (Unauthorized("C", "w"), 1),
        (HandshakeFailed("C", "w"), 1),
        (StoreError("C", "w"), 1),
        (EventpostError("C", "w"), 1),
    ],
)
def test_each_error_has_its_exit_code(error: EventpostError, code: int) -> None:
    """2 for what was asked wrongly, 3 for a server that is not reachable, 1 for the rest."""
    assert entry.exit_code(error) == code


def test_an_error_tells_what_why_and_the_fix(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CODE what` and below it why and fix, all on standard error."""
    monkeypatch.setenv("EVENTPOST_SERVER_LISTEN", "nowhere")

    assert entry.main(["config"]) == 2

    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0].startswith("InvalidSetting server.listen: ")
    assert lines[1] == "  why: It was given by environment EVENTPOST_SERVER_LISTEN."
    assert lines[2].startswith("  fix: ")


def test_ctrl_c_is_130_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C anywhere in a command ends it with 130."""

    def interrupted(argv: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_run", interrupted)

    assert entry.main([]) == 130


@pytest.mark.slow
def test_a_closed_pipe_ends_the_program_quietly(tmp_path: Path) -> None:
    """`eventpost config | head -1` prints one line and no traceback."""
    runs = program(tmp_path)
    process = subprocess.Popen(
        runs.command("completion", "zsh"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=runs.environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None

    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()

    assert process.wait() == 141
    assert err == b""


@pytest.mark.slow
def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """`eventpost --help` loads neither HTTP nor store nor terminal libraries."""
    heavy = ("httpx", "starlette", "apsw", "rich", "asyncio", "yaml", "msgspec", "cryptography")
    script = (
        "import sys; from eventpost.cli.main import build_parser; build_parser().format_help();"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path
    )

    assert done.stdout.decode().strip() == "[]"


@pytest.mark.slow
def test_a_command_with_nothing_to_read_from_a_server_needs_none(tmp_path: Path) -> None:
    """`config` and `explain` work where no server runs, and write nothing."""
    runs = program(tmp_path)

    assert runs.run_alone("config", "--json").json["server.listen"]["value"] == "127.0.0.1:7790"
    assert runs.ok("explain", "ep2004", "--json").json["findings"][0]["code"] == "EP2004"
    assert list(tmp_path.iterdir()) == []

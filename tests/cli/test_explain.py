"""`eventpost explain`: codes, pasted errors, standard input, files; at once, without secrets."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import Program, program

MODULES_MAX = 220
REFUSED = "[Errno 111] Connection refused"


@pytest.fixture
def runs(tmp_path: Path) -> Program:
    return program(tmp_path)


def test_a_pasted_error(runs: Program) -> None:
    """The finding of a pasted error comes with cause, check, fix and how sure it is."""
    done = runs.run("explain", "--error", f"Connection to 10.1.2.3:5672 failed: {REFUSED}")

    assert done.code == 0
    assert done.out.startswith("EP2004 ")
    assert "10.1.2.3:5672 refused the connection" in done.out
    for word in ("sure to 95%", "cause: ", "check: ", "fix: ", "eventpost explain EP2004"):
        assert word in done.out


def test_json(runs: Program) -> None:
    """Programs get the findings, best first; an empty list when it is nothing known."""
    known = runs.run("explain", "--json", "--error", f"NoBrokersAvailable {REFUSED}")
    unknown = runs.run("explain", "--json", "--error", "hello")

    [finding] = known.json["findings"]
    assert {"code", "title", "cause", "check", "fix", "confidence"} <= set(finding)
    assert finding["code"] == "EP2004"
    assert (unknown.code, unknown.json) == (0, {"findings": []})


def test_standard_input(runs: Program) -> None:
    """`-` reads a traceback from standard input, whatever bytes are in it."""
    done = runs.run("explain", "--json", "--error", "-", stdin=b"\xff\x00\n" + REFUSED.encode())

    assert done.json["findings"][0]["code"] == "EP2004"


def test_a_log_file(runs: Program) -> None:
    """Of a long log its beginning and its end count."""
    log = runs.directory / "app.log"
    log.write_bytes(b"x" * 79 + b"\n" * 10 + (b"y" * 79 + b"\n") * 20_000 + REFUSED.encode())

    done = runs.run("explain", "--json", "--file", "app.log")
    missing = runs.run("explain", "--file", "none.log")

    assert done.json["findings"][0]["code"] == "EP2004"
    assert (missing.code, "FileNotReadable" in missing.err) == (2, True)


def test_nothing_known(runs: Program) -> None:
    """What is nothing known says so, and what to do next."""
    done = runs.run("explain", "--error", "hello")

    assert done.code == 0
    assert "nothing known" in done.out
    assert "eventpost doctor" in done.out


@pytest.mark.parametrize("words", [(), ("EP2004", "--error", "x"), ("--error", "x", "--file", "y")])
def test_one_thing_at_a_time(runs: Program, words: tuple[str, ...]) -> None:
    """Nothing to explain, or two things, is a mistake of usage."""
    assert runs.run("explain", *words).code == 2


def test_secrets_are_not_printed(runs: Program) -> None:
    """What was pasted is not printed again."""
    pasted = f"amqp://guest:hunter2@rabbit.example:5672/ AccountKey=c2VjcmV0c2VjcmV0 {REFUSED}"

    for options in ((), ("--json",)):
        done = runs.run("explain", *options, "--error", pasted)
        assert "hunter2" not in done.out + done.err
        assert "c2Vj" not in done.out + done.err


def test_an_unknown_code_suggests_the_nearest(runs: Program) -> None:
    """A code that is not in the catalogue is refused with those that may be meant."""
    done = runs.run("explain", "EP2005x")

    assert done.code == 1
    assert "EP2005" in done.err


@pytest.mark.slow
def test_it_answers_at_once(tmp_path: Path) -> None:
    """The whole command loads little: of others msgspec and what that wants, and of the standard
    library nothing that connects. How long it takes is told by the benchmark."""
    script = (
        "import sys; from eventpost.cli.main import main\n"
        f"try: main(['explain', '--error', {REFUSED!r}])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path, text=True
    )

    loaded = set(done.stderr.split())
    assert done.stdout.startswith("EP2004 ")
    others = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    ours = {"eventpost", "msgspec", "typing_extensions"}
    assert {name for name in others if not name.startswith("_")} <= ours
    assert loaded.isdisjoint({"asyncio", "socket", "ssl", "http.client", "sqlite3"})
    assert len(loaded) <= MODULES_MAX

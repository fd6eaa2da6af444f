"""The tour: it ends well only when everything in it really happened, and leaves nothing behind."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import WAITING_S_MAX, program

pytestmark = pytest.mark.slow


def test_the_tour_ends_by_itself_when_nobody_watches(tmp_path: Path) -> None:
    """Piped, the demo tells its seven parts in plain lines, ends with 0 and removes its data."""
    done = program(tmp_path, TMPDIR=str(tmp_path)).run_alone("demo")

    assert done.code == 0, done
    assert done.err == ""
    assert re.findall(r"^(\d)\. ", done.out, re.MULTILINE) == list("1234567")
    for happened in (
        "2 requests matched no subscription",
        "-> 503, attempt 2 after ",
        "-> 200, attempt 3 after ",
        "UndeliverableDueToHttpBadRequest",
        "notice: rock gave up",
        "dj@station.example gets: Undelivered: genre/rock/1 (rock, ",
        "eventpost deadletter replay ",
        "They balance.",
    ):
        assert happened in done.out
    assert "\x1b" not in done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ("story.FLAKY_FAILURES = 3", "the flaky handler saw three attempts"),
        ("story.UNWANTED.pop(); story.HAPPENS_S_MAX = 1", None),
        ("story.ROCK = story.UNWANTED[0]; story.HAPPENS_S_MAX = 1", "dead letter"),
        ("stage.STARTED_S_MAX = 0", "did not start"),
    ],
)
def test_a_step_that_does_not_happen_ends_the_tour_with_its_name(
    tmp_path: Path, change: str, step: str | None
) -> None:
    """A story that comes out otherwise is exit code 1 and names the step; one that fits is 0."""
    script = (
        "import sys; from eventpost.cli.demo import stage, story\n"
        f"{change}\nsys.exit(story.tell(is_staying=False))"
    )
    environment = program(tmp_path, TMPDIR=str(tmp_path)).environment

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=environment, check=False
    )

    out = done.stdout.decode()
    assert done.returncode == (0 if step is None else 1), out
    if step is not None:
        assert step in out.partition("Not as told")[2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_stays_until_ctrl_c(tmp_path: Path, number: signal.Signals) -> None:
    """On a terminal the station stays on the air with commands to try; Ctrl-C ends it with 0."""
    runs = program(tmp_path, TMPDIR=str(tmp_path), TERM="xterm", COLUMNS="200")
    ours, theirs = pty.openpty()
    script = (
        "import sys; from eventpost.cli.demo import screen; screen.BREATH_S = 0\n"
        "from eventpost.cli.main import main; sys.exit(main(['demo']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=runs.environment,
    )
    os.close(theirs)

    shown = b""
    while b"/metrics" not in shown:
        shown += os.read(ours, 65_536)
    assert b"curl -i http://127.0.0.1:" in shown
    assert b"aeg-sas-key: " in shown
    assert b"\x1b[" in shown
    process.send_signal(number)
    _, err = process.communicate(timeout=WAITING_S_MAX)
    os.close(ours)

    assert process.returncode == 0, err
    assert err == b""
    assert list(tmp_path.iterdir()) == []

"""One service serves all processes of a run, and ends with the last of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.program import until
from tests.documentation import ROOT
from tests.services.example import Broken, Example, Unavailable
from tests.services.presence import is_ci, require_service
from tests.services.running import DidNotStart
from tests.services.shared import shared

USER = """
import sys
from pathlib import Path
from tests.services.example import Example
from tests.services.shared import shared

with shared(Example, Path(sys.argv[1])) as service:
    print(service.ports["http"], service.answers(timeout_s=5), flush=True)
    sys.stdin.read()
"""


class User:
    """Another process that uses the service until it is told to let go."""

    def __init__(self, run: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(run)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def sees(self) -> tuple[int, bool]:
        assert self.process.stdout is not None
        port, answers = self.process.stdout.readline().decode().split()
        return int(port), answers == "True"

    def end(self) -> None:
        self.process.communicate()


@pytest.mark.slow
def test_all_users_share_one_service_that_ends_with_the_last(tmp_path: Path) -> None:
    """Processes that want a service at the same time get the same; it goes when they have gone."""
    first, second = User(tmp_path), User(tmp_path)
    seen = {first.sees(), second.sees()}
    assert len(seen) == 1
    with shared(Example, tmp_path) as service:
        assert {(service.ports["http"], True)} == seen
        first.end()
        second.process.kill()
        second.end()
        assert service.answers(timeout_s=5)

    until(lambda: not service.answers(timeout_s=5), "the service ended")
    until(lambda: not service.directory.exists(), "its data went with it")


@pytest.mark.slow
def test_a_later_user_gets_a_new_service(tmp_path: Path) -> None:
    """Whoever comes when the last one has just gone waits for the end of the old service."""
    for _ in range(3):
        with shared(Example, tmp_path) as service:
            assert service.answers(timeout_s=5)


@pytest.mark.slow
def test_everybody_is_told_why_it_did_not_start(tmp_path: Path) -> None:
    """A service that cannot start is tried once, and each user sees its log's tail."""
    for _ in range(2):
        with pytest.raises(DidNotStart, match="made of cheese"), shared(Broken, tmp_path):
            pass

    assert len([path for path in (tmp_path / "broken").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(
    ("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)]
)
def test_a_missing_service(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    """What a machine lacks is a skip that says so, and a failure where CI is set."""
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="unavailable cannot be started: it does not exist"):
        require_service(Unavailable)


def test_a_service_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be started is neither skipped nor failed."""
    monkeypatch.setenv("CI", "true")
    require_service(Example)


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("true", True), ("false", False)])
def test_what_counts_as_ci(monkeypatch: pytest.MonkeyPatch, value: str, *, expected: bool) -> None:
    """CI is set unless its value says no."""
    monkeypatch.setenv("CI", value)
    assert is_ci() is expected

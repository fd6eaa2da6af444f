"""The page that says what Event Grid does cannot claim what no test holds."""

import ast
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from tests.documentation import ROOT


def test_the_page_is_what_the_tests_promise() -> None:
    """Each row names a test that is there, and shows that test's own promise."""
    program = ROOT / "scripts/write-conformance"

    done = subprocess.run([sys.executable, program, "--check"], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


def script() -> ModuleType:
    """The script as a module."""
    loader = SourceFileLoader("write_conformance", str(ROOT / "scripts/write-conformance"))
    module = ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("mark", ["skip", "skipif(True)", "xfail"])
def test_a_test_that_is_not_held_to_its_promise_does_not_count(mark: str) -> None:
    """A row cannot rest on a test that may be skipped, or may fail."""
    module = script()

    def is_run(decorator: str) -> bool:
        [test] = ast.parse(f"{decorator}\ndef test_it() -> None: ...").body
        found: bool = module.is_run(test)
        return found

    assert not is_run(f"@pytest.mark.{mark}")
    assert is_run("@pytest.mark.slow")
    assert is_run("@pytest.mark.parametrize('a', [1])")


def test_a_test_that_did_not_run_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run, each row's test must have passed in it, with all of its parameters; one that was
    left out, failed, or was skipped where nothing may be missing, is named."""
    module = script()
    rows = {"tests/a.py::test_one", "tests/a.py::test_two", "tests/b.py::test_three"}
    monkeypatch.setattr(module, "tests", lambda: rows)
    good = [
        "passed tests/a.py::test_one",
        "passed tests/a.py::test_two[1]",
        "passed tests/a.py::test_two[2]",
        "passed tests/b.py::TestAll::test_three",
        "failed tests/c.py::test_no_row",
    ]

    def problems(*outcomes: str, is_strict: bool = True) -> list[str]:
        found: list[str] = module.not_held("\n".join(outcomes), is_strict)
        return found

    assert problems(*good) == []
    assert problems(*good[1:]) == ["tests/a.py::test_one: not run"]
    assert problems(*good, "failed tests/a.py::test_two[3]") == ["tests/a.py::test_two: failed"]
    assert problems(*good, "skipped tests/a.py::test_two[3]") == ["tests/a.py::test_two: skipped"]
    assert problems(*good, "skipped tests/a.py::test_two[3]", is_strict=False) == []


@pytest.mark.slow
def test_what_comes_of_tests_is_kept(tmp_path: Path) -> None:
    """A run of pytest writes each outcome where it is told to, with several workers, too."""
    outcomes = tmp_path / "outcomes.txt"
    test = f"{__file__}::test_a_test_that_is_not_held_to_its_promise_does_not_count"

    for workers in ("0", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider", test],
            env={**os.environ, "EVENTPOST_OUTCOMES": str(outcomes)},
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout.decode()

    name = "passed tests/test_conformance.py::" + test.rpartition("::")[2]
    lines = outcomes.read_text().splitlines()
    assert len(lines) == 6
    assert all(line.startswith(name) for line in lines)

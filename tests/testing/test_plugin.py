"""The pytest plug-in, as its users have it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documentation import ROOT, blocks

PAGES = (ROOT / "docs/testing.md", ROOT / "docs/guides/kafka-from-lambda.md")


def run_pytest(directory: Path) -> subprocess.CompletedProcess[str]:
    """pytest as in a project of its own, every warning an error."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "."],
        cwd=directory,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_pages_examples_pass(tmp_path: Path) -> None:
    """Every test that the pages show passes as it stands."""
    found = [block for page in PAGES for block in blocks(page) if block.language == "python"]
    shown = [block for block in found if "def test_" in block.text]
    for index, block in enumerate(shown):
        (tmp_path / f"test_example{index}.py").write_text(block.text)

    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    test_count = sum(block.text.count("def test_") for block in shown)
    assert f"{test_count} passed" in done.stdout


@pytest.mark.slow
def test_the_plug_in_costs_nothing_unused() -> None:
    """A test run that does not use the plug-in does not load the server."""
    code = "import eventpost.testing.plugin, sys; print('eventpost.testing.grid' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


UNBALANCED = """
def test_that_breaks_the_books(grid, receiver):
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    grid.publish("songs")
    grid.settle()

    def lose(engine):
        engine.lanes_of(1)[0].tally.matched += 1

    grid.call(lose, grid.app.grid)
"""


@pytest.mark.slow
def test_books_that_do_not_balance_fail_the_test(tmp_path: Path) -> None:
    """A delivery that is counted and is nowhere is found at the end of the test."""
    (tmp_path / "test_books.py").write_text(UNBALANCED)

    done = run_pytest(tmp_path)

    assert "handler: pending is 1, but the lane holds 0 and the ladder 0" in done.stdout
    assert "1 passed, 1 error" in done.stdout

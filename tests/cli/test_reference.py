"""The pages that are written from the program."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_reference_is_what_the_program_says() -> None:
    """docs/cli.md and docs/configuration.md name every command, option and setting as they are."""
    script = ROOT / "scripts" / "write-reference"

    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()

"""One service for a whole run of tests, whichever worker wants it first."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.documentation import ROOT
from tests.services.keeper import FAILURE, LEASE, PORTS
from tests.services.running import DidNotStart
from tests.services.service import Service

S = TypeVar("S", bound=Service)


def run_directory(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share, and no other run."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "services"


@contextmanager
def shared(kind: type[S], run: Path) -> Iterator[S]:
    """The run's service of this kind, started by whoever comes first, ended after who is last."""
    directory = run / kind.name
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LEASE).open("w") as lease:
        with (directory / "starting").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(lease, fcntl.LOCK_SH)
            if not (directory / PORTS).exists():
                _start(kind, directory)
        address = json.loads((directory / PORTS).read_text())
        yield kind(Path(address["directory"]), address["ports"])


def _start(kind: type[Service], directory: Path) -> None:
    failure = directory / FAILURE
    if not failure.exists():
        kind_path = f"{kind.__module__}:{kind.__qualname__}"
        # Its own errors belong beside the service's log, not into the tests' output.
        with (directory / "keeper.log").open("ab") as log:
            subprocess.run(
                [sys.executable, "-m", "tests.services.keeper", kind_path, str(directory)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            )
    if failure.exists():
        # Told to every test that wants the service; waiting again for each would take minutes.
        raise DidNotStart(failure.read_text())
    if not (directory / PORTS).exists():
        raise DidNotStart(f"The keeper of {kind.name} ended: see {directory / 'keeper.log'}")

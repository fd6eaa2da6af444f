"""Keeps one service for all test workers of a run: `python -m tests.services.keeper KIND FOLDER`.

It returns once the service answers, and leaves a process behind that holds it. Each worker that
uses the service holds a shared lock on the file `lease`; when the last of them has let go, however
it ended, the kernel gives the keeper the lock for itself, and it ends with its service.
"""

import fcntl
import json
import os
import pkgutil
import shutil
import sys
from pathlib import Path

from tests.services.running import DidNotStart, launched
from tests.services.service import Service

LEASE = "lease"
PORTS = "ports.json"
FAILURE = "failure"


def main(kind_path: str, directory: Path) -> int:
    """0 when the service answers; 1 when it does not, and why is in the file `failure`."""
    kind: type[Service] = pkgutil.resolve_name(kind_path)
    is_up, tell = os.pipe()
    if os.fork():
        os.close(tell)
        return 0 if os.read(is_up, 1) else 1
    os.setsid()
    os.close(is_up)
    _keep(kind, directory, tell)
    os._exit(0)


def _keep(kind: type[Service], directory: Path, tell: int) -> None:
    try:
        with launched(kind, directory) as running:
            service = running.service
            address = {"directory": str(service.directory), "ports": service.ports}
            (directory / PORTS).write_text(json.dumps(address))
            os.write(tell, b"1")
            os.close(tell)
            with (directory / LEASE).open("w") as lease:
                fcntl.flock(lease, fcntl.LOCK_EX)
                (directory / PORTS).unlink()
                running.kill()
                # What is worth keeping when a test failed.
                running.log.replace(directory / "log")
                shutil.rmtree(service.directory, ignore_errors=True)
    except DidNotStart as failure:
        (directory / FAILURE).write_text(str(failure))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))

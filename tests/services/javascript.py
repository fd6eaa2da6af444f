"""Programs in JavaScript with the official clients, as users have them."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.patience import PATIENCE_S
from tests.services.presence import require
from tests.services.service import INSTALLED, lacks_file, lacks_program

MODULES = INSTALLED / "eventgrid-js/node_modules"


def require_javascript() -> None:
    """As `require_service`, of Node and the clients."""
    require("the clients for JavaScript", lacks_program("node") or lacks_file(MODULES))


def run(program: Path, *arguments: str, authority: Path, **variables: str) -> str:
    """What a program printed. It trusts `authority`, and must end well."""
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "NODE_PATH": str(MODULES),
        "NODE_EXTRA_CA_CERTS": str(authority),
        **variables,
    }
    done = subprocess.run(
        ["node", str(program), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

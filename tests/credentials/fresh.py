"""A session in a process of its own, which prints what it found: `python -m ... SETTINGS`.

For what a library reads once, when it is imported (the home folder), and for what belongs to a
whole process (its network).
"""

import json
import subprocess
import sys
from typing import Any

import msgspec

from eventpost.credentials import aws


def told(settings: aws.AwsConnection, *command: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """What a new process finds with these settings, in this environment: its report, or the
    evidence of its failure. `command` is what runs it (a namespace, for example)."""
    arguments = [*command, sys.executable, "-m", __name__, msgspec.json.encode(settings).decode()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    session = aws.session(msgspec.json.decode(sys.argv[1].encode(), type=aws.AwsConnection))
    try:
        session.frozen()
    except Exception as error:  # noqa: BLE001  # told to the test
        evidence = aws.evidence_of(error, "send")
        assert evidence is not None
        found = {"evidence": msgspec.to_builtins(evidence)}
    else:
        found = {"report": msgspec.to_builtins(session.report())}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

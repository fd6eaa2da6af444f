"""Running out of file descriptors: seen in a process of its own that has few."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.http.server.support import Client, get

ROOT = Path(__file__).parents[3]


def report(client: Client) -> tuple[int, float, float]:
    failures, processor_s, time_s = client.send(get()).read().body.split()
    return int(failures), float(processor_s), float(time_s)


@pytest.mark.slow
def test_descriptors_run_out(loop_kind: str) -> None:
    """Without descriptors the server keeps serving whom it has, does not spin, and accepts again
    as soon as it can; connections meanwhile wait."""
    command = [sys.executable, "-m", "tests.http.server.exhausted", loop_kind, "40"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        first = Client(port)
        others = [Client(port) for _ in range(60)]

        begin = end = report(first)
        while end[0] < begin[0] + 4:
            end = report(first)
        polite = report_slowly(first, end[0] + 6)
        assert polite < 0.5, "most of the time is spent waiting"

        last = others.pop().send(get())
        for client in others:
            client.socket.close()
        assert last.read().status == 200

        last.socket.close()
        first.socket.close()
        process.stdin.close()
        assert process.wait(60) == 0


def report_slowly(client: Client, failures: int) -> float:
    """Share of the processor used until accepting has failed `failures` times, hardly asking."""
    begin = end = report(client)
    client.socket.settimeout(0.05)
    while end[0] < failures:
        with pytest.raises(TimeoutError):
            client.socket.recv(1)  # waits without asking
        end = report(client)
    return (end[1] - begin[1]) / (end[2] - begin[2])

"""A service of one's own can be broken in every way, and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.program import until
from tests.documentation import ROOT
from tests.services.example import Broken, Crowded, Example
from tests.services.fixtures import OwnServices
from tests.services.ports import PORT_MAX, PORT_MIN, accepts, free_ports
from tests.services.running import DidNotStart, Running, launched


@pytest.fixture
def own(own_service: OwnServices) -> Running[Example]:
    return own_service(Example)


def test_it_answers_once_it_is_started(own: Running[Example]) -> None:
    """Whoever has a service can use it at once, at a port that no outgoing connection takes."""
    assert own.service.answers(timeout_s=5)
    assert own.service.ports["http"] <= PORT_MAX


def test_it_comes_back_on_the_same_port(own: Running[Example]) -> None:
    """After stop, kill and restart a service is where it was, with another process."""
    pids = {own.pid}
    (own.service.directory / "kept").touch()

    for end in (own.stop, own.kill):
        end()
        assert not own.is_alive
        assert not own.service.answers(timeout_s=5)
        own.start()
        pids.add(own.pid)
        assert own.service.answers(timeout_s=5)
    own.restart()

    assert own.service.answers(timeout_s=5)
    assert len(pids) == 3
    assert (own.service.directory / "kept").exists()


def test_it_hangs_while_it_is_paused(own: Running[Example]) -> None:
    """A paused service lives and does not answer; resumed, it does, and can be paused again."""
    for _ in range(2):
        own.pause()
        assert own.is_alive
        assert not own.service.answers(timeout_s=0.1)

        own.resume()
        assert own.service.answers(timeout_s=5)


def test_a_paused_one_can_be_stopped(own: Running[Example]) -> None:
    """Nothing stays behind of a service that a test has paused."""
    own.pause()
    own.stop()

    assert not own.is_alive


def test_it_tells_that_it_was_killed_from_outside(own: Running[Example]) -> None:
    """A service that ended by itself is known to be gone, and can be started again."""
    os.kill(own.pid, signal.SIGKILL)
    os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)
    assert not own.is_alive

    own.kill()
    own.start()
    assert own.service.answers(timeout_s=5)


OWNER = """
import sys
from pathlib import Path
from tests.crash.program import until
from tests.documentation import ROOT
from tests.services.example import Example
from tests.services.running import launched

with launched(Example, Path(sys.argv[1])) as own:
    print(own.service.ports["http"], flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv asks the kernel for it")
def test_it_ends_with_the_tests(tmp_path: Path) -> None:
    """When the tests are killed, their services are not left behind."""
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        assert accepts(port)

        owner.kill()

    until(lambda: not accepts(port), "the service ended")


def test_why_it_did_not_start(tmp_path: Path) -> None:
    """The error of a service that does not come up ends with what it wrote last."""
    with (
        pytest.raises(DidNotStart, match=r"broken ended before it answered(.|\n)*made of cheese$"),
        launched(Broken, tmp_path),
    ):
        pass


def test_a_taken_port_is_replaced(own_service: OwnServices) -> None:
    """A service whose port was taken meanwhile starts on another one."""
    crowded = own_service(Crowded)

    assert crowded.service.answers(timeout_s=5)
    assert crowded.service.directory.name == "crowded-2"


def test_ports_are_different() -> None:
    """One service never gets the same port twice."""
    ports = free_ports(500)

    assert len(set(ports)) == 500
    assert all(PORT_MIN <= port <= PORT_MAX for port in ports)

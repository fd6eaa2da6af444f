"""The local Lambda runtime, with AWS's own runtime interface client and real handlers."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.testing.lambda_runtime import LambdaRuntime

pytestmark = pytest.mark.slow

HANDLER = """
import logging, os, sys, threading, time

ticks = []
calls = []

def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.01)

threading.Thread(target=tick, daemon=True).start()

def handler(event, context):
    calls.append(event)
    what = event.get("what")
    if what == "raise":
        raise ValueError("no such song")
    if what == "exit":
        os._exit(7)
    if what == "sleep":
        time.sleep(event["s"])
    if what == "gap":
        return max(later - earlier for earlier, later in zip(ticks, ticks[1:]))
    logging.getLogger("radio").warning("on the air")
    return {
        "pid": os.getpid(),
        "calls": len(calls),
        "left_ms": context.get_remaining_time_in_millis(),
        "name": context.function_name,
        "home": os.environ.get("HOME"),
        "singer": os.environ.get("SINGER"),
    }
"""

Start = Callable[..., LambdaRuntime]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "radio.py").write_text(HANDLER)
    with ExitStack() as started:

        def start_one(handler: str = "radio.handler", **settings: Any) -> LambdaRuntime:
            return started.enter_context(LambdaRuntime(handler, tmp_path, **settings))

        yield start_one


def state(pid: int) -> str:
    """The letter of the process in the kernel's list: `T` is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_handler_is_called_as_in_lambda(start: Start) -> None:
    """A handler gets its event and a context with the time it has left, in an environment that
    holds what was given and nothing of ours, and serves again in the same process."""
    function = start(timeout_s=5, environment={"SINGER": "joni"})

    first = function.invoke({}).answer
    second = function.invoke({}).answer

    assert (first["name"], first["singer"], first["home"]) == ("radio", "joni", None)
    assert 3_000 < first["left_ms"] <= 5_000
    assert (first["pid"], second["calls"]) == (second["pid"], 2)


def test_between_calls_it_is_frozen(start: Start) -> None:
    """None of its threads runs between two calls, and all do again in the next one."""
    function = start()
    function.invoke({})
    assert function.pid is not None

    assert state(function.pid) == "T"
    before = Path(f"/proc/{function.pid}/schedstat").read_text()
    other = start()
    other.invoke({"what": "sleep", "s": 0.5})
    assert Path(f"/proc/{function.pid}/schedstat").read_text() == before

    assert function.invoke({"what": "gap"}).answer > 0.5


def test_what_it_raises_and_logs_is_told(start: Start) -> None:
    """An exception is the call's error, its log lines come along, and the function lives on."""
    function = start()

    failed = function.invoke({"what": "raise"})
    went = function.invoke({})

    assert failed.error is not None
    assert (failed.error["errorType"], failed.error["errorMessage"]) == (
        "ValueError",
        "no such song",
    )
    assert "on the air" not in failed.log
    assert "on the air" in went.log
    assert went.answer["calls"] == 2


def test_its_time_is_enforced(start: Start) -> None:
    """A call that takes longer than the function's time is ended, and the next one starts anew."""
    function = start(timeout_s=0.5)
    first = function.invoke({}).answer

    late = function.invoke({"what": "sleep", "s": 60})

    assert late.error == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "Task timed out after 0.50 seconds",
    }
    assert function.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(first["pid"], 0)
    assert function.invoke({}, timeout_s=5).answer["calls"] == 1


def test_an_end_is_told(start: Start) -> None:
    """A function that exits, or cannot be loaded, is an error of the call, with its status."""
    function = start()
    exited = function.invoke({"what": "exit"})
    assert exited.error is not None
    assert exited.error["errorMessage"] == "Runtime exited with error: exit status 7"
    assert function.invoke({}).answer["calls"] == 1

    missing = start("nowhere.handler").invoke({})
    assert missing.error is not None
    assert missing.error["errorType"] == "Runtime.ExitError"
    assert "No module named 'nowhere'" in missing.log


def test_a_killed_environment_takes_no_later_event(start: Start) -> None:
    """One that dies while it is frozen is told of, and the next call goes to its successor."""
    function = start()
    function.invoke({})
    assert function.pid is not None

    os.kill(function.pid, signal.SIGKILL)
    lost = function.invoke({})
    assert lost.error is not None
    assert lost.error["errorMessage"] == "Runtime exited with error: exit status -9"
    assert function.invoke({}).answer["calls"] == 1


def test_without_the_client_its_name_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AWS's client is not installed the error says how to get it."""
    monkeypatch.setattr("eventpost.testing.lambda_runtime.find_spec", lambda _: None)

    with pytest.raises(InvalidRequest, match="pip install awslambdaric"):
        start()

"""AWS Lambda's runtime on this machine: a function with its real handler, frozen between calls.

    with LambdaRuntime("songs.handler", folder, timeout_s=3) as function:
        assert function.invoke({"title": "Blue"}).answer == {"published": 1}

The handler runs in a child under AWS's own runtime interface client (`pip install awslambdaric`),
which asks this process for events as it asks Lambda's Runtime API
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html). Between two calls the child is
stopped, all its threads with it, as Lambda freezes an execution environment; a call that takes
longer than the function's time ends it, and the next call starts another.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from eventpost.core.errors import extra_missing

API = "/2018-06-01/runtime"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:"
INIT_S_MAX = 60.0
"""How long a function may take to start; the calls' own time begins after it. Lambda allows 10 s,
on a machine that has nothing else to do."""
ASK_S = 0.05
"""How often a child that may have ended is looked at."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of one call."""

    answer: Any = None
    """What the handler returned."""
    error: Mapping[str, Any] | None = None
    """`errorType`, `errorMessage` and `stackTrace` of what it raised; `Sandbox.Timedout` and
    `Runtime.ExitError` are Lambda's own."""
    log: str = ""
    """What it wrote, and its loggers."""


@dataclass(slots=True)
class _Call:
    """One event on its way through the child."""

    body: bytes
    deadline_ms: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocation: Invocation | None = None


class LambdaRuntime:
    """One function with one execution environment. For one thread.

    `handler` is `MODULE.FUNCTION`, found in `directory`. The child's environment is this one's
    PATH and what `environment` adds: a function sees no keys that are not given to it.
    """

    def __init__(
        self,
        handler: str,
        directory: Path,
        *,
        timeout_s: float = 3.0,
        memory_mb: int = 128,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is started before the first call. Raises InvalidRequest without awslambdaric."""
        if find_spec("awslambdaric") is None:
            raise extra_missing(
                "Running a Lambda handler", "awslambdaric", "pip install awslambdaric"
            )
        self._handler = handler
        self._directory = directory
        self._timeout_s = timeout_s
        self._memory_mb = memory_mb
        self._environment = dict(environment or {})
        self._changed = threading.Condition()
        self._call: _Call | None = None
        self._is_asking = False
        self._end_count = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    # --- what tests call --------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the execution environment; None when there is none, before a call and after a time
        that ran out."""
        return None if self._child is None else self._child.pid

    def invoke(self, event: object, *, timeout_s: float | None = None) -> Invocation:
        """Call the handler, and return when it has answered and is frozen, or is dead.

        `timeout_s` in place of the function's own, for this call.
        """
        call = _Call(json.dumps(event).encode())
        log_start = os.fstat(self._log.fileno()).st_size
        if self._child is None:
            self._start()
            failure = self._wait(INIT_S_MAX, lambda: self._is_asking)
        else:
            self._signal(signal.SIGCONT)
            failure = None
        if failure is None:
            failure = self._carried_out(call, self._timeout_s if timeout_s is None else timeout_s)
        log = self._log_since(log_start)
        if failure is not None:
            return Invocation(error=failure, log=log)
        assert call.invocation is not None
        return Invocation(call.invocation.answer, call.invocation.error, log)

    def close(self) -> None:
        """End the environment and the API. Idempotent."""
        self._end()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the execution environment ----------------------------------------------------------------

    def _start(self) -> None:
        self._is_asking = False
        self._child = subprocess.Popen(  # noqa: S603  # our own interpreter
            [sys.executable, "-m", "awslambdaric", self._handler],
            cwd=self._directory,
            env=self._variables(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def _variables(self) -> dict[str, str]:
        """https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html"""
        name = self._handler.partition(".")[0]
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self._memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "LAMBDA_TASK_ROOT": str(self._directory),
            "_HANDLER": self._handler,
            **self._environment,
        }

    def _carried_out(self, call: _Call, timeout_s: float) -> dict[str, str] | None:
        """None when the child has answered and was frozen; else why it is dead."""
        with self._changed:
            call.deadline_ms = int((time.time() + timeout_s) * 1000)  # never more than was given
            self._call = call
            self._changed.notify_all()
        failure = self._wait(timeout_s, lambda: call.invocation is not None)
        if failure is None:
            # Frozen once it asks for the next event: then its handler has surely returned.
            failure = self._wait(INIT_S_MAX, lambda: self._is_asking)
        if failure is None:
            self._freeze()
        return failure

    def _wait(self, timeout_s: float, is_done: Any) -> dict[str, str] | None:
        """None when it is done; else the child is dead, and why."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not is_done():
                assert self._child is not None
                if self._child.poll() is not None:
                    return self._ended(f"exit status {self._child.returncode}")
                if time.monotonic() >= deadline_s:
                    return self._timed_out(timeout_s)
                self._changed.wait(min(ASK_S, max(0.0, deadline_s - time.monotonic())))
        return None

    def _ended(self, how: str) -> dict[str, str]:
        self._end()
        message = f"Runtime exited with error: {how}"
        return {"errorType": "Runtime.ExitError", "errorMessage": message}

    def _timed_out(self, timeout_s: float) -> dict[str, str]:
        self._end()
        message = f"Task timed out after {timeout_s:.2f} seconds"
        return {"errorType": "Sandbox.Timedout", "errorMessage": message}

    def _freeze(self) -> None:
        assert self._child is not None
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _end(self) -> None:
        with self._changed:
            self._call = None
            self._end_count += 1
            self._changed.notify_all()
        child = self._child
        if child is not None:
            self._signal(signal.SIGKILL)
            child.wait()
            self._child = None

    def _signal(self, number: int) -> None:
        """To the child and what it started; until it is waited for, the group is surely ours."""
        if self._child is not None and self._child.returncode is None:
            os.killpg(self._child.pid, number)

    def _log_since(self, start: int) -> str:
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size - start, start).decode(errors="replace")

    # --- the Runtime API, in the server's threads -------------------------------------------------

    def next_call(self) -> _Call | None:
        """Waits until there is one; None when the child that asked is gone by then."""
        with self._changed:
            end_count = self._end_count
            self._is_asking = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._call is not None or self._end_count != end_count)
            if self._end_count != end_count:
                return None
            call, self._call = self._call, None
            self._is_asking = False
            return call

    def answered(self, call: _Call, invocation: Invocation) -> None:
        with self._changed:
            call.invocation = invocation
            self._changed.notify_all()


def _answering(runtime: LambdaRuntime) -> type[BaseHTTPRequestHandler]:
    calls: dict[str, _Call] = {}

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the library's name
            call = runtime.next_call()
            if call is None:
                self.close_connection = True
                return
            calls[call.id] = call
            self._answer(
                200,
                call.body,
                {
                    "Lambda-Runtime-Aws-Request-Id": call.id,
                    "Lambda-Runtime-Deadline-Ms": str(call.deadline_ms),
                    "Lambda-Runtime-Invoked-Function-Arn": ARN + "local",
                    "Lambda-Runtime-Trace-Id": f"Root=1-{call.deadline_ms // 1000:08x}-local",
                },
            )

        def do_POST(self) -> None:  # the library's name
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            *_, call_id, kind = self.path.split("/")
            call = calls.pop(call_id, None)
            self._answer(202, b'{"status":"OK"}', {})
            if call is not None:
                held = json.loads(body) if body else None
                runtime.answered(
                    call, Invocation(error=held) if kind == "error" else Invocation(held)
                )

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    return Api

"""A server with few file descriptors, run as a program of its own by `test_descriptors`.

`python -m tests.http.server.exhausted LOOP DESCRIPTORS` prints its port, and answers `/fast` with
how often accepting failed, its processor time and the time since the loop began.
"""

import asyncio
import resource
import sys
import time

from eventpost.http.server import HttpLimits, HttpServer, Request, response
from tests.http.server.support import LOOPS, Handler, echo_app


class Reporter(Handler):
    server: HttpServer

    def handle(self, request: Request) -> None:
        failures = sum(listener.exhausted_count for listener in self.server._listeners)
        report = f"{failures} {time.process_time()} {time.monotonic()}"
        request.respond(response(200, report.encode()))


async def main() -> None:
    reporter = Reporter()
    loop = asyncio.get_running_loop()
    limits = HttpLimits(accept_pause_s=0.05, connections_max=1_000)
    reporter.server = HttpServer(loop, reporter, echo_app, limits)
    await reporter.server.start("127.0.0.1", 0)
    sys.stdout.write(f"{reporter.server.port}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    await reporter.server.drain()


if __name__ == "__main__":
    descriptors = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main())

"""The raw floor: the product's own HTTP code as a loop without storage and routing.

One request in, one POST out to the receiver, 200 at once. Run as `python -m bench.floor PORT URL`.
"""

import asyncio
import signal
import sys

from starlette.applications import Starlette

from eventpost.core.outcomes import Evidence
from eventpost.http.addresses import AddressGuard
from eventpost.http.client import Answer, HttpClient
from eventpost.http.server import HttpServer, Request, response
from eventpost.server.serving import loop_factory, tune_collector


class Forward:
    """Implements FastHandler."""

    def __init__(self, client: HttpClient, url: str) -> None:
        self._target = client.target(url)
        self._client = client
        self._head = (
            self._target.head_start(b"POST") + b"Content-Type: application/json\r\nContent-Length: "
        )
        self._answer = response(200)

    def accepts(self, method: bytes, path: bytes) -> bool:
        return True

    def handle(self, request: Request) -> None:
        body = request.body
        head = b"%b%d\r\n\r\n" % (self._head, len(body))
        self._client.request(self._target, head, body, 30.0, self._done)
        request.respond(self._answer)

    def _done(self, answer: Answer | Evidence) -> None:
        pass

    def too_large(self, request: Request) -> bytes:
        return response(413)

    def malformed(self, request: Request | None, status: int, reason: str) -> bytes:
        return response(status)


async def main(port: int, url: str) -> None:
    loop = asyncio.get_running_loop()
    client = HttpClient(loop, AddressGuard(allow_loopback=True))
    server = HttpServer(loop, Forward(client, url), Starlette())
    await server.start("127.0.0.1", port)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    tune_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2]))

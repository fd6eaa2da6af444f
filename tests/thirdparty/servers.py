"""The other side of the third party's endpoint kind: a server that is told what to answer."""

import asyncio
import json
from typing import Any

from eventpost.testing.destination_conformance import Behaviour


class Recipient:
    """On the running loop. `lines` are the events that came, taken or not."""

    def __init__(self) -> None:
        self.behaviour = Behaviour.ACCEPT
        self.events: list[dict[str, Any]] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        while (line := await reader.readline()) not in (b"", b"\n"):
            self.events.append(json.loads(line))
        if self.behaviour is Behaviour.HANG:
            return
        if self.behaviour is not Behaviour.VANISH:
            is_taken = self.behaviour is Behaviour.ACCEPT
            writer.write(b"taken\n" if is_taken else b"no room on the perch\n")
        self._open.discard(writer)
        writer.close()

"""Takes a renewed certificate into use while the server runs: connections go on, nothing restarts.

Layer: server. Certificate and key are two files, and whoever renews them may write one after the
other, or exchange links: they are read when they have changed and then stayed the same from one
look to the next. What cannot be used leaves the old certificate in use, until they change again.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from eventpost.core.errors import InvalidRequest
from eventpost.telemetry.logs import log

Stamp = tuple[tuple[int, int, int], ...] | None
"""What tells one version of the files from another; None while one of them is not there."""


Renew = Callable[[ssl.SSLContext], None]


class Certificates:
    """The PEM files of a listener, as they are when this is made, and what becomes of them between
    `start` and `stop`. On the loop's thread."""

    def __init__(self, cert: Path, key: Path, *, look_s: float) -> None:
        self._files = cert, key
        self._look_s = look_s
        self._served = self._seen = _stamp(*self._files)
        self._is_asked = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def start(self, renew: Renew) -> None:
        """`renew` gets a context whenever the files hold something new that can be used."""
        self._watching = asyncio.get_running_loop().create_task(self._watch(renew))

    def look_now(self) -> None:
        """Read the files soon, whether or not they seem to have changed."""
        self._is_asked.set()

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _watch(self, renew: Renew) -> None:
        while True:
            await self._pause()
            is_asked = self._is_asked.is_set()
            self._is_asked.clear()
            now = await asyncio.to_thread(_stamp, *self._files)
            is_settled = now == self._seen and now is not None
            self._seen = now
            if is_asked or (is_settled and now != self._served):
                await self._reload(now, renew)

    async def _pause(self) -> None:
        """Until it is time to look, or somebody asks."""
        try:
            async with asyncio.timeout(self._look_s or None):
                await self._is_asked.wait()
        except TimeoutError:
            return

    async def _reload(self, stamp: Stamp, renew: Renew) -> None:
        from eventpost.http import tls

        self._served = stamp  # also when it cannot be used: this version is not tried again
        try:
            context = await asyncio.to_thread(tls.server_context, *self._files)
            end = await asyncio.to_thread(tls.end_of, self._files[0])
        except InvalidRequest as error:
            log("tls.reload_failed", level=logging.ERROR, reason=f"{error.what} {error.why}")
            return
        renew(context)
        log("tls.reloaded", certificate=str(self._files[0]), valid_until=end)


def _stamp(*files: Path) -> Stamp:
    try:
        found = [file.stat() for file in files]
    except OSError:
        return None
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in found)

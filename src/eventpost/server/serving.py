"""`eventpost serve`: listen, serve until told to stop, drain, exit.

Layer: server. It puts the application behind the HTTP listener and owns the process' life.
"""

import asyncio
import errno
import gc
import logging
import signal
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from eventpost.app import compose
from eventpost.app.application import App
from eventpost.app.clock import LoopClock
from eventpost.app.watch import Watch
from eventpost.config import local
from eventpost.config.checks import address
from eventpost.config.settings import ServerSettings, Settings
from eventpost.core.errors import EventpostError
from eventpost.diagnosis import codes
from eventpost.http import client_limits, descriptors
from eventpost.http.server import HttpServer, limits
from eventpost.server import api
from eventpost.server.certificates import Certificates
from eventpost.server.data_plane import DataPlane
from eventpost.telemetry.logs import log

Build = Callable[[Settings, asyncio.AbstractEventLoop], App]
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GARBAGE_ALLOCATIONS = 50_000
"""Objects are made and freed by the million and rarely in cycles: the default of 700 would have
the collector look at the same live objects many times a second."""


def serve(settings: Settings, *, started: Callable[[str], None]) -> int:
    """Run the server; returns its exit code. `started(url)` is called once it listens.

    Raises EventpostError when it cannot start. SIGTERM and Ctrl-C end it cleanly with 0.
    """
    tune_collector()
    _take_descriptors(settings)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(settings, started))


def _take_descriptors(settings: Settings) -> None:
    """As many as both directions may use; the bounds that nobody set follow from what there is."""
    wanted = descriptors.RESERVED + sum(
        settings_max or default_max
        for settings_max, default_max in (
            (settings.http.connections_max, limits.CONNECTIONS_MAX_DEFAULT),
            (settings.client.connections_max, client_limits.CONNECTIONS_MAX_DEFAULT),
        )
    )
    had = descriptors.raise_limit(wanted)
    if had is not None:
        log("server.few_descriptors", level=logging.WARNING, descriptors=had, wanted=wanted)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it exists, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def tune_collector() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_ALLOCATIONS, 20, 50)


async def _serve(settings: Settings, started: Callable[[str], None]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    running = await Running.start(settings)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else somebody asked to ignore it
        hung_up = stop.set if sys.stdin.isatty() else running.reload_certificate
        loop.add_signal_handler(signal.SIGHUP, hung_up)
    watch = Watch(running.app, LoopClock(loop))
    watch.start()
    loop.set_exception_handler(watch.escaped)
    started(running.url)
    log("server.started", url=running.url)
    await stop.wait()
    log("server.stopping")
    watch.stop()
    await running.stop()
    log("server.stopped")
    return 0


class Running:
    """A server that listens. Made by `start`, ended by `stop`."""

    def __init__(
        self,
        app: App,
        http: HttpServer,
        url: str,
        data: Path,
        data_plane: DataPlane,
        certificates: Certificates | None = None,
    ) -> None:
        self.app = app
        self.http = http
        self.url = url
        self._data = data
        self.data_plane = data_plane
        self._certificates = certificates

    @classmethod
    async def start(cls, settings: Settings, *, build: Build = compose.build) -> "Running":
        """Open the store, listen, and say where. Raises EventpostError."""
        loop = asyncio.get_running_loop()
        data = data_directory(settings)
        certificates = _certificates(settings.server)
        context = tls_context(settings.server, data)
        app = build(settings, loop)
        try:
            await app.start()
            data_plane = DataPlane(app)
            http = HttpServer(loop, data_plane, api.build(app), settings.http)
            host, port = address(settings.server.listen)
            await _listen(http, host, port, context)
        except BaseException:
            await app.close()
            raise
        url = listener_url(host, http.port, is_tls=context is not None)
        app.public_url = settings.server.public_url.rstrip("/") or url
        local.write_address(data, url)
        if certificates is not None:
            certificates.start(http.renew)
        return cls(app, http, url, data, data_plane, certificates)

    def reload_certificate(self) -> None:
        """Read the certificate's files anew, if there are any, without waiting for it."""
        if self._certificates is not None:
            self._certificates.look_now()

    async def stop(self) -> None:
        """Finish what is under way, keep what came of it, let go of everything."""
        local.remove_address(self._data)
        self.app.stopping.set()
        self.data_plane.stop_waiting()
        if self._certificates is not None:
            await self._certificates.stop()
        await self.http.drain()
        await self.app.close()


def data_directory(settings: Settings) -> Path:
    return Path(settings.server.data).absolute()


async def _listen(http: HttpServer, host: str, port: int, context: ssl.SSLContext | None) -> None:
    try:
        await http.start(host, port, context)
    except OSError as error:
        is_in_use = error.errno == errno.EADDRINUSE
        raise EventpostError(
            codes.ADDRESS_IN_USE if is_in_use else codes.CANNOT_LISTEN,
            f"The server cannot listen on {host}:{port}: {error.strerror or error}.",
            fix="choose another address with --listen"
            + (", or stop what uses this one" if is_in_use else ": one of this machine's"),
        ) from error


def listener_url(host: str, port: int, *, is_tls: bool) -> str:
    """How programs on this machine reach the listener."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    shown = f"[{reached}]" if ":" in reached and not reached.startswith("[") else reached
    return f"{'https' if is_tls else 'http'}://{shown}:{port}"


def tls_context(server: ServerSettings, data: Path) -> ssl.SSLContext | None:
    """None when the listener speaks plain HTTP. Raises EventpostError."""
    if not server.tls_dev and not server.tls_cert:
        return None
    from eventpost.http import tls  # brings `cryptography` along, which takes its time

    if server.tls_dev:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        host, _ = address(server.listen)
        names = ["localhost", "127.0.0.1", "::1"]
        if host and host not in names:
            names.append(host)
        context, _ = tls.development_authority(data / "tls", names)
        return context
    return tls.server_context(Path(server.tls_cert), Path(server.tls_key))


def _certificates(server: ServerSettings) -> Certificates | None:
    """The files of `tls_cert` and `tls_key`; those of a development authority are not watched."""
    if not server.tls_cert:
        return None
    return Certificates(Path(server.tls_cert), Path(server.tls_key), look_s=server.tls_look_s)

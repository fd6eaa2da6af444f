"""`eventpost serve`: the server itself."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eventpost.cli import output, settings_options
from eventpost.cli.parser import Commands, command

if TYPE_CHECKING:
    from eventpost.config.settings import Settings


def add(group: Commands) -> None:
    command(
        group,
        "serve",
        serve,
        summary="run the server until SIGTERM or Ctrl-C",
        parents=[settings_options.options()],
        epilog="`eventpost config` takes the same options and shows what they come to.",
    )


def serve(arguments: argparse.Namespace) -> int:
    from eventpost.server import serving
    from eventpost.telemetry import logs
    from eventpost.telemetry.repeats import Repeats

    file = settings_options.config_file(arguments)
    settings = settings_options.effective(arguments, file).settings
    if file is not None and file.has_declarations:
        name = file.document.name
        output.note(f"What {name} declares is made so by `eventpost apply {name}`.")
    wanted = settings.logs
    writer = logs.start(
        level=wanted.level,
        style=wanted.format,
        line_chars_max=wanted.line_chars_max,
        waiting_max=wanted.waiting_max,
        repeats=Repeats(
            said_max=wanted.said_max, window_s=wanted.window_s, keys_max=wanted.keys_max
        ),
    )
    try:
        return serving.serve(settings, started=lambda url: banner(settings, url))
    finally:
        logs.stop(writer)


def banner(settings: "Settings", url: str) -> None:
    """Say where the server is and how it is reached, once it listens at `url`."""
    for name, value in banner_lines(settings, url).items():
        output.line(f"  {name:<16}{value}")
    sys.stdout.flush()


def banner_lines(settings: "Settings", url: str) -> dict[str, str]:
    from eventpost.config.checks import address, is_loopback
    from eventpost.config.local import AUTHORITY_FILE, TOKEN_FILE
    from eventpost.core.version import VERSION

    server = settings.server
    data = Path(server.data).absolute()
    host, _ = address(server.listen)
    lines = {
        "eventpost": VERSION,
        "listens at": url,
        "public URL": server.public_url or url,
        "data directory": str(data),
        "admin token": server.admin_token or str(data / TOKEN_FILE),
        "webhooks": _webhooks(settings, is_local=is_loopback(host)),
    }
    if server.tls_dev:
        authority = data / AUTHORITY_FILE
        lines["clients need"] = f"SSL_CERT_FILE={authority} (Python, curl, Go)"
        lines["or"] = f"REQUESTS_CA_BUNDLE={authority} NODE_EXTRA_CA_CERTS={authority}"
    return lines


def _webhooks(settings: "Settings", *, is_local: bool) -> str:
    """Which addresses webhooks may have."""
    allowed = ["public addresses over https"]
    if is_local:
        allowed.append("this machine, over http too (the server listens on loopback only)")
    if settings.network.allow_private:
        allowed.append(", ".join(settings.network.allow_private))
    if settings.network.allow_http:
        allowed.append("plain http")
    return "; ".join(allowed)

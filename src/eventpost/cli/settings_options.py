"""The options that become settings, shared by `serve` and `config`."""

import argparse
import os
from typing import TYPE_CHECKING

from eventpost.cli.parser import Parser

if TYPE_CHECKING:
    from eventpost.config.effective import Effective
    from eventpost.config.file import ConfigFile

OPTIONS = {
    "data": "server.data",
    "listen": "server.listen",
    "store": "store.url",
    "tls_cert": "server.tls_cert",
    "tls_key": "server.tls_key",
    "tls_dev": "server.tls_dev",
    "public_url": "server.public_url",
    "allow_private": "network.allow_private",
    "allow_http": "network.allow_http",
    "allow_short_locks": "limits.receive_lock_s_min",
}
"""Setting by option."""
SHORT_LOCK_S = 0.1


def options() -> Parser:
    """The parent parser with these options."""
    parser = Parser(add_help=False)
    add = parser.add_argument_group("settings").add_argument
    add("--config", metavar="FILE", help="settings file (default: EVENTPOST_CONFIG, else none)")
    add(
        "--data",
        "--data-dir",
        dest="data",
        metavar="DIR",
        help="data directory (default: ./eventpost-data)",
    )
    add("--listen", metavar="HOST:PORT", help="address to listen on (default: 127.0.0.1:7790)")
    add("--store", metavar="URL", help="which store (default: sqlite: in the data directory)")
    add("--tls-cert", metavar="FILE", help="PEM file with the certificate chain")
    add("--tls-key", metavar="FILE", help="PEM file with the private key")
    add("--tls-dev", action="store_true", default=None, help="TLS with a development authority")
    add("--public-url", metavar="URL", help="URL under which others reach this server")
    add(
        "--allow-private",
        metavar="CIDR",
        action="append",
        help="private network that webhooks may reach (repeatable)",
    )
    add("--allow-http", action="store_true", default=None, help="webhooks may use plain http")
    add(
        "--allow-short-locks",
        action="store_const",
        const=SHORT_LOCK_S,
        help="locks of pulled events may be shorter than 60 s (for tests)",
    )
    add(
        "--set",
        metavar="SECTION.NAME=VALUE",
        action="append",
        default=[],
        help="any setting by its name (repeatable)",
    )
    return parser


def config_file(arguments: argparse.Namespace) -> "ConfigFile | None":
    """The file that is named; nothing is read that nobody named."""
    from eventpost.config import file
    from eventpost.config.environment import CONFIG_VARIABLE

    path = arguments.config or os.environ.get(CONFIG_VARIABLE)
    return file.load(path) if path else None


def effective(arguments: argparse.Namespace, file: "ConfigFile | None") -> "Effective":
    """The settings that these arguments, the environment and the file come to."""
    from eventpost.config import effective

    return effective.settle(flags=_flags(arguments), environment=os.environ, file=file)


def _flags(arguments: argparse.Namespace) -> dict[str, tuple[object, str]]:
    from eventpost.config import environment, inventory

    flags: dict[str, tuple[object, str]] = {}
    for text in arguments.set:
        name, equals, value = text.partition("=")
        setting = inventory.setting(name.strip(), origin="--set")
        if not equals:
            value = "true"
        flags[setting.name] = environment.parse(setting, value, "--set"), "flag --set"
    for option, name in OPTIONS.items():
        value = getattr(arguments, option)
        if value is not None:
            flags[name] = value, f"flag --{option.replace('_', '-')}"
    return flags

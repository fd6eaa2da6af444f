"""What must hold of settings beyond their types, and of settings together."""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from eventpost.config.inventory import DEFAULT
from eventpost.config.settings import Settings
from eventpost.core.errors import InvalidRequest
from eventpost.core.notation import parse_duration_ms
from eventpost.credentials import bearer_settings

REFERENCE_PREFIXES = ("env:", "file:")
EXPORT_DELAY_S_MAX = 300.0
"""As long as Event Grid waits before it writes a dead letter."""


def check(settings: Settings, origins: Mapping[str, str]) -> None:
    """Raises InvalidRequest naming the setting, the origin of its value, and what would do."""
    for name, problem, fix in _problems(settings, origins):
        raise InvalidRequest(
            "InvalidSetting",
            f"{name}: {problem}.",
            why=_why(origins.get(name, DEFAULT)),
            fix=fix,
        )


def _why(origin: str) -> str:
    return "" if origin == DEFAULT else f"It was given by {origin}."


def address(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[V6]:PORT` or `:PORT` (all addresses). Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"`{listen}` is not HOST:PORT with a port of 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"the IPv6 address in `{listen}` needs brackets, as in [::1]:7790")
    return host or "0.0.0.0", int(port)  # noqa: S104 - `:PORT` asks for all addresses


def is_loopback(host: str) -> bool:
    """Whether a listener on `host` is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _problems(settings: Settings, origins: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(setting, what is wrong, fix), the first ones first."""
    return [
        *_server_problems(settings),
        *_network_problems(settings),
        *_tokens_problems(settings),
        *_store_problems(settings),
        *_limits_problems(settings),
        *_grid_problems(settings),
        *_negative_numbers(settings, origins),
    ]


def _server_problems(settings: Settings) -> list[tuple[str, str, str]]:
    server = settings.server
    found = []
    try:
        address(server.listen)
    except ValueError as error:
        found.append(("server.listen", str(error), "Give an address such as 127.0.0.1:7790."))
    if not server.data:
        found.append(("server.data", "it is empty", "Name a directory."))
    if server.public_url and not _is_url(server.public_url):
        found.append(
            (
                "server.public_url",
                f"`{server.public_url}` is not an http or https URL without query",
                "Give a URL such as https://events.example.com.",
            )
        )
    if server.admin_token and not server.admin_token.startswith(REFERENCE_PREFIXES):
        found.append(
            (
                "server.admin_token",
                "it is a value, not a reference",
                "Put the token into a variable or a file and name it: env:NAME or file:PATH.",
            )
        )
    if bool(server.tls_cert) != bool(server.tls_key):
        missing = "tls_key" if server.tls_cert else "tls_cert"
        found.append((f"server.{missing}", "it is missing", "Give tls_cert and tls_key together."))
    if server.tls_dev and server.tls_cert:
        found.append(("server.tls_dev", "a certificate is given as well", "Give one or the other."))
    return found


def _network_problems(settings: Settings) -> list[tuple[str, str, str]]:
    found = []
    for network in settings.network.allow_private:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            fix = "Give a network such as 10.0.0.0/8 or 192.168.1.7/32."
            found.append(("network.allow_private", str(error), fix))
    proxies = settings.network.proxies
    if proxies not in ("environment", "none") and not _is_url(proxies):
        found.append(
            (
                "network.proxies",
                "it is neither `environment` nor `none` nor an http URL",
                "Give a URL such as http://proxy.example.com:3128.",
            )
        )
    return found


def _tokens_problems(settings: Settings) -> list[tuple[str, str, str]]:
    tokens = settings.tokens
    found = []
    try:
        bearer_settings.read_issuers(tokens.issuers)
    except ValueError as error:
        fix = "Write the issuer's https URL; behind a blank, where its keys are."
        found.append(("tokens.issuers", str(error), fix))
    try:
        bearer_settings.read_grants(tokens.roles)
    except ValueError as error:
        fix = "Write lines such as `EventGrid.Sender publish orders songs-*`."
        found.append(("tokens.roles", str(error), fix))
    if tokens.issuers and not tokens.audience:
        fix = "Name what tokens for this server are for, such as https://eventgrid.azure.net."
        found.append(("tokens.audience", "it is missing", fix))
    return found


def _store_problems(settings: Settings) -> list[tuple[str, str, str]]:
    if settings.store.url == "sqlite:":
        return []
    problem = f"`{settings.store.url}` is not available in this version"
    return [("store.url", problem, "Use `sqlite:`, which keeps the store in the data directory.")]


def _limits_problems(settings: Settings) -> list[tuple[str, str, str]]:
    found = []
    for name in ("event_ttl_min", "event_ttl_max"):
        text = getattr(settings.limits, name)
        try:
            parse_duration_ms(text)
        except InvalidRequest as error:
            found.append((f"limits.{name}", error.what.rstrip("."), error.fix))
    return found


def _grid_problems(settings: Settings) -> list[tuple[str, str, str]]:
    if settings.grid.export_delay_s <= EXPORT_DELAY_S_MAX:
        return []
    problem = f"{settings.grid.export_delay_s:g} is longer than dead letters may wait for company"
    return [("grid.export_delay_s", problem, f"Give 0 to {EXPORT_DELAY_S_MAX:g} seconds.")]


def _negative_numbers(settings: Settings, origins: Mapping[str, str]) -> list[tuple[str, str, str]]:
    found = []
    for name in origins:
        section, _, key = name.partition(".")
        value = getattr(getattr(settings, section), key)
        if isinstance(value, int | float) and value < 0:
            found.append((name, f"{value} is negative", "Give a number from 0 upwards."))
    return found


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return is_http and not parts.query and not parts.fragment

"""Paths that are typed here and used by the server.

A server of this machine gets them whole, so that they mean what they mean where they were typed. To
another machine a relative path means nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventpost.client.discovery import Place


def resolve(declared: dict[str, object], place: "Place", *, against: Path | None = None) -> None:
    """Complete the relative paths of a declared subscription, in place: its folder of dead letters,
    the folder that it delivers to, and the files of its signing secrets. `~` is the user's home.

    `against` is the directory they are relative to, by default the one the command runs in. Raises
    InvalidRequest when the server is not of this machine.
    """
    base = against or Path.cwd()
    deadletter = declared.get("deadletter")
    if isinstance(deadletter, str):
        declared["deadletter"] = _whole(deadletter, "folder:", base, place)
    endpoint, kind = declared.get("endpoint"), declared.get("endpointType")
    if isinstance(endpoint, str) and (kind or declared.get("endpoint_type")) == "folder":
        whole = _whole(f"folder:{endpoint.removeprefix('folder:')}", "folder:", base, place)
        declared["endpoint"] = whole
    for name in ("signingSecrets", "signing_secrets"):
        secrets = declared.get(name)
        if isinstance(secrets, list):
            declared[name] = [
                _whole(each, "file:", base, place) if isinstance(each, str) else each
                for each in secrets
            ]


def _whole(text: str, scheme: str, base: Path, place: "Place") -> str:
    given = text.removeprefix(scheme)
    if not given or given == text or given.startswith("/"):
        return text
    if not place.is_loopback:
        raise _not_here(text, place)
    return f"{scheme}{(base / Path(given).expanduser()).resolve()}"


def _not_here(text: str, place: "Place") -> Exception:
    from eventpost.core.errors import InvalidRequest

    return InvalidRequest(
        "RelativePath",
        f"{text} is relative, and the server at {place.url} is not of this machine.",
        fix="Give the absolute path on the server's machine.",
    )

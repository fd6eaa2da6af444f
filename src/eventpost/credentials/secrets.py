"""Secrets by reference: `env:NAME` or `file:PATH`, read when they are needed, never shown.

Layer: credentials.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from msgspec import Meta

from eventpost.core.errors import InvalidRequest

SECRET_BYTES_MAX = 65_536
MASK = "***"
_KEPT = "kept:"

Reference = Annotated[str, Meta(pattern=r"^(|(env|file):[^\r\n]+)$")]
"""A field that names a secret; "" for none. A value is refused without being repeated."""


_kept: dict[str, str] = {}


def keep(secret: str) -> str:
    """What names a secret that a program gives by value, for as long as this process lives."""
    for reference, one in _kept.items():
        if one == secret:
            return reference
    reference = f"{_KEPT}{len(_kept)}"
    _kept[reference] = secret
    return reference


def is_reference(text: str) -> bool:
    """Whether `text` names a secret and is none itself."""
    return text.startswith(("env:", "file:"))


def resolve(reference: str, environment: Mapping[str, str] | None = None) -> str:
    """The secret behind `reference`; a file's trailing line break is not part of it.

    Read anew at each call, so that a rotated file is seen. Raises InvalidRequest that names the
    missing variable or file, never a value. `environment` is the process's own unless given.
    """
    kind, _, name = reference.partition(":")
    if kind == "env" and name:
        return _from_environment(name, os.environ if environment is None else environment)
    if kind == "file" and name:
        return _from_file(name)
    if reference in _kept:
        return _kept[reference]
    # The text may be the secret itself, so that it is not repeated.
    raise InvalidRequest(
        "SecretNotAReference",
        "A secret is given by reference only.",
        fix="Write env:NAME or file:PATH.",
    )


def mask(text: str) -> str:
    """What may be shown in place of a secret: a reference as it is, anything else as `***`."""
    return text if not text or is_reference(text) else MASK


def mask_url(url: str) -> str:
    """`url` without what may be secret in it: the password and the values of its query."""
    try:
        parts = urlsplit(url)
        query = "&".join(_masked_pair(pair) for pair in parts.query.split("&") if pair)
        netloc = parts.netloc
        if "@" in netloc:
            user, _, host = netloc.rpartition("@")
            netloc = f"{user.partition(':')[0]}:{MASK}@{host}"
        return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))
    except ValueError:
        return MASK


def _from_environment(name: str, environment: Mapping[str, str]) -> str:
    value = environment.get(name, "")
    if not value:
        state = "empty" if name in environment else "not set"
        raise InvalidRequest(
            "SecretMissing",
            f"The environment variable {name} is {state}.",
            fix=f"Set {name} for the server's process and start it again.",
        )
    return value


def _from_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequest(
            "SecretMissing",
            f"The secret file {path} cannot be read: {error.strerror}.",
            fix="Create it, readable for the user that runs the server.",
        ) from error
    if len(content) > SECRET_BYTES_MAX:
        raise InvalidRequest(
            "SecretTooLarge",
            f"The secret file {path} has more than {SECRET_BYTES_MAX} bytes.",
            fix="Name the file that holds the secret alone.",
        )
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidRequest("SecretInvalid", f"The secret file {path} is not UTF-8.") from error
    if not text:
        raise InvalidRequest("SecretMissing", f"The secret file {path} is empty.")
    return text


def _masked_pair(pair: str) -> str:
    name, separator, _ = pair.partition("=")
    return f"{name}={MASK}" if separator else MASK

"""Places that keep files: folders, containers of Azure Storage and buckets of S3, as written.

Layer: destinations. A place is `folder:PATH`, `azureblob://ACCOUNT/CONTAINER[/PREFIX]` or
`s3://BUCKET[/PREFIX]`. An endpoint, whose kind is known, may leave out what stands before its name.
"""

import re
from dataclasses import dataclass
from typing import Literal, assert_never

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt

Kind = Literal["folder", "azureblob", "s3"]
KINDS: tuple[Kind, ...] = ("folder", "azureblob", "s3")
PREFIX_CHARS_MAX = 512
"""Names of blobs and of S3's objects have 1,024 at most, and a file's own path follows."""

_SCHEMES: dict[Kind, str] = {"folder": "folder:", "azureblob": "azureblob://", "s3": "s3://"}
_ACCOUNT = re.compile(r"[A-Za-z0-9-]{3,50}")
"""An account's name, or a connection's that leads to one."""
_CONTAINER = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*|\$root|\$web|\$logs")
_BUCKET = re.compile(r"(?=.{3,63}$)[a-z0-9][a-z0-9.-]*[a-z0-9]")
_PREFIX_PART = re.compile(r"(?!\.{1,2}$)[^\x00-\x1f\x7f\\?#]+")


@dataclass(frozen=True, slots=True)
class Place:
    """`root` is a folder's path, a container or a bucket; `prefix` goes before every name in it.

    `account` is of a container only, and "" where the connection says it.
    """

    kind: Kind
    root: str
    prefix: str = ""
    account: str = ""

    def named(self, name: str) -> str:
        """The whole name of a file in the container or bucket."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        rest = "/".join(part for part in (self.account, self.root, self.prefix) if part)
        return f"{_SCHEMES[self.kind]}{rest}"


def parse(text: str) -> Place:
    """A place as it is written for dead letters. Raises InvalidRequest."""
    for kind, scheme in _SCHEMES.items():
        if text.startswith(scheme):
            return parse_as(kind, text)
    raise InvalidRequest(
        "InvalidDeadLetterEndpoint",
        f"{excerpt(text)} is no place for files.",
        fix="Write folder:/PATH, azureblob://ACCOUNT/CONTAINER or s3://BUCKET/PREFIX.",
    )


def parse_as(kind: Kind, text: str) -> Place:
    """A place whose kind is known: `CONTAINER`, `BUCKET/PREFIX` and a bare path do, too. Raises
    InvalidRequest."""
    scheme = _SCHEMES[kind]
    own = text.removeprefix(scheme)
    match kind:
        case "folder":
            return _folder(own)
        case "azureblob":
            return _container(own, has_account=own != text)
        case "s3":
            return _bucket(own)
        case _:
            assert_never(kind)


def _folder(path: str) -> Place:
    if not path.startswith("/") or "\x00" in path:
        raise InvalidRequest(
            "RelativeFolder",
            f"{excerpt(path)} is no absolute path.",
            why="What it is relative to would depend on how the server was started.",
            fix="Write folder:/ and the absolute path of a folder on the server's machine.",
        )
    return Place("folder", path)


def _container(text: str, *, has_account: bool) -> Place:
    account, rest = "", text
    if has_account:
        account, _, rest = text.partition("/")
        if not _ACCOUNT.fullmatch(account):
            raise _invalid("azureblob", text, f"{excerpt(account)} is no storage account's name.")
    container, _, prefix = rest.partition("/")
    if not _CONTAINER.fullmatch(container):
        why = f"{excerpt(container)} is no container's name: 3 to 63 of a-z, 0-9 and single '-'."
        raise _invalid("azureblob", text, why)
    return Place("azureblob", container, _checked_prefix("azureblob", text, prefix), account)


def _bucket(text: str) -> Place:
    bucket, _, prefix = text.partition("/")
    if not _BUCKET.fullmatch(bucket):
        why = f"{excerpt(bucket)} is no bucket's name: 3 to 63 of a-z, 0-9, '.' and '-'."
        raise _invalid("s3", text, why)
    return Place("s3", bucket, _checked_prefix("s3", text, prefix))


def _checked_prefix(kind: Kind, text: str, prefix: str) -> str:
    prefix = prefix.rstrip("/")
    if not prefix:
        return ""
    if len(prefix) > PREFIX_CHARS_MAX:
        why = f"The prefix has {len(prefix)} characters, of at most {PREFIX_CHARS_MAX}."
        raise _invalid(kind, text, why)
    if not all(_PREFIX_PART.fullmatch(part) for part in prefix.split("/")):
        raise _invalid(kind, text, "A part of the prefix is empty or cannot be in a name.")
    return prefix


def _invalid(kind: Kind, text: str, why: str) -> InvalidRequest:
    form = "azureblob://ACCOUNT/CONTAINER" if kind == "azureblob" else "s3://BUCKET/PREFIX"
    return InvalidRequest(
        "InvalidPlace",
        f"{excerpt(text)} is no place of the kind {kind}.",
        why=why,
        fix=f"Write {form}.",
    )

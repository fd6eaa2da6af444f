"""The links of botocore's chain, one by one: what each finds here, without asking any of them.

Layer: credentials. Reads names of the environment and whether files are there; never a value.
Order and conditions: `botocore/credentials.py`, `create_credential_resolver`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ORDER = (
    *("env", "assume-role", "assume-role-with-web-identity", "sso", "shared-credentials-file"),
    *("login", "custom-process", "config-file", "ec2-credentials-file", "boto-config"),
    *("container-role", "iam-role"),
)
"""As `session.get_credentials().method` calls them, in the order in which they are asked."""
_SHARED = "AWS_SHARED_CREDENTIALS_FILE"
_CONFIG = "AWS_CONFIG_FILE"
_WEB = "AWS_WEB_IDENTITY_TOKEN_FILE"
_URI, _FULL_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain, and what it has to go by here."""

    name: str
    said: str


def links(environ: Mapping[str, str]) -> list[Link]:
    """The links that matter outside of a developer's machine, with what each finds."""
    return [
        Link("env", _env(environ)),
        Link("assume-role-with-web-identity", _web_identity(environ)),
        Link("shared-credentials-file", _file(environ, _SHARED, "~/.aws/credentials")),
        Link("config-file", _file(environ, _CONFIG, "~/.aws/config")),
        Link("container-role", _container(environ)),
        Link("iam-role", _instance(environ)),
    ]


def told(found: Sequence[Link]) -> str:
    """In one sentence, without its full stop."""
    return "; ".join(f"{each.name}: {each.said}" for each in found)


def before(link: str) -> list[str]:
    """The links that were asked before this one, and had nothing."""
    return list(ORDER[: ORDER.index(link)]) if link in ORDER else []


def _env(environ: Mapping[str, str]) -> str:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    present = [name for name in names if environ.get(name)]
    if not present:
        return f"{names[0]} is not set"
    missing = [name for name in names if name not in present]
    return f"{missing[0]} is missing beside {present[0]}" if missing else "both keys are set"


def _web_identity(environ: Mapping[str, str]) -> str:
    path = environ.get(_WEB)
    if not path:
        return f"{_WEB} is not set"
    if not environ.get("AWS_ROLE_ARN"):
        return f"AWS_ROLE_ARN is missing beside {_WEB}"
    return f"{path} {_readable(Path(path))}"


def _file(environ: Mapping[str, str], variable: str, usual: str) -> str:
    path = Path(environ.get(variable) or usual)
    if str(path).startswith("~"):
        home = environ.get("HOME")
        path = Path(home or "/nonexistent") / str(path)[2:]
    profile = environ.get("AWS_PROFILE")
    return f"{path} {_readable(path)}{f' (profile {profile})' if profile else ''}"


def _readable(path: Path) -> str:
    try:
        with path.open("rb"):
            return "can be read"
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _container(environ: Mapping[str, str]) -> str:
    present = [name for name in (_URI, _FULL_URI) if environ.get(name)]
    if not present:
        return f"neither {_URI} nor {_FULL_URI} is set: this is no task with a role"
    return f"{present[0]} is set"


def _instance(environ: Mapping[str, str]) -> str:
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return "turned off by AWS_EC2_METADATA_DISABLED"
    return "the metadata service gave no role (in a container its hop limit must be 2)"

"""The list of all settings: section, name, type, default, description. Read from `Settings`."""

import dataclasses
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints

import msgspec

from eventpost.config import descriptions
from eventpost.config.settings import Settings
from eventpost.core.errors import InvalidRequest

ENVIRONMENT_PREFIX = "EVENTPOST_"
DEFAULT = "default"
"""The origin of a value that nobody gave."""

SHORT_VARIABLES = {
    "EVENTPOST_DATA": "server.data",
    "EVENTPOST_LISTEN": "server.listen",
    "EVENTPOST_PUBLIC_URL": "server.public_url",
    "EVENTPOST_ALLOW_PRIVATE": "network.allow_private",
    "EVENTPOST_ALLOW_HTTP": "network.allow_http",
}
"""Shorter names for what containers set most often. The long names win over them."""


DERIVED = frozenset(
    {"grid.retention_ms", "grid.store_bytes_max", "leases.slots_max", "leases.lease_s"}
)
"""Fields that are filled in from other settings, or from what a source declares: not settings
themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as `eventpost config` and the documentation show it."""

    section: str
    key: str
    type: object
    default: object
    description: str

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        return f"{ENVIRONMENT_PREFIX}{self.section}_{self.key}".upper()


@cache
def sections() -> dict[str, type]:
    """The settings' classes by section, in order."""
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


@cache
def settings() -> dict[str, Setting]:
    """Every setting by its full name, in order."""
    found: dict[str, Setting] = {}
    for section, kind in sections().items():
        docstrings = descriptions.of_class(kind)
        for key, annotation, default in _fields(kind):
            setting = Setting(
                section=section,
                key=key,
                type=annotation,
                default=default,
                description=docstrings.get(key) or descriptions.BY_NAME.get(f"{section}.{key}", ""),
            )
            if setting.name not in DERIVED:
                found[setting.name] = setting
    return found


def setting(name: str, *, origin: str) -> Setting:
    """The setting of that name. Raises InvalidRequest naming `origin` and the nearest one."""
    if name in settings():
        return settings()[name]
    near = get_close_matches(name, settings(), n=1)
    raise InvalidRequest(
        "UnknownSetting",
        f"`{name}` is no setting.",
        why=f"It was given by {origin}." + (f" The nearest one is {near[0]}." if near else ""),
        fix="`eventpost config` lists all settings.",
    )


def base_type(annotation: object) -> type | None:
    """`int` of `Annotated[int, ...]` and of `int | None`, `tuple` of `tuple[str, ...]`, None for a
    choice of words."""
    origin = get_origin(annotation)
    if origin in (Annotated, Union, UnionType):
        return base_type(get_args(annotation)[0])
    if isinstance(origin, type):
        return origin
    return annotation if isinstance(annotation, type) else None


def _fields(kind: type) -> list[tuple[str, object, object]]:
    """(name, type, default) of each field of a msgspec Struct or a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    made = kind()
    names = getattr(kind, "__struct_fields__", None) or [
        field.name for field in dataclasses.fields(kind)
    ]
    return [(name, hints[name], getattr(made, name)) for name in names]

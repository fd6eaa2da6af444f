"""The list of all settings: section, name, type, default, description. Read from `Settings`."""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, get_args, get_origin

import msgspec

from eventpost.config.settings import Settings
from eventpost.core.errors import InvalidRequest

ENVIRONMENT_PREFIX = "EVENTPOST_"

SHORT_VARIABLES = {
    "EVENTPOST_DATA": "server.data",
    "EVENTPOST_LISTEN": "server.listen",
    "EVENTPOST_PUBLIC_URL": "server.public_url",
    "EVENTPOST_ALLOW_PRIVATE": "network.allow_private",
    "EVENTPOST_ALLOW_HTTP": "network.allow_http",
}
"""Shorter names for what containers set most often. The long names win over them."""


DERIVED = frozenset({"grid.retention_ms", "grid.store_bytes_max"})
"""Fields that `Settings.grid_limits` fills in from other settings: not settings themselves."""


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
def sections() -> dict[str, type[msgspec.Struct]]:
    """The settings' Structs by section, in order."""
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


@cache
def settings() -> dict[str, Setting]:
    """Every setting by its full name, in order."""
    found: dict[str, Setting] = {}
    for section, struct in sections().items():
        descriptions = _descriptions(struct)
        for field in msgspec.structs.fields(struct):
            setting = Setting(
                section=section,
                key=field.name,
                type=field.type,
                default=_default(field),
                description=descriptions.get(field.name, ""),
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
    """`int` of `Annotated[int, ...]`, `tuple` of `tuple[str, ...]`, None for a choice of words."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin = get_origin(annotation)
    if isinstance(origin, type):
        return origin
    return annotation if isinstance(annotation, type) else None


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    assert field.default_factory is not msgspec.NODEFAULT, f"{field.name} has no default"
    return field.default_factory()


def _descriptions(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The docstrings below a Struct's fields, read from the source: the compiler drops them."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(struct))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            found[statement.target.id] = " ".join(following.value.value.split())
    return found

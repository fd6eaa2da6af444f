"""Settings from the environment: `EVENTPOST_SECTION_NAME`, and short names for the commonest."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from eventpost.config import quantities
from eventpost.config.inventory import (
    ENVIRONMENT_PREFIX,
    SHORT_VARIABLES,
    Setting,
    base_type,
    sections,
    settings,
)
from eventpost.core.errors import InvalidRequest

TOKEN_VARIABLE = "EVENTPOST_TOKEN"  # noqa: S105 - the name of a variable, not a token
URL_VARIABLE = "EVENTPOST_URL"
CONFIG_VARIABLE = "EVENTPOST_CONFIG"

# What Kubernetes puts into every container beside a service whose name begins with "eventpost".
_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)\Z")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def overrides(environment: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    """Values by setting name, each with the variable it came from.

    An empty variable counts as not set. Raises InvalidRequest for a variable that is spelt like a
    setting and is none, and for text that does not fit the setting's type.
    """
    by_variable = {setting.variable: setting for setting in settings().values()}
    found: dict[str, tuple[object, str]] = {}
    for variable, name in SHORT_VARIABLES.items():
        if environment.get(variable):
            found[name] = parse(settings()[name], environment[variable], variable), variable
    if environment.get(TOKEN_VARIABLE):
        found["server.admin_token"] = f"env:{TOKEN_VARIABLE}", TOKEN_VARIABLE
    for variable, text in environment.items():
        if not text or not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        if variable in by_variable:
            setting = by_variable[variable]
            found[setting.name] = parse(setting, text, variable), variable
        elif _looks_like_a_setting(variable):
            raise _unknown(variable, list(by_variable))
    return found


def parse(setting: Setting, text: str, origin: str) -> object:
    """The value that `text` means for a setting. `origin` is named in the error."""
    try:
        return _parse(setting, text.strip())
    except ValueError as error:
        raise InvalidRequest(
            "InvalidSetting",
            f"{setting.name}: {error}.",
            why=f"It was given by {origin}.",
            fix=f"{setting.description} The default is {setting.default!r}.",
        ) from error


def _parse(setting: Setting, text: str) -> object:
    kind = base_type(setting.type)
    if kind is bool:
        return _boolean(text)
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind not in (int, float):
        return text
    return quantities.number(setting.key, text, is_whole=kind is int)


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"`{text}` is neither true nor false")


def _looks_like_a_setting(variable: str) -> bool:
    rest = variable.removeprefix(ENVIRONMENT_PREFIX)
    section = rest.partition("_")[0].lower()
    return section in sections() and not _KUBERNETES.search(variable)


def _unknown(variable: str, known: list[str]) -> InvalidRequest:
    near = get_close_matches(variable, known, n=1)
    return InvalidRequest(
        "UnknownSetting",
        f"The environment variable {variable} names no setting.",
        why=f"The nearest one is {near[0]}." if near else "",
        fix="Correct or remove it; `eventpost config` lists all settings.",
    )

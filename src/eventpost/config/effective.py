"""The settings that hold: flags before environment before file before defaults, with origins."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from eventpost.config import environment as environment_settings
from eventpost.config.checks import check
from eventpost.config.file import ConfigFile
from eventpost.config.inventory import DEFAULT, Setting, sections, settings
from eventpost.config.settings import Settings
from eventpost.core.errors import InvalidRequest

_PASSWORD = re.compile(r"(//[^/@:]*:)[^/@]*@")


@dataclass(frozen=True, slots=True)
class Effective:
    """Settings, checked, and where each came from: a flag, a variable, `FILE:LINE`, `default`."""

    settings: Settings
    origins: dict[str, str]

    def value(self, setting: Setting) -> object:
        return getattr(getattr(self.settings, setting.section), setting.key)

    def shown(self, setting: Setting) -> object:
        """The value as it may be printed: the password of a URL is masked."""
        value = self.value(setting)
        return _PASSWORD.sub(r"\1***@", value) if isinstance(value, str) else value


def settle(
    *,
    flags: Mapping[str, tuple[object, str]],
    environment: Mapping[str, str],
    file: ConfigFile | None = None,
) -> Effective:
    """Settle every setting. `flags` holds values by setting name, each with the option's name.

    Raises InvalidRequest naming the setting and the origin of a value that does not fit.
    """
    given: dict[str, tuple[object, str]] = {}
    if file is not None:
        given.update(file.settings)
    for name, (value, variable) in environment_settings.overrides(environment).items():
        given[name] = value, f"environment {variable}"
    given.update(flags)
    by_section: dict[str, dict[str, object]] = {section: {} for section in sections()}
    origins = {}
    for setting in settings().values():
        value, origins[setting.name] = given.get(setting.name, (None, DEFAULT))
        if setting.name in given:
            by_section[setting.section][setting.key] = _typed(setting, value, origins[setting.name])
    built = {
        section: _section(section, struct, by_section[section])
        for section, struct in sections().items()
    }
    effective = Effective(msgspec.structs.replace(Settings(), **built), origins)
    check(effective.settings, origins)
    return effective


def _section(name: str, struct: type, values: dict[str, object]) -> object:
    """Raises InvalidRequest for values that contradict each other."""
    try:
        return struct(**values)
    except ValueError as error:
        raise InvalidRequest(
            "InvalidSetting",
            f"{name}: {error}.",
            fix="`eventpost config` shows the settings and where each came from.",
        ) from error


def _typed(setting: Setting, value: object, origin: str) -> object:
    try:
        return msgspec.convert(value, setting.type)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            "InvalidSetting",
            f"{setting.name}: {_plain(str(error))}.",
            why=f"It was given by {origin}.",
            fix=f"{setting.description} The default is {setting.default!r}.",
        ) from error


def _plain(text: str) -> str:
    """msgspec's words without its path, which is the setting's name."""
    return text.partition(" - at `$")[0].replace("`", "")

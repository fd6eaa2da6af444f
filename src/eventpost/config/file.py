"""`eventpost.yaml`: its settings, and the topics, domains, subscriptions, connections and sources
that it declares.

Every mistake is named with file and line, an unknown key with the nearest known one.
"""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from eventpost.config import quantities, yaml12
from eventpost.config.inventory import Setting, base_type, sections, settings
from eventpost.config.yaml12 import Document
from eventpost.core.errors import InvalidRequest

DECLARATIONS = ("connections", "topics", "domains", "subscriptions", "sources")


@dataclass(slots=True)
class ConfigFile:
    """A file's content, settings checked for their names, declarations as they stand."""

    document: Document
    settings: dict[str, tuple[object, str]] = field(default_factory=dict)
    """Values by setting name, each with `FILE:LINE`."""
    topics: dict[str, object] = field(default_factory=dict)
    domains: dict[str, object] = field(default_factory=dict)
    subscriptions: dict[str, object] = field(default_factory=dict)
    connections: dict[str, object] = field(default_factory=dict)
    sources: dict[str, object] = field(default_factory=dict)

    @property
    def has_declarations(self) -> bool:
        return any(getattr(self, name) for name in DECLARATIONS)


def load(path: str) -> ConfigFile:
    """Read a file. Raises InvalidRequest when it cannot be read or says something unknown."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidRequest(
            "FileNotReadable",
            f"{path} cannot be read: {reason}.",
            fix="Give the path of a readable YAML file.",
        ) from error
    return parse(text, name=path)


def parse(text: str, *, name: str) -> ConfigFile:
    """The same from text; `name` stands for the file in errors."""
    document = yaml12.read(text, name=name)
    config = ConfigFile(document)
    root = mapping(document, document.value, ())
    for key, value in root.items():
        _read(config, key, value)
    return config


def part(document: Document, key: str, value: object) -> ConfigFile:
    """One part of a file alone: a section of settings, or the declarations of one kind.

    Raises InvalidRequest for what that part says.
    """
    config = ConfigFile(document)
    _read(config, key, value)
    return config


def _read(config: ConfigFile, key: str, value: object) -> None:
    document = config.document
    if key in DECLARATIONS:
        getattr(config, key).update(mapping(document, value, (key,)))
    elif key in sections():
        _read_section(config, key, mapping(document, value, (key,)))
    else:
        raise unknown_key(document, (key,), [*DECLARATIONS, *sections()])


def mapping(document: Document, value: object, path: yaml12.Path) -> dict[str, object]:
    """`value` as a mapping; nothing at all counts as an empty one."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    where = ".".join(map(str, path)) or "the file"
    raise InvalidRequest(
        "InvalidFile",
        f"{document.place(path)}: {where} must be a mapping (`key: value` lines).",
        why=f"It is {_article(value)}.",
        fix="Indent its keys below it.",
    )


def unknown_key(document: Document, path: yaml12.Path, known: list[str]) -> InvalidRequest:
    """The error for a key that means nothing, with the nearest one that does."""
    where = ".".join(map(str, path))
    near = get_close_matches(str(path[-1]), known, n=1)
    return InvalidRequest(
        "UnknownKey",
        f"{document.place(path)}: `{where}` is unknown.",
        why=f"The nearest known key is `{near[0]}`." if near else "",
        fix=f"Known here: {', '.join(sorted(known))}.",
    )


def _read_section(config: ConfigFile, section: str, values: dict[str, object]) -> None:
    known = [setting.key for setting in settings().values() if setting.section == section]
    for key, value in values.items():
        if key not in known:
            raise unknown_key(config.document, (section, key), known)
        setting = settings()[f"{section}.{key}"]
        place = config.document.place((section, key))
        config.settings[setting.name] = _value(setting, value, place), place


def _value(setting: Setting, value: object, place: str) -> object:
    """Text with a unit becomes the number it means; types are checked with all other origins."""
    kind = base_type(setting.type)
    if not isinstance(value, str) or kind not in (int, float):
        return value
    try:
        return quantities.number(setting.key, value, is_whole=kind is int)
    except ValueError as error:
        raise InvalidRequest(
            "InvalidSetting",
            f"{place}: {setting.name}: {error}.",
            fix=f"{setting.description} The default is {setting.default!r}.",
        ) from error


def _article(value: object) -> str:
    names: dict[type, str] = {list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "a number")

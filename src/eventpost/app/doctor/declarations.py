"""What there is to examine: from a file, however broken, or from what a server holds.

Layer: app. A mistake in a file is a fault of the thing that it stands in, and of nothing else.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from eventpost.config import declared, effective, file, yaml12
from eventpost.config.file import ConfigFile
from eventpost.config.settings import Settings
from eventpost.core.errors import InvalidRequest
from eventpost.registry.declarations import (
    ConnectionDeclaration,
    SourceDeclaration,
    SubscriptionDeclaration,
    TopicDeclaration,
)

Declared = TypeVar("Declared", bound=msgspec.Struct)
FILE_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """Something declared that cannot be used."""

    kind: str
    name: str
    error: InvalidRequest


@dataclass(slots=True)
class Declarations:
    """Everything that can be examined, and what is wrong with the rest."""

    settings: Settings = field(default_factory=Settings)
    connections: list[ConnectionDeclaration] = field(default_factory=list)
    topics: list[TopicDeclaration] = field(default_factory=list)
    sources: list[SourceDeclaration] = field(default_factory=list)
    subscriptions: list[SubscriptionDeclaration] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def of_file(path: str) -> Declarations:
    """What a file declares. Raises nothing for what the file says: that is a problem of it."""
    try:
        if Path(path).stat().st_size > FILE_BYTES_MAX:
            raise InvalidRequest("FileTooLarge", f"{path} has more than {FILE_BYTES_MAX} bytes.")
        document = yaml12.read(Path(path).read_text(encoding="utf-8"), name=path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        unreadable = InvalidRequest("FileNotReadable", f"{path} cannot be read: {reason}.")
        return Declarations(problems=[Problem("configuration", path, unreadable)])
    except InvalidRequest as error:
        return Declarations(problems=[Problem("configuration", path, error)])
    return _of_document(document, path)


def of_values(values: object) -> Declarations:
    """The same of values that are at hand already, as `eventpost.yaml` would hold them."""
    text = msgspec.json.encode(values).decode()  # JSON is YAML, and the reader checks it all
    try:
        return _of_document(yaml12.read(text, name="config"), "config")
    except InvalidRequest as error:
        return Declarations(problems=[Problem("configuration", "config", error)])


def _of_document(document: yaml12.Document, path: str) -> Declarations:
    found = Declarations()
    config = _lenient(document, path, found.problems)
    found.settings = _settings(config, path, found.problems)
    limits = found.settings.limits

    def each(
        section: str, kind: str, read: Callable[[ConfigFile], Iterable[Declared]]
    ) -> list[Declared]:
        return _each(config, section, kind, read, found.problems)

    found.topics = each("topics", "topic", declared.declared_topics)
    found.topics += each("domains", "domain", lambda one: declared.declared_domains(one, limits))
    found.connections = each(
        "connections", "connection", lambda one: declared.declared_connections(one, limits)
    )
    found.sources = each("sources", "source", lambda one: declared.declared_sources(one, limits))
    found.subscriptions = each(
        "subscriptions", "subscription", lambda one: declared.declared_subscriptions(one, limits)
    )
    return found


def _lenient(document: yaml12.Document, path: str, problems: list[Problem]) -> ConfigFile:
    """The file section by section: what cannot be read is a problem, and the rest is kept."""
    config = ConfigFile(document)
    root = document.value if isinstance(document.value, dict) else {}
    if not isinstance(document.value, dict) and document.value is not None:
        problems.append(Problem("configuration", path, _no_mapping(path)))
    for key, value in root.items():
        try:
            part = file.part(document, key, value)
        except InvalidRequest as error:
            problems.append(Problem("configuration", f"{path}, {key}", error))
            continue
        config.settings.update(part.settings)
        for name in file.DECLARATIONS:
            getattr(config, name).update(getattr(part, name))
    return config


def _no_mapping(path: str) -> InvalidRequest:
    return InvalidRequest(
        "InvalidFile", f"{path} is no mapping (`key: value` lines).", fix="Write sections."
    )


def _settings(config: ConfigFile, path: str, problems: list[Problem]) -> Settings:
    try:
        return effective.settle(flags={}, environment=os.environ, file=config).settings
    except InvalidRequest as error:
        problems.append(Problem("configuration", path, error))
        return Settings()


def _each(
    config: ConfigFile,
    section: str,
    kind: str,
    read: Callable[[ConfigFile], Iterable[Declared]],
    problems: list[Problem],
) -> list[Declared]:
    """Each declaration of a section for itself."""
    found: list[Declared] = []
    for key, value in getattr(config, section).items():
        alone = ConfigFile(config.document)
        getattr(alone, section)[key] = value
        try:
            found += read(alone)
        except InvalidRequest as error:
            problems.append(Problem(kind, str(key), error))
    return found

"""What a connection and a source may be, but for what their kinds check themselves."""

import re

import msgspec

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import (
    LIMITS,
    Limits,
    check_between,
    check_count,
    check_name,
    excerpt,
)
from eventpost.core.sources import (
    DEFAULTED,
    EVERYTHING_MAPPED,
    MAPPED,
    MAPPING_ROOTS,
    Connection,
    InputMapping,
    MessageFormat,
    Source,
)

_CODE = "InvalidSource"
_MAPPING = "InvalidMapping"
_PASSWORD = re.compile(r"//[^/?#\s]*:[^/?#\s]*@")
_encode = msgspec.json.Encoder().encode


def check_connection(connection: Connection, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless the name and the size of the settings are in bounds."""
    check_name("connection", connection.name, limits)
    check_settings("settings", connection.settings, limits)


def check_source(source: Source, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest for the first thing in `source` that is out of bounds.

    Whether its topic, its connection and its kind exist is not asked here.
    """
    check_name("source", source.name, limits)
    check_queue_name(source.queue, limits)
    check_settings("options", source.options, limits)
    least, most = limits.lease_s_min, limits.lease_s_max
    check_between(_CODE, "The lease in seconds", source.lease_s, least, most)
    check_between(_CODE, "The prefetch", source.prefetch, 1, limits.prefetch_max)
    receives, receives_max = source.receives_max, limits.receives_max
    check_between(_CODE, "The number of receives", receives, 1, receives_max)
    _check_mapping(source.mapping, source.format, limits)


def check_queue_name(name: str, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless `name` can be a queue's; what it means its system knows."""
    if not name or name != name.strip() or not name.isprintable():
        raise InvalidRequest(
            _CODE,
            f"{excerpt(name)} cannot be a queue.",
            why="It is empty, or holds blanks around it or characters that cannot be printed.",
            fix="Give the queue's name, URL or ARN, or a topic, as the system has it.",
        )
    check_count(_CODE, "characters in the queue's name", len(name), 1, limits.queue_chars_max)


def check_settings(what: str, settings: dict[str, object], limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless free settings are small enough to be kept, and hold no URL with
    a password in it."""
    _check_passwords(what, settings)
    size, most = len(_encode(settings)), limits.settings_bytes_max
    if size > most:
        raise InvalidRequest(
            "InvalidSettings",
            f"The {what} have {size} bytes as JSON.",
            fix=f"Keep them below {most} bytes; put what is long into a file and name it.",
        )


def _check_passwords(path: str, value: object) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _check_passwords(f"{path}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_passwords(f"{path}[{index}]", item)
    elif isinstance(value, str) and _PASSWORD.search(value):
        raise InvalidRequest(
            "SecretNotAReference",
            f"{path} is a URL that holds a password.",
            why="Secrets are named, never written down in settings.",
            fix="Give the user and the password apart, the password as env:NAME or file:PATH.",
        )


def _check_mapping(mapping: InputMapping, format: MessageFormat, limits: Limits) -> None:  # noqa: A002
    if mapping == InputMapping():
        return
    if format is not MessageFormat.RAW:
        raise InvalidRequest(
            _MAPPING,
            f"A source of the format {format.value} has no input mapping.",
            why="Only raw messages do not say themselves what they are.",
            fix="Leave the mapping out, or use the format raw.",
        )
    _check_names("fields", mapping.fields, MAPPED, limits)
    _check_names("defaults", mapping.defaults, DEFAULTED, limits)
    for name, path in mapping.fields.items():
        parts = path.split(".")
        if parts[0] not in MAPPING_ROOTS or len(parts) < 2 or not all(map(str.strip, parts)):
            raise InvalidRequest(
                _MAPPING,
                f"The field {name} is taken from {excerpt(path)}, which is no path.",
                fix="Write data.NAME for the message's JSON, attributes.NAME or system.NAME.",
            )


def check_topic_mapping(mapping: InputMapping, limits: Limits = LIMITS) -> None:
    """Raises InvalidRequest unless the mapping of a custom input schema holds known names, each
    with a path."""
    _check_names("fields", mapping.fields, EVERYTHING_MAPPED, limits)
    _check_names("defaults", mapping.defaults, DEFAULTED, limits)
    for name, path in mapping.fields.items():
        if not all(map(str.strip, path.split("."))):
            raise InvalidRequest(
                _MAPPING,
                f"The field {name} is taken from {excerpt(path)}, which is no path.",
                fix="Write the name of a field of the event, or a path such as order.kind.",
            )


def _check_names(what: str, mapped: dict[str, str], known: tuple[str, ...], limits: Limits) -> None:
    for name, value in mapped.items():
        if name not in known:
            raise InvalidRequest(
                _MAPPING,
                f"There is no {name!r} among the mapping's {what}.",
                fix=f"Known here: {', '.join(known)}.",
            )
        most = limits.mapping_chars_max
        check_count(_MAPPING, f"characters in the mapping of {name}", len(value), 1, most)

"""Requests of the namespaces protocol, read: paths, queries, bodies. Pure.

Rules: Azure/azure-rest-api-specs, specification/eventgrid/Azure.Messaging.EventGrid (2024-06-01).
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

import msgspec

from eventpost.config.settings import PullSettings
from eventpost.core.errors import InvalidEvent
from eventpost.formats import bodies
from eventpost.formats.publish import QUERY_FIELDS_MAX

API_VERSIONS = ("2024-06-01", "2023-11-01", "2023-10-01-preview", "2023-06-01-preview")
EVENTS_DEFAULT = 1
WAIT_S_DEFAULT = 60
RELEASE_DELAYS_S = (0, 10, 60, 600, 3_600)

_PATH = re.compile(
    rb"/topics/([^/:]+)(?::(publish)|/eventsubscriptions/([^/:]+)"
    rb":(receive|acknowledge|release|reject|renewlock))",
    re.IGNORECASE,
)


class Called(NamedTuple):
    """What a path asks for; `subscription` is "" for publish. `operation` is in lower case."""

    topic: str
    subscription: str
    operation: str


def called(path: bytes) -> Called | None:
    """None for a path that is not of this protocol."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    topic, publish, subscription, operation = match.groups()
    name = unquote((subscription or b"").decode("latin-1"))
    return Called(unquote(topic.decode("latin-1")), name, (publish or operation).decode().lower())


class Query:
    """The query of one request. Every reader raises InvalidEvent (400)."""

    def __init__(self, query: bytes) -> None:
        try:
            self._values = parse_qs(
                query.decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX
            )
        except ValueError:
            what = f"The query has more than {QUERY_FIELDS_MAX} fields."
            raise bodies.invalid(what) from None
        version = self._text("api-version")
        if version is not None and version not in API_VERSIONS:
            raise bodies.invalid(
                f"The api-version '{bodies.excerpt(version)}' is not supported. "
                f"The supported versions are {', '.join(API_VERSIONS)}."
            )

    def events(self, settings: PullSettings) -> int:
        return self._whole("maxEvents", EVENTS_DEFAULT, 1, settings.events_max)

    def wait_s(self, settings: PullSettings) -> int:
        default = min(WAIT_S_DEFAULT, settings.wait_s_max)
        return self._whole("maxWaitTime", default, 0, settings.wait_s_max)

    def release_delay_s(self) -> int:
        delay_s = self._whole("releaseDelayInSeconds", 0, 0, RELEASE_DELAYS_S[-1])
        if delay_s not in RELEASE_DELAYS_S:
            raise bodies.invalid(
                f"releaseDelayInSeconds is {delay_s}. It must be one of "
                f"{', '.join(map(str, RELEASE_DELAYS_S))}."
            )
        return delay_s

    def _whole(self, name: str, default: int, least: int, most: int) -> int:
        text = self._text(name)
        if text is None:
            return default
        is_whole = text.isascii() and text.isdigit() and len(text) <= 9
        if not is_whole or not least <= int(text) <= most:
            raise bodies.invalid(
                f"{name} is '{bodies.excerpt(text)}'. It must be a whole number from {least} to "
                f"{most}."
            )
        return int(text)

    def _text(self, name: str) -> str | None:
        found = self._values.get(name)
        return found[0] if found else None


class _Body(msgspec.Struct):
    lockTokens: list[str]  # noqa: N815 - Event Grid's name


_decode_body = msgspec.json.Decoder(_Body).decode


def lock_tokens(body: bytes, count_max: int) -> list[str]:
    """`lockTokens` of a body, at least one. Raises InvalidEvent (400)."""
    try:
        found = _decode_body(body).lockTokens
    except bodies.JSON_ERRORS:
        raise _no_tokens() from None
    if not 1 <= len(found) <= count_max:
        raise bodies.invalid(f"There are {len(found)} lock tokens. There must be 1 to {count_max}.")
    return found


def _no_tokens() -> InvalidEvent:
    return bodies.invalid('The body must be a JSON object such as {"lockTokens":["..."]}.')

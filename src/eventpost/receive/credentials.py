"""Who may deliver here: whoever has a secret, and whose signature verifies.

Layer: receive. Secrets are compared in a time that tells nothing about them.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from eventpost.core.errors import InvalidRequest, Unauthorized
from eventpost.credentials import secrets as references
from eventpost.formats import standardwebhooks

QUERY_FIELDS_MAX = 100


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A text that each request carries, in a header or in the query; several while one is
    rotated."""

    values: tuple[bytes, ...]
    header: str
    query: str

    def check(self, headers: Mapping[str, str], query: str) -> None:
        """Raises Unauthorized unless the request carries one of the values."""
        candidates = []
        if self.header and self.header in headers:
            candidates.append(headers[self.header])
        if self.query:
            candidates += _of_query(query, self.query)
        is_known = False
        for candidate in candidates:
            for value in self.values:
                is_known |= hmac.compare_digest(candidate.encode("utf-8", "replace"), value)
        if not is_known:
            raise Unauthorized(
                "SecretWrong",
                "The secret is wrong." if candidates else "The secret is missing.",
                why=f"It is expected in {self._place()}.",
                fix="Give the event subscription the secret that its receiver knows.",
            )

    def _place(self) -> str:
        places = [f"the header {self.header}"] if self.header else []
        return " or ".join(places + ([f"the query as {self.query}"] if self.query else []))


def shared_secret(values: Sequence[str], header: str | None, query: str | None) -> SharedSecret:
    """Raises InvalidRequest for a secret that is empty, or without a place to look for it."""
    if not (header or query):
        raise InvalidRequest(
            "SecretPlaceMissing",
            "A receiver has a secret and no place to look for it.",
            fix="Name it with secret_header or secret_query.",
        )
    if not all(values):
        raise InvalidRequest("SecretEmpty", "A secret of the receiver is empty.")
    found = tuple(_resolved(value).encode() for value in values)
    return SharedSecret(found, (header or "").lower(), query or "")


def signing_keys(values: Sequence[str]) -> tuple[bytes, ...]:
    """Raises InvalidRequest for a secret that cannot be had or is none."""
    return tuple(standardwebhooks.key(_resolved(value)) for value in values)


def _resolved(value: str) -> str:
    return references.resolve(value) if references.is_reference(value) else value


def _of_query(query: str, name: str) -> list[str]:
    try:
        values = parse_qs(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return []
    # A secret in base64 has no blanks: such a one is a `+` that was not encoded.
    return [text for value in values.get(name, []) for text in {value, value.replace(" ", "+")}]

"""Hides what may be secret in declared values, and recognises a hidden value that comes back.

A value that a reader got masked and sends back unchanged means "as it was".
"""

from urllib.parse import SplitResult, urlsplit, urlunsplit

MASK = "***"


def masked_url(url: str) -> str:
    """`url` without a password in the authority and without the values of its query.

    Webhook addresses often carry a key there (`?code=...`).
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    if not parts.query and parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=_netloc(parts), query=_query(parts.query)))


def _netloc(parts: SplitResult) -> str:
    if parts.password is None:
        return parts.netloc
    return f"{parts.username}:{MASK}@{parts.netloc.rpartition('@')[2]}"


def _query(query: str) -> str:
    return "&".join(
        f"{name}={MASK}" if separator else MASK
        for name, separator, _ in (pair.partition("=") for pair in query.split("&"))
        if name or separator
    )

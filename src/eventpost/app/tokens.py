"""Bearer tokens as the settings have them, and the thread that fetches issuers' keys.

Layer: app.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from eventpost.app.clock import AppClock
from eventpost.config.settings import Settings
from eventpost.credentials.bearer import Tokens
from eventpost.credentials.bearer_settings import Issuer, TokenLimits, read_grants, read_issuers
from eventpost.credentials.issuer_keys import KeysUnavailable, fetch
from eventpost.diagnosis import codes
from eventpost.telemetry.logs import log


class IssuerKeys:
    """Fetches keys on one thread of its own, and tells on the loop's."""

    def __init__(self, clock: AppClock, ca_file: str, limits: TokenLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._ca_file = ca_file
        self._threads = ThreadPoolExecutor(1, "eventpost-issuers")

    def fetch(self, issuer: Issuer, done: Callable[[str | Exception], None]) -> None:
        self._threads.submit(self._fetch, issuer, done)

    def _fetch(self, issuer: Issuer, done: Callable[[str | Exception], None]) -> None:
        result: str | Exception
        try:
            result = fetch(issuer, self._ca_file, self._limits)
        except KeysUnavailable as error:
            log(
                "tokens.keys_unavailable",
                level=logging.WARNING,
                issuer=issuer.url,
                finding=codes.ISSUER_KEYS_UNAVAILABLE,
                detail=str(error),
            )
            result = error
        try:
            self._clock.call_soon_threadsafe(done, result)
        except RuntimeError:
            return  # the loop was closed first: nobody is left to be told

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def make(settings: Settings, clock: AppClock) -> tuple[Tokens, IssuerKeys] | None:
    """None when no issuer is configured: then no bearer token is accepted."""
    wanted = settings.tokens
    if not wanted.issuers:
        return None
    limits = TokenLimits(**{each.name: getattr(wanted, each.name) for each in fields(TokenLimits)})
    keys = IssuerKeys(clock, settings.network.ca_file, limits)
    issuers, grants = read_issuers(wanted.issuers), read_grants(wanted.roles)
    tokens = Tokens(issuers, wanted.audience, grants, keys.fetch, limits=limits)
    return tokens, keys

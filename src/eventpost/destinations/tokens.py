"""Tokens of Microsoft Entra for webhooks: asked for beside the loop, kept, and renewed in time.

Layer: destinations. One for each tenant and application, shared by all webhooks that want it. As
long as there is a good one nobody waits: it is renewed while it is used. All calls on the loop's
thread.
"""

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from eventpost.core.interfaces import Timer
from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import entra
from eventpost.credentials.azure_evidence import SYSTEM
from eventpost.credentials.entra import Audience, EntraConnection, Token
from eventpost.destinations.threads import Threads
from eventpost.http.client_limits import ClientLimits

DEFAULTS = ClientLimits()
_DOUBLINGS_MAX = 30

Told = Callable[[bytes | Evidence], object]
"""Told the header line, with its end, or why there is none."""


class Clockwork(Protocol):
    """What `kinds.Services` has of these names."""

    @property
    def now_ms(self) -> Callable[[], int]: ...
    @property
    def call_later(self) -> Callable[..., Timer]: ...
    @property
    def call_soon(self) -> Callable[..., object]: ...
    @property
    def call_soon_threadsafe(self) -> Callable[..., object]: ...


@dataclass(slots=True)
class _Waiting:
    told: Told
    timer: Timer | None = None


class Bearer:
    """The token of one audience."""

    def __init__(
        self, audience: Audience, clockwork: Clockwork, threads: Threads, limits: ClientLimits
    ) -> None:
        self._audience = audience
        self._limits = limits
        self._clockwork = clockwork
        self._threads = threads
        self._line = b""
        self._text = ""
        self._due_ms = self._end_ms = 0
        self._failure: Evidence | None = None
        self._failure_count = 0
        self._not_before_ms = 0
        self._is_asking = False
        self._waiting: deque[_Waiting] = deque()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is waited for."""
        return self._is_asking

    def line(self) -> bytes | None:
        """`Authorization`, as long as there is a good token; it is renewed when that is due."""
        now_ms = self._clockwork.now_ms()
        if now_ms >= self._due_ms:
            if now_ms >= self._end_ms:
                return None
            if not self._is_asking and now_ms >= self._not_before_ms:
                self._ask()
        return self._line

    def wait(self, timeout_s: float, told: Told) -> None:
        """Tell of the token once there is one, or why there is none: in a later turn of the loop,
        once, at the latest when the time is over."""
        line = self.line()
        if line is not None:
            self._clockwork.call_soon(told, line)
            return
        if self._failure is not None and self._clockwork.now_ms() < self._not_before_ms:
            self._clockwork.call_soon(told, self._failure_now())
            return
        waiting = _Waiting(told)
        waiting.timer = self._clockwork.call_later(timeout_s, self._gave_up, waiting, timeout_s)
        self._waiting.append(waiting)
        if not self._is_asking:
            self._ask()

    def _failure_now(self) -> Evidence:
        """The last one, with what is left of the time that it asks to wait."""
        assert self._failure is not None
        if self._failure.retry_after_s is None:
            return self._failure
        left_ms = self._not_before_ms - self._clockwork.now_ms()
        return msgspec.structs.replace(self._failure, retry_after_s=-(-left_ms // 1_000))

    def masked(self, text: str) -> str:
        """`text` without the token: an endpoint may repeat what it was sent."""
        return text.replace(self._text, "***") if self._text else text

    def _ask(self) -> None:
        self._is_asking = True

        def job() -> None:
            found = entra.session(self._audience).fetch()
            try:
                self._clockwork.call_soon_threadsafe(self._answered, found)
            except RuntimeError:
                return  # the loop was closed first: nobody is left to be told

        self._threads.submit(job)

    def _answered(self, found: Token | Evidence) -> None:
        self._is_asking = False
        now_ms = self._clockwork.now_ms()
        if isinstance(found, Evidence):
            self._failure = found
            self._not_before_ms = now_ms + self._pause_ms(found, now_ms)
            self._failure_count += 1
            self._tell(found)
            return
        self._failure, self._failure_count, self._not_before_ms = None, 0, 0
        self._keep(found, now_ms)
        self._tell(self._line)

    def _pause_ms(self, failure: Evidence, now_ms: int) -> int:
        """Until then everybody hears of this failure; nobody asks earlier than was asked for."""
        limits = self._limits
        pause_s = limits.token_renew_retry_s
        if now_ms >= self._end_ms:
            pause_s = limits.token_retry_s * (1 << min(self._failure_count, _DOUBLINGS_MAX))
            pause_s = min(pause_s, limits.token_retry_s_max)
        wish_s = min(failure.retry_after_s or 0, limits.token_retry_after_s_max)
        return round(max(pause_s, wish_s) * 1_000)

    def _keep(self, token: Token, now_ms: int) -> None:
        self._end_ms = now_ms + round(token.life_s * 1_000)
        self._due_ms = self._end_ms - round(
            min(self._limits.token_renew_s, token.life_s / 2) * 1_000
        )
        self._text = token.text
        self._line = token.line

    def _tell(self, found: bytes | Evidence) -> None:
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if each.timer is not None:
                each.timer.cancel()
            each.told(found)

    def _gave_up(self, waiting: _Waiting, timeout_s: float) -> None:
        self._waiting.remove(waiting)
        waiting.told(
            Evidence(
                stage=Stage.CREDENTIALS,
                fault=Fault.TIMED_OUT,
                elapsed_ms=round(timeout_s * 1_000),
                system=SYSTEM,
                operation=entra.OPERATION,
                code="TokenSlow",
                detail=f"no token for {self._audience.application} came within {timeout_s:g} s",
            )
        )


class Tokens:
    """The tokens of all webhooks, while somebody wants them."""

    def __init__(self, limits: ClientLimits = DEFAULTS) -> None:
        self._limits = limits
        self._threads = Threads(limits.token_fetches_max, "eventpost-token")
        self._bearers: weakref.WeakValueDictionary[Audience, Bearer] = weakref.WeakValueDictionary()

    def bearer(self, endpoint: Endpoint, settings: EntraConnection, clockwork: Clockwork) -> Bearer:
        """That of this endpoint, which wants one; shared by all that want the same."""
        audience = Audience(
            endpoint.azure_active_directory_tenant_id,
            endpoint.azure_active_directory_application_id_or_uri,
            settings,
        )
        found = self._bearers.get(audience)
        if found is None:
            found = self._bearers[audience] = Bearer(
                audience, clockwork, self._threads, self._limits
            )
        return found

    @property
    def asking_count(self) -> int:
        """Questions under way."""
        return sum(bearer.is_asking for bearer in self._bearers.values())

    def close(self) -> None:
        """No question is asked any more; who waits for an answer gets none."""
        self._threads.close()

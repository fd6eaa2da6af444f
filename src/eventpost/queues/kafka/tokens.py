"""The tokens of one client that signs in to Amazon MSK by IAM, and whether it needs others.

Layer: queues.
"""

from collections.abc import Callable

from eventpost.core.outcomes import Evidence
from eventpost.credentials.msk import MSKTokenProvider

ASK_AGAIN_S = 10.0
"""Between two looks for other keys, while brokers refuse those in hand."""


class NoToken(Exception):
    """None can be had; `evidence` says why."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence.detail)
        self.evidence = evidence


class Tokens:
    """Any thread."""

    def __init__(self, provider: MSKTokenProvider, monotonic_s: Callable[[], float]) -> None:
        self._provider = provider
        self._monotonic_s = monotonic_s
        self._given = ""
        self._asked_s = float("-inf")

    def check(self) -> None:
        """Raises NoToken."""
        try:
            self._provider.current()
        except Exception as error:
            if self._provider.failure is None:
                raise
            raise NoToken(self._provider.failure) from error

    def oauth_cb(self, _config: str) -> tuple[str, float]:
        """For confluent-kafka. Raises what the SDK raises, which librdkafka loses."""
        token = self._provider.current()
        self._given = token.key_id
        return token.value, token.expires_s

    def are_outdated(self) -> bool:
        """Brokers refuse what was given: whether there are other keys. Asked for anew at most every
        `ASK_AGAIN_S`."""
        now_s = self._monotonic_s()
        if now_s - self._asked_s < ASK_AGAIN_S:
            return False
        self._asked_s = now_s
        self._provider.renew()
        try:
            return self._provider.current().key_id != self._given
        except Exception:  # noqa: BLE001 - the provider keeps it as evidence
            return False

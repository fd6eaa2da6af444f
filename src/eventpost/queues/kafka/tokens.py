"""The tokens of one client that signs in to Amazon MSK by IAM, and whether it needs others.

Layer: queues.
"""

from collections.abc import Callable

from msgspec import structs

from eventpost.core.outcomes import EVIDENCE_DETAIL_CHARS_MAX, Evidence, Failed
from eventpost.credentials.msk import MSKTokenProvider, Token
from eventpost.credentials.uncollected import UNCOLLECTED
from eventpost.queues.kafka.refusals import REFUSALS

ASK_AGAIN_S = 10.0
"""Between two looks for other keys, while brokers refuse those in hand."""
OTHER_S_MIN = 60.0
"""A token of the same keys is worth a try when its time differs so much: the clock was set, or it
was so wrong that brokers thought the one before over."""


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
        self._given: Token | None = None
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
        with UNCOLLECTED:
            token = self._provider.current()
            self._given = token
            return token.value, token.expires_s

    def are_outdated(self) -> bool:
        """Brokers refuse what was given: whether there is something else to show them. Looked for
        at most every `ASK_AGAIN_S`."""
        now_s = self._monotonic_s()
        if now_s - self._asked_s < ASK_AGAIN_S:
            return False
        self._asked_s = now_s
        self._provider.renew()
        try:
            found = self._provider.current()
        except Exception:  # noqa: BLE001 - the provider keeps it as evidence
            return False
        given = self._given
        if given is None or found.key_id != given.key_id:
            return True
        return abs(found.signed_s - given.signed_s) >= OTHER_S_MIN


def explained(failed: Failed, provider: MSKTokenProvider, link: str) -> Failed:
    """A broker's refusal of who we are, with the link of the chain that gave the keys and with what
    AWS says of them; any other failure as it is."""
    evidence = failed.evidence
    if evidence.code not in REFUSALS:
        return failed
    evidence = structs.replace(evidence, credential=link)
    opinion = provider.opinion.present
    if opinion is not None:
        detail = f"{opinion.detail}. Kafka says: {evidence.detail}"[:EVIDENCE_DETAIL_CHARS_MAX]
        evidence = structs.replace(evidence, detail=detail)
        said = opinion.evidence
        if said is not None:
            evidence = structs.replace(
                evidence, stage=said.stage, fault=said.fault, system=said.system, code=said.code
            )
    return Failed(evidence, final=failed.final)

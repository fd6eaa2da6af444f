"""One librdkafka producer at a time, and when it is no longer to be trusted.

Layer: kafka. A frozen process runs none of librdkafka's threads: its sockets may be closed or
forgotten on the way (a load balancer's after 350 s, a broker's after 10 minutes), and the token it
holds may have ended (900 s), none of which it knows when it wakes.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from eventpost.core.outcomes import Evidence, Failed
from eventpost.credentials.msk import MSKTokenProvider
from eventpost.credentials.uncollected import UNCOLLECTED
from eventpost.kafka.telling import LOG, Telling, ToldCauses
from eventpost.queues.kafka.clients import Cluster, Made
from eventpost.queues.kafka.settings import KafkaConnection, token_provider
from eventpost.queues.kafka.tokens import explained

TOKEN_LEFT_S_MIN = 120.0
"""librdkafka renews at 80 % of a token's life, 180 s before its end: with less left, it slept."""
PURGE_S_MAX = 0.1
REFUSED = "SASL_AUTHENTICATION_FAILED"


class Producers:
    """Makes the producer on first use. Any thread."""

    def __init__(
        self,
        connection: KafkaConnection,
        client_id: str,
        settings: Mapping[str, object],
        *,
        rest_s_max: float,
        log_every_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._telling = Telling(log_every_s, monotonic_s)
        self.causes = ToldCauses(self._telling, monotonic_s)
        self._cluster = Cluster(connection, client_id, self.causes)
        self._settings = settings
        self._rest_s_max = rest_s_max
        self._monotonic_s = monotonic_s
        self._now_s = now_s
        self._made: Made[Any] = Made(self._new)
        self._tokens: Tokens | None = None
        self._used: tuple[float, float] | None = None
        self._reason = "first use"
        self._is_broken = False
        self.generation = 0
        """Grows when a producer is forgotten."""

    @property
    def present(self) -> Any:
        return self._made.present

    def get(self) -> Any:
        """The producer, or Failed: no token could be had, or the settings are refused."""
        if self.present is None and self._cluster.connection.auth == "msk-iam":
            failure = self._checked_token()
            if failure is not None:
                return failure
        return self._cluster.attempt("send", self._made.get)

    def refresh(self) -> bool:
        """Whether the producer was forgotten, because it may be of no use any more. Counts as a
        use: call it before each."""
        distrust = self._distrust()
        self._used = (self._monotonic_s(), self._now_s())
        if distrust:
            self.forget(distrust)
        return bool(distrust)

    def forget(self, reason: str) -> None:
        """The next use makes another. What this one still holds is dropped, not sent."""
        producer = self.present
        if producer is not None:
            self.generation += 1
            self._reason, self._is_broken = reason, False
            self._made.forget(producer)
            producer.purge(blocking=False)
            producer.flush(PURGE_S_MAX)

    def broken(self) -> None:
        """An error that the producer cannot outlive. For its callbacks, which must not end it."""
        self._is_broken = True

    def failed(self, error: Any, elapsed_s: float = 0.0) -> Failed:
        """What librdkafka's error means, with the cause it told of before."""
        failed = self.causes.failed(error, "send", elapsed_s)
        if failed.evidence.code != REFUSED or self._tokens is None:
            return failed
        # Brokers do not say what they refuse about a token: tell whose it was, and find it anew.
        provider = self._tokens.provider
        found = explained(failed, provider, provider.session.report().link)
        provider.renew()
        return found

    def tell_failed_delivery(self, evidence: Evidence) -> None:
        self._telling.failed("delivery", evidence)

    def _distrust(self) -> str:
        """Why the producer is not to be trusted; "" when it is, or there is none.

        A frozen virtual machine's monotonic clock may stand still, a stopped process's does not:
        the longer of the two is how long it rested.
        """
        if self.present is None or self._used is None:
            return ""
        if self._is_broken:
            return "it met a fatal error"
        monotonic_s, wall_s = self._used
        rest_s = max(self._monotonic_s() - monotonic_s, self._now_s() - wall_s)
        if rest_s > self._rest_s_max:
            return f"it rested for {rest_s:.0f} s"
        if self._tokens is not None and self._tokens.is_outdated(self._now_s()):
            return "its token is nearly over"
        return ""

    def _new(self) -> Any:
        from confluent_kafka import Producer

        settings = self._cluster.settings(**self._settings)
        if self._tokens is not None:
            settings["oauth_cb"] = self._tokens.oauth_cb
        LOG.info(
            "connect to %s as %s: %s",
            settings["bootstrap.servers"],
            settings["client.id"],
            self._reason,
        )
        return Producer(settings)

    def _checked_token(self) -> Failed | None:
        """Asked before librdkafka does, which would wait for ten seconds and lose the reason."""
        made = self._cluster.attempt("connect", self._known_tokens)
        if isinstance(made, Failed):
            return made
        evidence = made.refusal()
        return None if evidence is None else Failed(evidence)

    def _known_tokens(self) -> "Tokens":
        if self._tokens is None:
            provider = token_provider(self._cluster.connection)
            self._tokens = Tokens(provider, self._telling)
            self.causes.credentials = self._tokens.evidence
            self.causes.on_refusal = provider.opinion.ask
        return self._tokens


class Tokens:
    """A provider whose renewals and failures are logged, and the end of the token given last."""

    def __init__(self, provider: MSKTokenProvider, telling: Telling) -> None:
        self.provider = provider
        self._telling = telling
        self._given_until_s = float("inf")
        self._failure: Evidence | None = None

    def oauth_cb(self, config: str) -> tuple[str, float]:
        """For confluent-kafka. Raises what the SDK raises."""
        with UNCOLLECTED:
            return self._told(config)

    def _told(self, config: str) -> tuple[str, float]:
        try:
            value, expires_s = self.provider.oauth_cb(config)
        finally:
            # Told here, for librdkafka loses what this raises.
            self._failure = self.provider.failure
            if self._failure is not None:
                self._telling.failed("credentials", self._failure)
        if expires_s != self._given_until_s:
            LOG.info(
                "token by %s until %s",
                self.provider.session.report().link,
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_s)),
            )
        self._given_until_s = expires_s
        return value, expires_s

    def refusal(self) -> Evidence | None:
        """Why there is no token; None when there is one. Raises what is no failure of AWS's."""
        try:
            self.oauth_cb("")
        except Exception:
            if self._failure is None:
                raise
            return self._failure
        return None

    def is_outdated(self, now_s: float) -> bool:
        """Whether the token given last is over or nearly so, and there is a better one or none."""
        given_until_s = self._given_until_s
        if given_until_s - now_s >= TOKEN_LEFT_S_MIN:
            return False
        if self.refusal() is not None:
            return True
        is_over = given_until_s <= now_s < self._given_until_s
        return is_over or self._given_until_s - now_s >= TOKEN_LEFT_S_MIN

    def evidence(self) -> Evidence | None:
        return self._failure

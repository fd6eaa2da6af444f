"""How librdkafka's clients are made, and remade where they cannot live on: after a fork, and after
an error that librdkafka calls fatal.

Layer: queues. Making one blocks for a second where tokens are used, and for ten when they cannot be
had: never call from an event loop.
"""

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Failed, Fault
from eventpost.credentials.msk import MSKTokenProvider
from eventpost.queues.kafka import refusals
from eventpost.queues.kafka.refusals import Causes, Logged
from eventpost.queues.kafka.settings import KafkaConnection, client_settings, token_provider
from eventpost.queues.kafka.tokens import NoToken, Tokens, explained

Client = TypeVar("Client")

_ABANDONED: list[object] = []
"""A forked child's copies of its parent's clients: to end them would wait for threads that are not
there."""


class Made(Generic[Client]):
    """One client, made on first use. Any thread."""

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._pid = os.getpid()

    def get(self) -> Client:
        """Raises what making it raises; the next call tries again."""
        if self._pid != os.getpid():
            _ABANDONED.append(self._client)
            self._lock, self._client, self._pid = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def forget(self, client: Client) -> None:
        """It cannot live on: the next call makes another."""
        with self._lock:
            if self._client is client:
                self._client = None

    @property
    def present(self) -> Client | None:
        return self._client if self._pid == os.getpid() else None


class Cluster:
    """The settings of one connection, what its clients said last, and who they are."""

    def __init__(self, connection: KafkaConnection, client_id: str, causes: Causes) -> None:
        self.connection = connection
        self.causes = causes
        causes.credentials = self._credentials
        self._client_id = client_id
        self._provider: MSKTokenProvider | None = None
        self._link = ""
        """Which link of the chain answered last."""
        self._tokens: dict[int, Tokens] = {}
        self.admin: Made[Any] = Made(self._new_admin)

    @property
    def request_s(self) -> float:
        return self.connection.request_timeout_ms / 1000

    def settings(self, **more: object) -> dict[str, Any]:
        """For one client. Raises InvalidRequest."""
        settings = client_settings(self.connection, self._client_id)
        return settings | {"error_cb": self.causes.error_cb, "logger": Logged(self.causes)} | more

    def made(self, kind: Callable[..., Client], **more: object) -> Client:
        """A client with these settings beside those of all. Raises InvalidRequest, what librdkafka
        raises, and NoToken: known at once, while librdkafka would wait for ten seconds and lose the
        reason."""
        settings = self.settings(**more)
        if self.connection.auth != "msk-iam":
            return kind(settings)
        if self._provider is None:
            self._provider = token_provider(self.connection)
            self.causes.on_refusal = self._provider.opinion.ask
        tokens = Tokens(self._provider, self.causes.monotonic_s)
        tokens.check()
        self._link = self._provider.report().link or self._link
        client = kind(settings | {"oauth_cb": tokens.oauth_cb})
        self._tokens[id(client)] = tokens
        return client

    def is_outdated(self, client: object) -> bool:
        """Whether brokers refuse its token, and there is another by now. librdkafka itself would
        ask for one at 80 % of the old one's life. May ask the credentials' service."""
        tokens = self._tokens.get(id(client))
        return tokens is not None and self.causes.is_refused and tokens.are_outdated()

    def ended(self, client: object) -> None:
        """Nobody uses it any more."""
        self._tokens.pop(id(client), None)

    def _new_admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        return self.made(lambda settings: AdminClient(settings, logger=settings.pop("logger")))

    def _credentials(self) -> Evidence | None:
        return None if self._provider is None else self._provider.failure

    def attempt(
        self, operation: str, work: Callable[[], Client], elapsed_s: float = 0.0
    ) -> Client | Failed:
        """What `work` returns, or what its exception means."""
        from confluent_kafka import KafkaException

        try:
            return work()
        except KafkaException as error:
            self._hear_admin()
            return self.failed(error.args[0], operation, elapsed_s)
        except NoToken as error:
            return Failed(error.evidence)
        except EventpostError as error:
            return refusals.refused(operation, Fault.MALFORMED, error.code, str(error))
        except (TypeError, ValueError) as error:
            return refusals.refused(operation, Fault.MALFORMED, "InvalidSettings", str(error))

    def failed(self, error: Any, operation: str, elapsed_s: float = 0.0) -> Failed:
        """A failure, with its cause, and whose token it was that a broker refused."""
        return self.explained(self.causes.failed(error, operation, elapsed_s))

    def explained(self, failed: Failed) -> Failed:
        """The same with what is known by now of a token that a broker refused."""
        if self._provider is None:
            return failed
        self._link = self._provider.report().link or self._link
        return explained(failed, self._provider, self._link)

    def _hear_admin(self) -> None:
        """The admin client tells of causes when it is polled, and only then."""
        admin = self.admin.present
        if admin is not None:
            admin.poll(0)
            if self.is_outdated(admin):
                self.admin.forget(admin)
                self.ended(admin)

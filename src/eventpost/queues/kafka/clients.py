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
from eventpost.core.outcomes import Failed, Fault
from eventpost.queues.kafka import refusals
from eventpost.queues.kafka.refusals import Causes, Logged
from eventpost.queues.kafka.settings import KafkaConnection, client_settings

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
    """The settings of one connection, and what its clients said last."""

    def __init__(self, connection: KafkaConnection, client_id: str, causes: Causes) -> None:
        self.connection = connection
        self.causes = causes
        self._client_id = client_id
        self.admin: Made[Any] = Made(self._new_admin)

    @property
    def request_s(self) -> float:
        return self.connection.request_timeout_ms / 1000

    def settings(self, **more: object) -> dict[str, Any]:
        """For one client. Raises InvalidRequest."""
        settings = client_settings(self.connection, self._client_id)
        return settings | {"error_cb": self.causes.error_cb, "logger": Logged(self.causes)} | more

    def _new_admin(self) -> Any:
        from confluent_kafka.admin import AdminClient

        settings = self.settings()
        logger = settings.pop("logger")
        return AdminClient(settings, logger=logger)

    def attempt(
        self, operation: str, work: Callable[[], Client], elapsed_s: float = 0.0
    ) -> Client | Failed:
        """What `work` returns, or what its exception means."""
        from confluent_kafka import KafkaException

        try:
            return work()
        except KafkaException as error:
            self._hear_admin()
            return self.causes.failed(error.args[0], operation, elapsed_s)
        except EventpostError as error:
            return refusals.refused(operation, Fault.MALFORMED, error.code, str(error))
        except (TypeError, ValueError) as error:
            return refusals.refused(operation, Fault.MALFORMED, "InvalidSettings", str(error))

    def _hear_admin(self) -> None:
        """The admin client tells of causes when it is polled, and only then."""
        admin = self.admin.present
        if admin is not None:
            admin.poll(0)

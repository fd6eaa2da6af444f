"""Tasks for Dramatiq's own broker for Redis, sent by that very broker: keys and scripts are its.

Layer: destinations. redis-py and Dramatiq are imported when the first task is sent. Each message is
one request, never repeated here: the broker's ids of a request that may have arrived must not be
used again.
"""

import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from eventpost.core.outcomes import DELIVERED, Evidence, Failed, Fault, Outcome, Stage
from eventpost.credentials.redis import RedisConnection
from eventpost.http import failures
from eventpost.http.failures import bounded
from eventpost.queues.interfaces import Message, Rung, Traits

if TYPE_CHECKING:
    from redis import Redis

SYSTEM = "redis"
NAMESPACE = "dramatiq"
"""Of the keys, where the stock broker is told no other."""
VALUE_BYTES_MAX = 512 * 1024 * 1024
"""Of one value in Redis: https://redis.io/docs/latest/develop/data-types/strings/"""
SENT_TOGETHER = 16
"""Messages of one call, one after the other: what waits for a thread meanwhile is bounded by it."""

CAUSES_MAX = 8
"""Of an exception, one behind the other."""

TRAITS = Traits(
    system=SYSTEM,
    message_bytes_max=VALUE_BYTES_MAX,
    send_count_max=SENT_TOGETHER,
    receive_count_max=1,
    wait_s_max=0.0,
    lease_s_max=0.0,
    can_extend=False,
    delay_s_max=0.0,
    release_delay_s_max=0.0,
    has_ids=False,
    has_receive_count=False,
    has_attributes=False,
)
_CODES = {
    "AuthenticationError": "LOGIN_REFUSED",
    "AuthenticationWrongNumberOfArgsError": "LOGIN_REFUSED",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
}
"""What redis-py raises, by its class."""


class RedisSender:
    """Implements `destinations.queue.Sending`. Connects when it is first used. From any thread."""

    traits = TRAITS

    def __init__(self, settings: RedisConnection, namespace: str) -> None:
        """Raises InvalidRequest for a file that is not there, and for a secret that is not."""
        from dramatiq.brokers.redis import RedisBroker

        settings.check_files()
        settings.secret()
        self._address = settings.address
        self._client = client(settings)
        self._broker = RedisBroker(
            client=self._client, middleware=[], namespace=namespace or NAMESPACE
        )

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        return [self._sent(each) for each in messages]

    def close(self) -> None:
        self._client.close()

    def _sent(self, message: Message) -> Outcome:
        """A body that is delayed names the queue of those that wait, so that the broker puts it
        there: nothing is left to be said to it."""
        from dramatiq import Message as Task
        from redis.exceptions import RedisError

        try:
            self._broker.enqueue(Task.decode(message.body))
        except (RedisError, OSError) as error:
            return Failed(evidence_of(error, self._address, "send"))
        return DELIVERED


def client(settings: RedisConnection) -> "Redis":
    """Connects to nothing yet."""
    import redis
    from redis.credentials import CredentialProvider

    class Login(CredentialProvider):
        """Read at every connecting: a secret may be rotated."""

        def get_credentials(self) -> tuple[str] | tuple[str, str]:
            secret = settings.secret()
            return (settings.user, secret) if settings.user else (secret,)

    return redis.Redis(
        host=settings.host,
        port=settings.port,
        db=settings.database,
        credential_provider=Login() if settings.password else None,
        socket_connect_timeout=settings.connect_timeout_s,
        socket_timeout=settings.request_timeout_s,
        retry=None,  # type: ignore[arg-type]  # taken as none; the default repeats three times
        client_name="eventpost",
        ssl=settings.tls,
        ssl_ca_certs=settings.ca_file or None,
        ssl_certfile=settings.certificate_file or None,
        ssl_keyfile=settings.key_file or settings.certificate_file or None,
        ssl_cert_reqs="none" if settings.insecure else "required",
        ssl_check_hostname=not settings.insecure,
    )


def probe(settings: RedisConnection) -> Sequence[Rung]:
    """Log in, and ask who answers. Raises InvalidRequest. Blocks."""
    from redis.exceptions import RedisError

    settings.check_files()
    settings.secret()
    asking = client(settings)
    try:
        asking.ping()
    except (RedisError, OSError) as error:
        failed = Failed(evidence_of(error, settings.address, "probe"))
        return [Rung(name="server", failed=failed)]
    finally:
        asking.close()
    return [Rung(name="server", detail=f"{settings.address} answers")]


# --- failures -------------------------------------------------------------------------------------


def evidence_of(error: Exception, address: str, operation: str) -> Evidence:
    """What redis-py raised, as evidence: what the server answered, or how the connection broke."""
    code = next(
        (_CODES[each.__name__] for each in type(error).__mro__ if each.__name__ in _CODES), ""
    )
    if code or _is_answer(error):
        found = Evidence(
            stage=Stage.ANSWER, fault=Fault.CODE, code=code, detail=bounded(str(error))
        )
    else:
        found = _of_network(error, address)
    return msgspec.structs.replace(found, system=SYSTEM, operation=operation, address=address)


def _is_answer(error: Exception) -> bool:
    from redis.exceptions import ResponseError

    return isinstance(error, ResponseError)


def _of_network(error: Exception, address: str) -> Evidence:
    """By what broke below: redis-py words it anew, and keeps it as the context."""
    cause = next((each for each in _chain(error) if isinstance(each, OSError)), None)
    is_connecting = "connecting" in str(error)
    stage = Stage.CONNECT if is_connecting else Stage.WAIT
    if isinstance(cause, TimeoutError) or (
        cause is None and type(error).__name__ == "TimeoutError"
    ):
        return Evidence(stage=stage, fault=Fault.TIMED_OUT)
    if cause is None:  # it closed the connection in order
        return Evidence(stage=stage, fault=Fault.CLOSED, detail=bounded(str(error)))
    if isinstance(cause, socket.gaierror):
        stage = Stage.NAME
    elif isinstance(cause, ssl.SSLError):
        stage = Stage.TLS
    return failures.evidence_of(cause, stage, address=address)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__

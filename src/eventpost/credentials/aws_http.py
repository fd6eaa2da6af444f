"""What botocore sends through where requests are many: straight through a kept socket.

Layer: credentials. Of a request to SQS urllib3 and what botocore puts around it take more processor
time than signing, serialising and reading the answer together. botocore asks whoever listens to
`before-send` for an answer before it sends itself; all else stays its own: keys and signatures,
retries, and what an answer means. What goes wrong is told in its words. Where a proxy or a
certificate of ours is on the way, it sends itself.
"""

import http.client
import ssl
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from eventpost.core.outcomes import Stage
from eventpost.http.kept import Connections, Exchanged, Progress, follow
from eventpost.http.proxies import Proxies

SERVICES = frozenset({"sqs"})
"""Whose requests go this way: small ones, whole in memory, and their answers, too."""


@dataclass(frozen=True, slots=True)
class _Timeouts:
    connect_s: float
    request_s: float


class DirectHttp:
    """Under one client. Any thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def send(self, request: Any, **_: Any) -> Any:
        """The answer to a request that botocore has signed. Raises what botocore's own would."""
        from botocore.awsrequest import AWSResponse

        progress = Progress()
        follow(progress)
        headers = {name: _text(value) for name, value in request.headers.items()}
        headers["Accept-Encoding"] = "identity"
        body = request.body or b""
        try:
            answer = self._connections.exchange(
                request.method,
                request.url,
                headers,
                body.encode() if isinstance(body, str) else body,
            )
        except (OSError, http.client.HTTPException) as error:
            raise _told(error, progress.stage, request) from error
        return AWSResponse(request.url, answer.status, answer.headers, _Body(answer))

    def close(self) -> None:
        self._connections.close()


def attach(client: Any, session: Any, connections_max: int) -> DirectHttp | None:
    """Let requests of a client go straight, unless something is on the way."""
    config, url = client.meta.config, client.meta.endpoint_url
    if config.client_cert or config.proxies or _environment_proxies(url):
        return None
    timeouts = _Timeouts(config.connect_timeout, config.read_timeout)
    direct = DirectHttp(Connections(timeouts, _context(session), Proxies(), connections_max))
    weakref.finalize(client, direct.close).atexit = False
    client.meta.events.register("before-send", direct.send)
    return direct


def _environment_proxies(url: str) -> Mapping[str, str]:
    from botocore.utils import get_environ_proxies

    found: Mapping[str, str] = get_environ_proxies(url)
    return found


def _context(session: Any) -> ssl.SSLContext:
    """Which authorities are believed, as botocore finds them."""
    from botocore.httpsession import get_cert_path

    bundle = session.get_config_variable("ca_bundle")
    return ssl.create_default_context(cafile=bundle or get_cert_path(True))


class _Body:
    """What was read, as a stream."""

    def __init__(self, answer: Exchanged) -> None:
        self._content = answer.body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._content


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _told(error: Exception, stage: Stage, request: Any) -> Exception:
    """In botocore's words, by which it decides whether to try again."""
    from botocore import exceptions

    url = request.url
    if isinstance(error, ssl.SSLError):
        kind: Any = exceptions.SSLError
    elif stage is Stage.CONNECT:
        is_late = isinstance(error, TimeoutError)
        kind = exceptions.ConnectTimeoutError if is_late else exceptions.EndpointConnectionError
    elif stage is Stage.TLS and isinstance(error, TimeoutError):
        kind = exceptions.ConnectTimeoutError
    elif isinstance(error, TimeoutError):
        kind = exceptions.ReadTimeoutError
    else:
        kind = partial(exceptions.ConnectionClosedError, request=request)
    told: Exception = kind(endpoint_url=url, error=error)
    return told

"""What the Azure SDK sends through: its own interface, over kept connections.

Layer: queues. A transport is azure-core's documented place for another HTTP client. The clients of
queues and blobs keep everything else of the SDK: signing, tokens, headers, what an answer means.
"""

import http.client
import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.core.utils import case_insensitive_dict

from eventpost.http.kept import Connections, Exchanged


class Transport(HttpTransport[HttpRequest, HttpResponse]):
    """Sends over connections that outlive it: clients come and go with their secrets."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def send(self, request: HttpRequest, **_: Any) -> HttpResponse:
        """The whole answer, read. Raises ServiceRequestError where nothing was sent, and
        ServiceResponseError where perhaps something was; each holds what Python raised."""
        try:
            exchanged = self._connections.exchange(
                request.method, request.url, request.headers, _body(request)
            )
        except OSError as error:
            raise ServiceRequestError(type(error).__name__, error=error) from error
        except http.client.HTTPException as error:
            raise ServiceResponseError(type(error).__name__, error=error) from error
        return Answer(request, exchanged)

    def open(self) -> None:
        """Connections are made when they are needed."""

    def close(self) -> None:
        """They belong to the account."""

    def __exit__(self, *_: object) -> None:
        self.close()


def _body(request: HttpRequest) -> bytes:
    """The SDK gives text, bytes, or a stream that is no longer than one request may be."""
    content = request.content
    if content is None:
        return b""
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes):
        return content
    return bytes(content.read() if hasattr(content, "read") else b"".join(content))


class Answer(HttpResponse):
    """An answer that has been read to its end."""

    def __init__(self, request: HttpRequest, exchanged: Exchanged) -> None:
        self._request = request
        self._exchanged = exchanged
        self._headers = case_insensitive_dict(exchanged.headers.items())
        self._encoding: str | None = None

    @property
    def request(self) -> HttpRequest:
        return self._request

    @property
    def status_code(self) -> int:
        return self._exchanged.status

    @property
    def headers(self) -> MutableMapping[str, str]:
        return self._headers

    @property
    def reason(self) -> str:
        return self._exchanged.reason

    @property
    def content_type(self) -> str | None:
        return self._headers.get("Content-Type")

    @property
    def is_closed(self) -> bool:
        return True

    @property
    def is_stream_consumed(self) -> bool:
        return True

    @property
    def encoding(self) -> str | None:
        return self._encoding

    @encoding.setter
    def encoding(self, value: str | None) -> None:
        self._encoding = value

    @property
    def url(self) -> str:
        return self._request.url

    @property
    def content(self) -> bytes:
        return self._exchanged.body

    def text(self, encoding: str | None = None) -> str:
        """As UTF-8, which is what the service writes, with or without a byte order mark."""
        return self.content.decode(encoding or self._encoding or "utf-8-sig", "replace")

    def json(self) -> Any:
        return json.loads(self.text())

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise HttpResponseError(response=self)

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The connection was given back when the answer had been read."""

    def read(self) -> bytes:
        return self.content

    def body(self) -> bytes:
        """The name of `content` in the SDK's older clients, the one for blobs among them."""
        return self.content

    def iter_raw(self, **_: Any) -> Iterator[bytes]:
        return iter((self.content,))

    def iter_bytes(self, **_: Any) -> Iterator[bytes]:
        return iter((self.content,))

    def stream_download(self, *_: Any, **__: Any) -> "Content":
        """As `body`."""
        return Content(self)


class Content(Iterator[bytes]):
    """The content of an answer as the SDK's stream, in one piece."""

    def __init__(self, response: Answer) -> None:
        self.response = response
        self.content_length = len(response.content)
        self.properties: object = None
        """Set by the SDK."""
        self._pieces = iter((response.content,))

    def __next__(self) -> bytes:
        return next(self._pieces)

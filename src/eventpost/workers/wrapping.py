"""Looking over the shoulder of a stock broker: its `consume` and `enqueue` pass through here.

Layer: workers. What they raise is told and raised on, unchanged. A failure that a broker swallows
itself cannot be seen from here.
"""

from collections.abc import Callable, Iterable
from typing import Any

from dramatiq import Broker, Message
from dramatiq.broker import Consumer, MessageProxy

Seen = Callable[[str, str, BaseException], None]
"""`(queue_name, operation, error)`."""
MARK = "_eventpost_wrapped"


def wrap(broker: Broker, seen: Seen) -> bool:
    """From now on failures of this broker object are seen. False when they are already."""
    if getattr(broker, MARK, False):
        return False
    setattr(broker, MARK, True)
    consume, enqueue = broker.consume, broker.enqueue

    def consume_seen(queue_name: str, *args: Any, **kwargs: Any) -> Consumer:
        try:
            return SeenConsumer(consume(queue_name, *args, **kwargs), queue_name, seen)
        except Exception as error:
            seen(queue_name, "receive", error)
            raise

    def enqueue_seen(message: Message[Any], *args: Any, **kwargs: Any) -> Message[Any]:
        try:
            return enqueue(message, *args, **kwargs)
        except Exception as error:
            seen(message.queue_name, "send", error)
            raise

    broker.consume = consume_seen  # type: ignore[method-assign]  # this object's alone
    broker.enqueue = enqueue_seen  # type: ignore[method-assign]
    return True


class SeenConsumer(Consumer):
    """Another consumer, and what it raises."""

    def __init__(self, inner: Consumer, queue_name: str, seen: Seen) -> None:
        self._inner = inner
        self._queue_name = queue_name
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __next__(self) -> MessageProxy | None:
        message: MessageProxy | None = self._call("receive", self._inner.__next__)
        return message

    def ack(self, message: MessageProxy) -> None:
        self._call("settle", lambda: self._inner.ack(message))

    def nack(self, message: MessageProxy) -> None:
        self._call("settle", lambda: self._inner.nack(message))

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self._call("release", lambda: self._inner.requeue(messages))

    def close(self) -> None:
        self._inner.close()

    def _call(self, operation: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except StopIteration:
            raise
        except Exception as error:
            self._seen(self._queue_name, operation, error)
            raise

"""Which deliveries go out together, and whose turn it is. Pure."""

from collections import deque

from eventpost.core.events import Delivery


def is_retry_turn(
    window: int, in_flight: int, retries_in_flight: int, last_was_retry: bool
) -> bool:
    """Whether the next slot is a retry's, when both retries and first attempts wait.

    They take turns. Retries never hold more than half of the `window`, and first attempts leave one
    slot to them."""
    if window == 1:
        return not last_was_retry
    if in_flight == window - 1 and not retries_in_flight:
        return True
    return retries_in_flight < max(1, window // 2) and not last_was_retry


def cut(source: deque[Delivery], count_max: int, bytes_max: int) -> list[Delivery]:
    """The next batch: never waits to fill, an event above the size goes alone."""
    batch = [source.popleft()]
    size = len(batch[0].event.wire)
    while source and len(batch) < count_max:
        size += len(source[0].event.wire)
        if size > bytes_max:
            break
        batch.append(source.popleft())
    return batch

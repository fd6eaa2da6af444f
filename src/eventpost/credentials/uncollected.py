"""No garbage collection while a thread of librdkafka's runs Python.

Layer: credentials. A collection runs on whatever thread happens to allocate. On a client's own
thread, on which librdkafka calls `oauth_cb`, it may come upon that very client, when nobody needs
it any more, and its destructor then ends the process: "rd_kafka_destroy() called from librdkafka
owned thread".
"""

import gc
import threading
from types import TracebackType


class _Uncollected:
    """A context manager, used by any number of threads at once. Allocates nothing itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._was_enabled = True

    def __enter__(self) -> None:
        is_enabled = gc.isenabled()
        gc.disable()
        with self._lock:
            if not self._count:
                self._was_enabled = is_enabled
            self._count += 1
            gc.disable()  # another thread may have left meanwhile

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._count -= 1
            if not self._count and self._was_enabled:
                gc.enable()


UNCOLLECTED = _Uncollected()

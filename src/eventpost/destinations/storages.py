"""What all storages of files do alike, whatever keeps the files: write, read, list, probe.

Layer: destinations. `folder`, `azureblob` and `s3` each have one class with these methods. Calls
block, raise nothing, and may be made from any number of threads.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from eventpost.core.interfaces import FileWritten
from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Rung

CONTENT_TYPE = "application/json"


class Storage(Protocol):
    """One place. Opens nothing before it is used; names are relative to its prefix."""

    def write(self, name: str, body: bytes) -> FileWritten | Failed:
        """Keep a file of JSON, whole or not at all; one of that name is replaced. When it is
        answered the file is as durable as the storage promises."""
        ...

    def read(self, name: str, bytes_max: int) -> bytes | Failed:
        """A file's bytes. One that is larger than `bytes_max` fails with TOO_LARGE."""
        ...

    def names(self, below: str) -> Iterator[list[str] | Failed]:
        """The names that begin with `below`, sorted, a page at a time; a failure is the last."""
        ...

    def probe(self) -> Sequence[Rung]:
        """Look, without writing, whether the place is there; stops at the first rung that fails."""
        ...

    def url(self, name: str) -> str:
        """Where a file of that name is, as `write` tells it."""
        ...

    def close(self) -> None:
        """Let go of connections. Calls under way end as they may. Idempotent."""
        ...

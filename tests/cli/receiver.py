"""A webhook for tests of the command line: the demo's own handler, with a status to choose."""

from types import TracebackType
from typing import Any

from eventpost.cli.demo.stage import Handler


class Receiver:
    """Answers with `status`; `received` are the deliveries in order."""

    def __init__(self) -> None:
        self.status = 200
        self.handler = Handler("hook", self._decide, lambda handler, received: None)

    def __enter__(self) -> "Receiver":
        self.handler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.handler.stop()

    @property
    def url(self) -> str:
        return self.handler.url

    @property
    def subjects(self) -> list[str]:
        return [each.subject for each in self.handler.received]

    def _decide(self, event: dict[str, Any], delivery_count: int) -> int:
        return self.status

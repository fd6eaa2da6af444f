"""Notices as events on a grid's topic, from where they reach e-mail, a webhook, or a queue.

Layer: workers. On a thread of its own, so that no worker waits for the grid; a grid that is away is
logged, and costs nothing else.
"""

import json
import logging
import os
import queue
import socket
import threading
import urllib.request
import uuid
from datetime import UTC, datetime

import msgspec

from eventpost.workers.explaining import Notice

EVENT_TYPE = "Eventpost.WorkerFailure"
WAITING_MAX = 100
"""Notices that wait to be published; beyond it they are only logged."""
REQUEST_S = 10.0

log = logging.getLogger("eventpost.workers")


class Alerts:
    """For one topic. `publish` returns at once; a forked child begins a thread of its own."""

    def __init__(self, topic_endpoint: str, topic_key: str) -> None:
        self._endpoint = topic_endpoint
        self._key = topic_key
        self._waiting: queue.Queue[Notice] = queue.Queue(WAITING_MAX)
        self._pid = 0
        self._lock = threading.Lock()

    def publish(self, notice: Notice) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._waiting = queue.Queue(WAITING_MAX)
                name = "eventpost-workers-alerts"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        try:
            self._waiting.put_nowait(notice)
        except queue.Full:
            log.warning("An alert was not published: %d wait already.", WAITING_MAX)

    def _run(self) -> None:
        while True:
            notice = self._waiting.get()
            try:
                self._post(notice)
            except Exception as error:  # noqa: BLE001 - a border: telling must not end
                kind = type(error).__name__
                log.warning("An alert could not be published to the grid: %s: %s", kind, error)

    def _post(self, notice: Notice) -> None:
        event = {
            "id": str(uuid.uuid4()),
            "eventType": EVENT_TYPE,
            "subject": f"{notice.queue}/{notice.operation}",
            "eventTime": datetime.now(UTC).isoformat(),
            "dataVersion": "1",
            "data": {
                **msgspec.to_builtins(notice),
                "host": socket.gethostname(),
                "pid": os.getpid(),
            },
        }
        request = urllib.request.Request(  # noqa: S310 - the user's own address
            self._endpoint,
            data=json.dumps([event]).encode(),
            headers={"Content-Type": "application/json", "aeg-sas-key": self._key},
        )
        with urllib.request.urlopen(request, timeout=REQUEST_S):  # noqa: S310
            pass

"""What a program that logs at INFO, as `dramatiq` does, has to read."""

import logging
from pathlib import Path

import dramatiq
import pytest

from tests.services.azurite import Azurite
from tests.workers.harnesses import StorageQueueHarness


@pytest.mark.slow
def test_requests_are_not_logged(
    azurite: Azurite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Azure's SDK would log every request at INFO; a worker makes many when nothing happens."""
    with StorageQueueHarness(tmp_path, azurite) as harness, caplog.at_level(logging.INFO):
        broker = harness.new_broker()

        @dramatiq.actor(broker=broker)
        def note() -> None:
            pass

        note.send()
        with harness.working(broker):
            harness.join(broker)

    assert [one for one in caplog.records if "x-ms-" in one.getMessage()] == []
    assert any("Worker has been shut down" in one.getMessage() for one in caplog.records)

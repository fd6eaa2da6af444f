"""What a worker is told when its leases end early or may not be extended, by a real account."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from azure.storage.queue import (
    AccountSasPermissions,
    ResourceTypes,
    generate_account_sas,
)

from eventpost.testing.fault_proxy import HANG
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.middleware import ExplainFailures
from eventpost.workers.storagequeue import StorageQueueBroker
from tests.services.azurite import ACCOUNT, KEY, Azurite
from tests.workers.harnesses import QUICK, StorageQueueHarness

pytestmark = pytest.mark.slow


class WithSas(StorageQueueHarness):
    """With a SAS of the whole account that lets messages be sent, received and deleted."""

    def make_broker(self, **words: Any) -> LeaseBroker:
        sas = generate_account_sas(
            ACCOUNT,
            KEY,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, add=True, create=True, process=True, write=True),
            datetime.now(UTC) + timedelta(hours=1),
        )
        endpoint = f"http://127.0.0.1:{self.proxy.port}/{ACCOUNT}"
        line = f"QueueEndpoint={endpoint};SharedAccessSignature={sas}"
        return StorageQueueBroker(
            **{"namespace": self.namespace, "limits": QUICK, **words, "connection_string": line}
        )


def notices(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "eventpost.workers"]


def working_long(harness: StorageQueueHarness, is_told: Callable[[], bool]) -> None:
    """One job that lasts until something was told."""
    broker = harness.new_broker()
    broker.add_middleware(ExplainFailures())
    over = threading.Event()

    @dramatiq.actor(broker=broker)
    def note() -> None:
        over.wait(120.0)

    with harness.working(broker):
        note.send()
        try:
            harness.until(is_told)
        finally:
            over.set()
        harness.join(broker)


def test_an_identity_that_may_not_extend(
    azurite: Azurite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may read and delete, and not update, is told what follows from it; the job is done."""
    with WithSas(tmp_path, azurite) as harness, caplog.at_level(logging.INFO, "eventpost.workers"):
        working_long(harness, lambda: any("EP4025" in each for each in notices(caplog)))

    [told] = [each for each in notices(caplog) if "EP4025" in each]
    assert "AuthorizationPermissionMismatch" in told


def test_a_lease_that_could_not_be_extended_in_time(
    azurite: Azurite, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease that ends while the account is silent is told with what may follow from it."""
    with (
        StorageQueueHarness(tmp_path, azurite) as harness,
        caplog.at_level(logging.INFO, "eventpost.workers"),
    ):
        rule = harness.proxy.when("UpdateMessage", HANG)

        def is_told() -> bool:
            if not any("EP4024" in each for each in notices(caplog)):
                return False
            harness.proxy.mend(rule)
            return True

        working_long(harness, is_told)

    [told, *_] = [each for each in notices(caplog) if "EP4024" in each]
    assert "default" in told

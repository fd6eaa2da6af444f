"""A storage account's name and addresses, told apart by a real resolver on real sockets."""

import json
import subprocess
import sys

import msgspec
import pytest

from eventpost.diagnosis.doctor.ladder import Examination
from tests.credentials import namespace
from tests.doctor import networks
from tests.doctor.wards import verdict
from tests.services.presence import is_ci

pytestmark = pytest.mark.slow


def seen(zone: str) -> tuple[Examination, Examination]:
    """What the doctor found of a connection, and of a source over it, in a network with this
    zone."""
    namespace.require_namespace()
    missing = networks.lacks()
    if missing is not None and not is_ci():
        pytest.skip(missing)
    assert missing is None, missing
    arguments = [
        *namespace.command(networks.PUBLIC, networks.PRIVATE),
        *[sys.executable, "-m", networks.__name__, zone],
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    connection, source = (msgspec.convert(each, Examination) for each in json.loads(done.stdout))
    return connection, source


@pytest.mark.cites(
    "https://learn.microsoft.com/azure/storage/common/storage-private-endpoints",
    "https://github.com/microsoft/AzureStorageExplorer/issues/8769",
)
def test_a_private_endpoint_that_is_not_used() -> None:
    """Where the name goes over `privatelink` to a public address, the account has an endpoint that
    this network does not use: a warning while it works, and the first finding of what the firewall
    refuses."""
    connection, source = seen("not linked")

    [warning] = connection.warnings
    assert warning.name == "name"
    assert warning.explanation is not None
    assert warning.explanation.code == "EP6013"
    assert networks.PRIVATE_LINK in warning.detail
    assert networks.PUBLIC in warning.detail
    assert verdict(source) == ("authentication", "EP6013")


def test_an_account_without_a_private_endpoint() -> None:
    """Without one the same refusal is the firewall's, and nothing warns of an endpoint."""
    connection, source = seen("public")

    assert connection.warnings == ()
    assert verdict(source) == ("authentication", "EP4201")


def test_a_private_endpoint_that_is_used() -> None:
    """Where the private zone is linked the private address is told, and nothing is warned of."""
    connection, source = seen("linked")

    assert connection.warnings == ()
    [name] = [each for each in connection.rungs if each.name == "name"]
    assert f"{networks.PRIVATE} (private): a private endpoint" in name.detail
    assert verdict(source) == ("peek", "EP4202")

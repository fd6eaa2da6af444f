"""A machine on which nobody is signed in: no variable, no file, no metadata service."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventpost.credentials import aws, azure
from eventpost.testing.aws_identity import AwsIdentity
from eventpost.testing.aws_metadata import AwsMetadata
from eventpost.testing.azure_identity import AzureIdentity
from tests.credentials.aws_service import AwsService

PREFIXES = ("AWS_", "AZURE_", "IDENTITY_", "MSI_", "IMDS_", "BOTO")
Surround = Callable[..., None]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home folder, and no variable of a cloud's but one: that there is no instance."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield home
    aws.close_all()
    azure.close_all()


@pytest.fixture
def surround(monkeypatch: pytest.MonkeyPatch) -> Surround:
    """Sets variables, as a platform does around a program; None takes one away."""

    def set_them(**variables: str | None) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)

    return set_them


@pytest.fixture
def metadata() -> Iterator[AwsMetadata]:
    with AwsMetadata() as service:
        yield service


@pytest.fixture
def identity() -> Iterator[AwsIdentity]:
    with AwsIdentity() as service:
        yield service


@pytest.fixture
def managed(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[AzureIdentity]:
    """An app with a managed identity, and without any program of Azure's on its path."""
    monkeypatch.setenv("PATH", str(home))
    with AzureIdentity() as service:
        for name, value in service.app_service().items():
            monkeypatch.setenv(name, value)
        yield service


@pytest.fixture
def service() -> Iterator[AwsService]:
    with AwsService() as made:
        yield made

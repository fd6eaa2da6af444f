"""A machine on which nobody is signed in to a cloud, but for what a test says."""

import os
from collections.abc import Iterator

import pytest

from eventpost.credentials import aws, azure

PREFIXES = ("AWS_", "AZURE_", "IDENTITY_", "MSI_", "IMDS_", "BOTO")


@pytest.fixture(autouse=True)
def nobody_signed_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of a cloud's, and no metadata service."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent/config")
    yield
    aws.close_all()
    azure.close_all()

"""A whole server and clients for it, one for each test."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from eventpost.testing import Receiver
from tests.server.running import Served, served


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "data") as running:
        yield running


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    """Without the admin token."""
    with server.http() as client:
        yield client


@pytest.fixture
def admin(server: Served) -> Iterator[httpx.Client]:
    """With the admin token, below the management prefix."""
    with server.admin() as client:
        yield client


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()

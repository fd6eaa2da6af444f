"""A served application and clients for it."""

from collections.abc import Iterator

import httpx
import pytest

from eventpost.server.limits import ApiLimits
from tests.server.fake import TOKEN, FakeApp
from tests.server.running import Served, served

LIMITS = ApiLimits(body_bytes_max=4_000, publish_bytes_max=8_000, stream_idle_s=0.05)


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture
def server(app: FakeApp) -> Iterator[Served]:
    with served(lambda: app, LIMITS) as running:
        yield running


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    """Without the admin token."""
    with httpx.Client(base_url=server.url, verify=False) as client:
        yield client


@pytest.fixture
def admin(server: Served) -> Iterator[httpx.Client]:
    """With the admin token, below the management prefix."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{server.url}/admin/v1"
    with httpx.Client(base_url=url, headers=headers, verify=False) as client:
        yield client

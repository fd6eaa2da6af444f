"""Every test that takes `loop_kind` runs on both event loops."""

import pytest

from tests.http.server.support import LOOPS


@pytest.fixture(params=LOOPS)
def loop_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)

"""What tests of workers share."""

import time
from random import Random

import pytest

from tests.conftest import Say


@pytest.fixture
def random(say: Say) -> Random:
    """Seeded; the seed is printed when the test fails."""
    seed = time.time_ns()
    say(f"seed {seed}")
    return Random(seed)

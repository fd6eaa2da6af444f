"""One server for all tests of commands; each test makes topics with names of its own."""

from collections.abc import Iterator

import pytest

from tests.cli.receiver import Receiver
from tests.cli.running import Program, server
from tests.conftest import THIRD_PARTY


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program beside a running server, which has a third party's queue system."""
    with server(tmp_path_factory.mktemp("grid"), PYTHONPATH=str(THIRD_PARTY)) as program:
        yield program


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook that consents and remembers."""
    with Receiver() as receiver:
        yield receiver

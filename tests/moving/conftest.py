"""What tests of moves share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.running import Program, program
from tests.conftest import THIRD_PARTY
from tests.moving import ends
from tests.moving.actors import Studio, on_rabbitmq
from tests.services.rabbitmq import RabbitMQ
from tests.services.service import fresh_name

NewStudio = Callable[[], Studio]


@pytest.fixture
def shell(tmp_path: Path) -> Program:
    """The command as a user has it, with a state directory of its own."""
    return program(
        tmp_path,
        PYTHONPATH=str(THIRD_PARTY),
        XDG_STATE_HOME=str(tmp_path / "state"),
        EVENTPOST_CONFIG=str(tmp_path / "eventpost.yaml"),
        **ends.SECRETS,
    )


@pytest.fixture
def new_studio(rabbitmq: RabbitMQ) -> Iterator[NewStudio]:
    with ExitStack() as open_ones:

        def new() -> Studio:
            studio = on_rabbitmq(rabbitmq, fresh_name("songs"))
            open_ones.callback(studio.close)
            return studio

        yield new

"""Keys for connections to what tests start on loopback, and a server that answers as told."""

from collections.abc import Iterator

import pytest

from tests.queues.sqs.answering import AnsweringServer
from tests.services.moto import ACCESS_KEY_ID, SECRET_ACCESS_KEY


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """References, as a user writes them."""
    monkeypatch.setenv("SQS_TEST_KEY_ID", ACCESS_KEY_ID)
    monkeypatch.setenv("SQS_TEST_SECRET", SECRET_ACCESS_KEY)


@pytest.fixture(scope="session")
def answering_server() -> Iterator[AnsweringServer]:
    """One for all tests of a worker: a client of botocore takes half a second to make."""
    with AnsweringServer() as made:
        yield made


@pytest.fixture
def server(answering_server: AnsweringServer) -> AnsweringServer:
    answering_server.reset()
    return answering_server

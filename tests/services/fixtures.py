"""Fixtures: `NAME` is the run's shared service; `own_NAME` is one that a test may break.

`own_service(KIND)` starts one of any kind, and as many as a test wants.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.services.azurite import Azurite, AzuriteInMemory, AzuriteWithTokens
from tests.services.certificates import Authority
from tests.services.elasticmq import ElasticMQ
from tests.services.kafka import Kafka
from tests.services.moto import Moto
from tests.services.postgresql import PostgreSQL
from tests.services.presence import require_service
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis
from tests.services.running import Running, launched
from tests.services.service import Service
from tests.services.shared import run_directory, shared

S = TypeVar("S", bound=Service)


class OwnServices:
    """Starts services for one test, and kills what it started when the test is over."""

    def __init__(self, directory: Path, started: ExitStack) -> None:
        self._directory = directory
        self._started = started
        self._count = 0

    def __call__(self, kind: type[S]) -> Running[S]:
        require_service(kind)
        self._count += 1
        place = self._directory / str(self._count)
        return self._started.enter_context(launched(kind, place))


@pytest.fixture
def own_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServices]:
    with ExitStack() as started:
        yield OwnServices(tmp_path_factory.mktemp("own"), started)


@pytest.fixture(scope="session")
def services_of_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_directory(tmp_path_factory)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for servers that tests start themselves."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def azurite(services_of_run: Path) -> Iterator[Azurite]:
    require_service(AzuriteInMemory)
    with shared(AzuriteInMemory, services_of_run) as service:
        yield service


@pytest.fixture(scope="session")
def azurite_with_tokens(services_of_run: Path) -> Iterator[AzuriteWithTokens]:
    require_service(AzuriteWithTokens)
    with shared(AzuriteWithTokens, services_of_run) as service:
        yield service


@pytest.fixture
def own_azurite(own_service: OwnServices) -> Running[Azurite]:
    return own_service(Azurite)


@pytest.fixture(scope="session")
def moto(services_of_run: Path) -> Iterator[Moto]:
    require_service(Moto)
    with shared(Moto, services_of_run) as service:
        yield service


@pytest.fixture
def own_moto(own_service: OwnServices) -> Running[Moto]:
    return own_service(Moto)


@pytest.fixture(scope="session")
def rabbitmq(services_of_run: Path) -> Iterator[RabbitMQ]:
    require_service(RabbitMQ)
    with shared(RabbitMQ, services_of_run) as service:
        yield service


@pytest.fixture
def own_rabbitmq(own_service: OwnServices) -> Running[RabbitMQ]:
    return own_service(RabbitMQ)


@pytest.fixture(scope="session")
def redis(services_of_run: Path) -> Iterator[Redis]:
    require_service(Redis)
    with shared(Redis, services_of_run) as service:
        yield service


@pytest.fixture
def own_redis(own_service: OwnServices) -> Running[Redis]:
    return own_service(Redis)


@pytest.fixture(scope="session")
def postgresql(services_of_run: Path) -> Iterator[PostgreSQL]:
    require_service(PostgreSQL)
    with shared(PostgreSQL, services_of_run) as service:
        yield service


@pytest.fixture
def own_postgresql(own_service: OwnServices) -> Running[PostgreSQL]:
    return own_service(PostgreSQL)


@pytest.fixture(scope="session")
def elasticmq(services_of_run: Path) -> Iterator[ElasticMQ]:
    require_service(ElasticMQ)
    with shared(ElasticMQ, services_of_run) as service:
        yield service


@pytest.fixture
def own_elasticmq(own_service: OwnServices) -> Running[ElasticMQ]:
    return own_service(ElasticMQ)


@pytest.fixture(scope="session")
def kafka(services_of_run: Path) -> Iterator[Kafka]:
    require_service(Kafka)
    with shared(Kafka, services_of_run) as service:
        yield service


@pytest.fixture
def own_kafka(own_service: OwnServices) -> Running[Kafka]:
    return own_service(Kafka)

"""Every place of a ledger passes the public suite: the file, PostgreSQL and Redis."""

from pathlib import Path

import pytest

from eventpost.queues.ledger_file import FilePlace
from eventpost.queues.ledger_rows import LedgerPlace
from eventpost.queues.ledger_url import place_at
from eventpost.testing.ledger_conformance import LedgerConformance
from tests.services.postgresql import PostgreSQL
from tests.services.redis import Redis
from tests.services.service import fresh_name


class TestFile(LedgerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> LedgerPlace:
        return FilePlace(tmp_path / "ledger")


@pytest.mark.slow
class TestPostgresql(LedgerConformance):
    @pytest.fixture
    def place(self, postgresql: PostgreSQL) -> LedgerPlace:
        return place_at(f"{postgresql.url}?name={ledger_name()}")


@pytest.mark.slow
class TestRedis(LedgerConformance):
    @pytest.fixture
    def place(self, redis: Redis) -> LedgerPlace:
        return place_at(f"{redis.url}?name={ledger_name()}")


def ledger_name() -> str:
    return fresh_name("ledger").replace("-", "_")

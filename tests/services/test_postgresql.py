"""PostgreSQL behaves as tests of it need it."""

import pytest

from tests.services.postgresql import PASSWORD, USER, PostgreSQL
from tests.services.running import Running


@pytest.mark.slow
def test_its_certificate_and_passwords_are_checked(postgresql: PostgreSQL) -> None:
    """Over TLS who trusts its authority is let in, with the right password and with no other."""
    trusting = f"sslmode=verify-full&sslrootcert={postgresql.ca_file}"
    url = f"{postgresql.url}?{trusting}"

    assert postgresql.ask(url, "SELECT current_user") == f"{USER}\n"
    assert "certificate" in postgresql.ask(f"{postgresql.url}?sslmode=verify-full", "SELECT 1")
    wrong = postgresql.ask(url.replace(PASSWORD, "wrong"), "SELECT 1")
    assert "password authentication failed" in wrong


@pytest.mark.slow
def test_it_keeps_what_it_committed(own_postgresql: Running[PostgreSQL]) -> None:
    """What was committed is there after a kill, and after a stop."""
    service = own_postgresql.service
    service.control("CREATE TABLE song AS SELECT 'blues' AS title")
    own_postgresql.kill()
    assert "refused" in service.ask(service.url, "SELECT title FROM song")
    own_postgresql.start()
    assert service.control("SELECT title FROM song") == "blues\n"

    own_postgresql.restart()
    assert service.control("SHOW fsync", "SELECT title FROM song") == "on\nblues\n"

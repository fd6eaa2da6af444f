"""`eventpost worker ledger check`: what a worker would say of its ledger when it starts."""

from pathlib import Path

import pytest

from tests.cli.running import Program
from tests.services.fixtures import OwnServices
from tests.services.ports import free_ports
from tests.services.redis import PASSWORD, USER, ForgetfulRedis
from tests.services.running import Running


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path, {})


def test_a_file(program: Program) -> None:
    """A good ledger is shown with its rows; one that is something else is a fault."""
    check = ("worker", "ledger", "check", "--ledger")
    good = program.run(*check, "file://" + str(program.directory / "ledger"), "--json")
    # Whether a container's own disk is warned of depends on this machine.
    told = good.json
    assert {one["code"] for one in told.pop("findings")} <= {"EP5001"}
    assert told == {"ledger": str(program.directory / "ledger"), "rows": 0}
    other = program.directory / "letter"
    other.write_bytes(b"dear station" * 1000)
    bad = program.run(*check, str(other))
    assert bad.code == 1
    assert "EP4021" in bad.out
    assert "fix: " in bad.out


def test_a_server_that_is_not_there(program: Program) -> None:
    """A fault with its finding and nothing of the password; a URL that cannot be is usage."""
    url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{free_ports(1)[0]}/0"
    away = program.run("worker", "ledger", "check", "--ledger", url)
    assert away.code == 1
    assert "EP5060" in away.out
    assert PASSWORD not in away.out + away.err
    half = program.run("worker", "ledger", "check", "--ledger", "redis://dj@nowhere/0")
    assert half.code == 2
    assert "CredentialsIncomplete" in half.err


@pytest.mark.slow
def test_a_program_s_own(program: Program, own_service: OwnServices) -> None:
    """The ledger of a program's broker, with what its server may forget."""
    server: Running[ForgetfulRedis] = own_service(ForgetfulRedis)
    words = "region='eu-west-1', access_key_id='A', secret_access_key='s'"
    (program.directory / "station.py").write_text(
        "from eventpost.workers.sqs import SQSBroker\n"
        f"broker = SQSBroker({words}, ledger={server.service.url!r})\n"
    )
    told = program.run_alone("worker", "ledger", "check", "--broker", "station", "--json")
    assert told.code == 1
    assert [one["code"] for one in told.json["findings"]] == ["EP5065"]
    assert told.json["rows"] == 0

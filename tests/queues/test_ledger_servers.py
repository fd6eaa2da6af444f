"""Ledgers on servers: what is refused and how it is said, what is warned of, outages, kills."""

import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.diagnosis import catalogue, codes
from eventpost.queues import kinds
from eventpost.queues.ledger import Ledger, LedgerError, LedgerLimits
from eventpost.queues.ledger_url import place_at
from tests.conftest import Say
from tests.patience import PATIENCE_S
from tests.queues.test_ledger_places import ledger_name
from tests.services.fixtures import OwnServices
from tests.services.ports import free_ports
from tests.services.postgresql import PASSWORD, USER, PostgreSQL
from tests.services.redis import PASSWORD as REDIS_PASSWORD
from tests.services.redis import READER, ForgetfulRedis, Redis
from tests.services.redis import USER as REDIS_USER
from tests.services.running import Running

SONGS = "memory:songs"
SECRET = "hush%40hush"

Server = Running[PostgreSQL] | Running[Redis]


def refusal(url: str, **limits: float) -> LedgerError:
    """How a ledger there is refused, to whoever writes and to whoever reads, in the same words."""
    given = LedgerLimits(**limits)  # type: ignore[arg-type]  # these are seconds
    calls: list[Callable[[Ledger], object]] = [
        lambda ledger: ledger.finish(SONGS, "1"),
        lambda ledger: ledger.known(SONGS, ["1"]),
        lambda ledger: ledger.risks(),
    ]
    errors = []
    for call in calls:
        with pytest.raises(LedgerError) as caught:
            call(Ledger(place_at(url), limits=given))
        errors.append(caught.value)
    assert len({(error.code, str(error)) for error in errors}) == 1
    error = errors[0]
    assert error.fix
    assert catalogue.get(error.code)
    assert PASSWORD not in str(error)
    assert "hush" not in str(error)
    return error


def risks(url: str) -> list[str]:
    ledger = Ledger(place_at(url))
    found = ledger.risks()
    ledger.close()
    assert {risk.code for risk in found} <= {codes.LEDGER_FORGETS}
    assert all(risk.fix for risk in found)
    return [risk.what for risk in found]


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"postgresql://:{SECRET}@h/d", "names no user"),
        ("postgresql://h/d", "names no user"),
        ("redis://dj@h/0", "no password"),
        (f"redis://dj:{SECRET}@h/songs", "no database 'songs'"),
        (f"redis://dj:{SECRET}@h:port/0", "cannot be read"),
        (f"redis://dj:{SECRET}@h:99999/0", "cannot be read"),
        (f"postgresql://dj:{SECRET}@/d", "names no host"),
        ("redis://dj:hush#hush@h/0", "cannot be read|names no host"),
        (f"postgresql://dj:{SECRET}@h/d?sslmode=maybe", "sslmode is 'maybe'"),
        (f"postgresql://dj:{SECRET}@h/d?ssl=on", "option 'ssl'"),
        (f"redis://dj:{SECRET}@h/0?wait_replicas=-1", "wait_replicas is '-1'"),
        (f"redis://dj:{SECRET}@h/0?wait_replicas=101", "from 0 to 100"),
        (f"redis://dj:{SECRET}@h/0?name=Drop%20table", "name 'Drop table' cannot"),
        (f"redis://dj:{SECRET}@h/0?name={'x' * 41}", "cannot be one"),
        (f"mysql://dj:{SECRET}@h/0", "no ledger of the kind 'mysql'"),
    ],
)
def test_a_url_that_cannot_be(url: str, told: str) -> None:
    """What can be known without asking anybody is refused when the broker is made, by what is
    wrong with it, and with nothing of the password."""
    with pytest.raises(InvalidRequest, match=told) as caught:
        place_at(url)

    assert caught.value.fix
    assert "hush" not in str(caught.value)


def test_the_edges_of_options() -> None:
    """The longest name, the most replicas, and every way of TLS are taken."""
    place_at(f"redis://h?wait_replicas=100&name={'x' * 40}")
    for mode in ("disable", "prefer", "require", "verify-ca", "verify-full"):
        place_at(f"postgres://dj@h?sslmode={mode}")


def test_a_url_shows_no_password() -> None:
    """Neither the name of a place, which errors show, nor what a debugger prints of it."""
    for url in (f"postgresql://dj:{SECRET}@h/d?name={'x' * 40}", f"redis://dj:{SECRET}@h/1"):
        place = place_at(url)

        assert "hush" not in f"{place!r} {place.name} {Ledger(place)!r}"
        assert "dj@h" in place.name


@pytest.mark.parametrize(
    ("url", "library"), [("postgresql://dj@h/d", "pg8000"), ("rediss://h", "redis")]
)
def test_a_missing_library(url: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its client library a ledger is refused with the extra that brings it."""
    monkeypatch.setattr(kinds, "_is_installed", lambda name: name != library)

    with pytest.raises(
        InvalidRequest, match=rf"needs the library {library}.*eventpost\["
    ) as caught:
        place_at(url)

    assert caught.value.code == "ExtraMissing"


# --- servers that refuse --------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["postgresql://dj:hush@", "redis://", "rediss://"])
def test_nobody_there(scheme: str) -> None:
    """A closed port, a name that nobody has, and a server that says nothing, each in its words."""
    closed = refusal(f"{scheme}127.0.0.1:{free_ports(1)[0]}/0")
    assert closed.code == codes.LEDGER_SERVER_UNREACHABLE
    assert "refused" in closed.what
    unknown = refusal(f"{scheme}nobody.invalid:1234/0")
    assert unknown.code == codes.LEDGER_SERVER_UNREACHABLE
    assert "nobody.invalid" in unknown.what
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = refusal(f"{scheme}127.0.0.1:{silent.getsockname()[1]}/0", answer_s=0.05)
    assert mute.code == codes.LEDGER_SERVER_UNREACHABLE
    assert "in time" in mute.what


@pytest.mark.slow
def test_postgresql_refuses(postgresql: PostgreSQL) -> None:
    """A wrong password, none, a database that there is not, and a certificate that nobody knows."""
    for password in ("wrong", ""):
        wrong = refusal(postgresql.url_for(USER, password))
        assert wrong.code == codes.LEDGER_SERVER_LOGIN, wrong
    nowhere = refusal(postgresql.url_for(USER, PASSWORD, "nowhere"))
    assert nowhere.code == codes.LEDGER_SERVER_OTHER
    assert "nowhere" in nowhere.what
    strange = refusal(f"{postgresql.url}?sslmode=verify-full")
    assert strange.code == codes.LEDGER_SERVER_TLS
    assert "CERTIFICATE" in strange.what

    options = f"sslmode=verify-full&sslrootcert={postgresql.ca_file}"
    assert risks(f"{postgresql.url}?{options}&name={ledger_name()}") == []


@pytest.mark.slow
def test_redis_refuses(redis: Redis) -> None:
    """A wrong password, a reader, a database that there is not, a certificate that nobody knows."""
    wrong = refusal(redis.url_for(REDIS_USER, "wrong"))
    assert wrong.code == codes.LEDGER_SERVER_LOGIN
    reader = refusal(redis.url_for(READER, READER))
    assert reader.code == codes.LEDGER_SERVER_FORBIDS
    assert "permission" in reader.what
    nowhere = refusal(redis.url.replace("/0", "/16"))
    assert nowhere.code == codes.LEDGER_SERVER_OTHER
    strange = refusal(redis.tls_url)
    assert strange.code == codes.LEDGER_SERVER_TLS
    assert "CERTIFICATE" in strange.what

    assert risks(f"{redis.tls_url}?ssl_ca_certs={redis.ca_file}&name={ledger_name()}") == []
    assert REDIS_PASSWORD not in str(strange)


@pytest.mark.slow
def test_something_else_of_that_name(postgresql: PostgreSQL, redis: Redis) -> None:
    """A table, or a key, of another program is refused, and left as it is."""
    name = ledger_name()
    postgresql.control(f"CREATE TABLE {name} AS SELECT 'blues' AS title")
    redis.control("SET", f"{{{name}}}:pending", "blues")

    assert refusal(f"{postgresql.url}?name={name}").code == codes.LEDGER_SERVER_OTHER
    assert refusal(f"{redis.url}?name={name}").code == codes.LEDGER_SERVER_OTHER
    assert postgresql.control(f"SELECT title FROM {name}") == "blues\n"
    assert b"blues" in redis.control("GET", f"{{{name}}}:pending")


@pytest.mark.slow
def test_a_postgresql_that_is_read_only(postgresql: PostgreSQL) -> None:
    """A user who may only read is refused, before anything is made and also when all is there; who
    may write and not make tables works with those that somebody made."""
    name, user = ledger_name(), ledger_name()
    postgresql.control(
        f"CREATE ROLE {user} LOGIN PASSWORD 'p'",
        f"ALTER ROLE {user} SET default_transaction_read_only = on",
    )
    url = f"{postgresql.url_for(user, 'p', USER)}?name={name}"
    assert refusal(url).code == codes.LEDGER_SERVER_FORBIDS

    postgresql.control(f"ALTER ROLE {user} RESET default_transaction_read_only")
    assert refusal(url).code == codes.LEDGER_SERVER_FORBIDS
    owner = Ledger(place_at(f"{postgresql.url}?name={name}"))
    owner.finish(SONGS, "1")
    owner.close()
    rights = "SELECT, INSERT, UPDATE, DELETE"
    postgresql.control(f"GRANT {rights} ON {name}, {name}_queue TO {user}")
    ledger = Ledger(place_at(url))
    ledger.finish(SONGS, "2")
    assert ledger.known(SONGS, ["1", "2"]) == {"1", "2"}
    ledger.close()


@pytest.mark.slow
def test_a_replica_of_redis(own_service: OwnServices) -> None:
    """A replica is refused. Where replicas are waited for, one that is gone fails the finish."""
    primary, replica = own_service(Redis), own_service(Redis)
    port = str(primary.service.ports["plain"])
    replica.service.control("REPLICAOF", "127.0.0.1", port)
    assert refusal(replica.service.url).code == codes.LEDGER_SERVER_FORBIDS
    ledger = Ledger(
        place_at(f"{primary.service.url}?wait_replicas=1"), limits=LedgerLimits(answer_s=0.5)
    )
    until_it_works(lambda: ledger.finish(SONGS, "1"))
    assert b":1" in replica.service.control("ZCARD", "{eventpost_ledger}:pending")

    replica.kill()
    with pytest.raises(LedgerError, match="of 1 replicas") as caught:
        ledger.finish(SONGS, "2")
    assert caught.value.code == codes.LEDGER_SERVER_FAILED
    ledger.close()


def until_it_works(work: Callable[[], object]) -> None:
    for _ in range(200):
        try:
            work()
        except LedgerError:
            continue
        return
    work()


# --- what is warned of ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_redis_that_forgets(redis: Redis, own_service: OwnServices) -> None:
    """Redis as it comes is warned of, and so is one without a file, or that throws keys away, or
    that does not say; one that syncs each write is not."""
    assert risks(redis.url) == []
    forgetful = own_service(ForgetfulRedis).service
    assert ["last seconds" in what for what in risks(forgetful.url)] == [True]
    assert risks(f"{forgetful.url}?wait_replicas=1") == []

    forgetful.control("CONFIG", "SET", "appendonly", "no")
    forgetful.control("CONFIG", "SET", "maxmemory", "100mb")
    assert len(risks(forgetful.url)) == 1
    forgetful.control("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    told = risks(forgetful.url)
    assert "appendonly no" in told[0]
    assert "allkeys-lru" in told[1]

    rights = ["~*", "+@sortedset", "+@transaction", "+info", "+@connection"]
    redis.control("ACL", "SETUSER", "clerk", "on", ">p", *rights)
    assert ["does not say" in what for what in risks(redis.url_for("clerk", "p"))] == [True]


@pytest.mark.slow
def test_a_redis_without_room(own_service: OwnServices) -> None:
    """A Redis that has no memory left fails the finish with its words, and works again after."""
    service = own_service(ForgetfulRedis).service
    ledger = Ledger(place_at(service.url))
    ledger.finish(SONGS, "1")
    service.control("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(LedgerError, match="maxmemory") as caught:
        ledger.finish(SONGS, "2")
    assert caught.value.code == codes.LEDGER_SERVER_FAILED
    assert ledger.known(SONGS, ["1", "2"]) == {"1"}

    service.control("CONFIG", "SET", "maxmemory", "0")
    ledger.finish(SONGS, "2")
    assert ledger.known(SONGS, ["1", "2"]) == {"1", "2"}
    ledger.close()


@pytest.mark.slow
def test_a_postgresql_that_forgets(own_postgresql: Running[PostgreSQL]) -> None:
    """A server that does not sync is warned of, and so is a table that is emptied by a crash.
    `synchronous_commit` is turned on where it is off, and otherwise left as it is."""
    service = own_postgresql.service
    assert risks(service.url) == []
    service.control(
        "ALTER SYSTEM SET fsync = off",
        f"ALTER ROLE {USER} SET synchronous_commit = off",
        "ALTER TABLE eventpost_ledger SET UNLOGGED",
        "SELECT pg_reload_conf()",
    )
    own_postgresql.restart()

    told = risks(service.url)
    assert "fsync = off" in told[0]
    assert "unlogged" in told[1]
    place = place_at(service.url)
    session = place.connect(PATIENCE_S)  # type: ignore[attr-defined]  # it is one of PostgreSQL
    assert session.say("SHOW synchronous_commit") == [["on"]]
    session.end()
    service.control(f"ALTER ROLE {USER} SET synchronous_commit = remote_apply")
    session = place.connect(PATIENCE_S)  # type: ignore[attr-defined]  # it is one of PostgreSQL
    assert session.say("SHOW synchronous_commit") == [["remote_apply"]]
    session.end()


# --- outages, crashes, other hosts ----------------------------------------------------------------


@pytest.fixture(params=["postgresql", "redis"])
def server(request: pytest.FixtureRequest, own_service: OwnServices) -> Server:
    if request.param == "redis":
        return own_service(Redis)
    return own_service(PostgreSQL)


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back(server: Server) -> None:
    """While it is away each call says so; what `finish` returned for is there when it is back, and
    the same ledger works on, over connections that broke unnoticed."""
    ledger = Ledger(place_at(server.service.url), limits=LedgerLimits(answer_s=PATIENCE_S))
    ledger.finish(SONGS, "1")
    server.kill()
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            ledger.finish(SONGS, "2")
        assert caught.value.code == codes.LEDGER_SERVER_UNREACHABLE
        with pytest.raises(LedgerError) as caught:
            ledger.known(SONGS, ["1"])
        assert caught.value.code == codes.LEDGER_SERVER_UNREACHABLE

    server.start()
    assert ledger.known(SONGS, ["1"]) == {"1"}
    ledger.finish(SONGS, "2")
    server.restart()
    ledger.finish(SONGS, "3")
    server.restart()
    assert ledger.known(SONGS, ["1", "2", "3", "4"]) == {"1", "2", "3"}
    ledger.close()


@pytest.mark.slow
def test_a_server_that_hangs(own_redis: Running[Redis]) -> None:
    """A server that stands still is waited for as long as the limit says; when it goes on the same
    ledger works on."""
    ledger = Ledger(place_at(own_redis.service.url), limits=LedgerLimits(answer_s=0.1))
    until_it_works(lambda: ledger.finish(SONGS, "1"))
    own_redis.pause()
    calls: list[Callable[[], object]] = [
        lambda: ledger.finish(SONGS, "2"),
        lambda: ledger.known(SONGS, ["1"]),
    ]
    for call in calls:
        with pytest.raises(LedgerError, match="in time") as caught:
            call()
        assert caught.value.code == codes.LEDGER_SERVER_UNREACHABLE

    own_redis.resume()
    until_it_works(lambda: ledger.finish(SONGS, "3"))
    ledger.close()
    other = Ledger(place_at(own_redis.service.url))
    assert "3" in other.known(SONGS, ["3"])
    other.close()


PROGRAM = """
import sys, threading
from eventpost.queues.ledger import Ledger
from eventpost.queues.ledger_url import place_at
ledger = Ledger(place_at(sys.argv[1]))
ledger.risks()  # nothing can be imported once the main thread has ended
lock = threading.Lock()
def work(name):
    number = 0
    while True:
        one = f"{sys.argv[2]}-{name}-{number}"
        ledger.finish("memory:songs", one, "of all")
        with lock:
            sys.stdout.write(one + "\\n")
            sys.stdout.flush()
        if number % 2:
            ledger.settled("memory:songs", one)
        number += 1
for name in range(4):
    threading.Thread(target=work, args=(name,)).start()
"""


@pytest.mark.slow
@pytest.mark.crash
def test_server_and_hosts_killed_at_any_moment(server: Server, say: Say) -> None:
    """Two processes at work on one ledger, and its server, killed at any moment, leave known
    whatever `finish` had returned for."""
    seed = random.randrange(2**32)
    say(f"seed {seed}")
    whim = random.Random(seed)
    said: list[str] = []
    for kill in range(3):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, server.service.url, f"{kill}-{number}"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            said += [worker.stdout.readline().strip() for _ in range(whim.randrange(1, 60))]
        server.kill()
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            said += worker.communicate(timeout=PATIENCE_S)[0].split("\n")[:-1]
        server.start()

        ledger = Ledger(place_at(server.service.url))
        assert ledger.known(SONGS, said) == set(said)
        ledger.close()

"""Failures before TLS: names, routes, addresses that are forbidden, descriptors that ran out."""

import asyncio
import errno
import socket
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from eventpost.core.outcomes import EVIDENCE_DETAIL_CHARS_MAX, Fault, Stage
from eventpost.http.addresses import AddressGuard
from eventpost.http.failures import bounded, evidence_of, is_attempted

from .peers import LOOPS, Caller, Peer, answer_all, failure, run

both_loops = pytest.mark.parametrize("loop", LOOPS)


def raising(code: int) -> object:
    def lookup(_name: str) -> list[str]:
        raise socket.gaierror(code, "as asked")

    return lookup


@both_loops
@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (socket.EAI_NONAME, Fault.NOT_FOUND),
        (socket.EAI_NODATA, Fault.NOT_FOUND),
        (socket.EAI_AGAIN, Fault.UNAVAILABLE),
        (socket.EAI_FAIL, Fault.UNAVAILABLE),
    ],
)
def test_name_failures(loop: str, code: int, fault: Fault) -> None:
    """A name that does not exist and name servers that do not answer are told apart."""

    async def main() -> None:
        with Caller(lookup=raising(code)) as caller:  # type: ignore[arg-type]
            evidence = await caller.evidence("http://hooks.example/")

            assert (evidence.stage, evidence.fault) == (Stage.NAME, fault)
            assert evidence.errno == code
            assert is_attempted(evidence)

    run(loop, main())


@both_loops
def test_unknown_name_of_the_system(loop: str) -> None:
    """The system's own resolver says of a reserved name that it does not exist, or that nobody
    could be asked."""

    async def main() -> None:
        with Caller() as caller:
            evidence = await caller.evidence("http://nowhere.invalid/")

            assert evidence.stage is Stage.NAME
            assert evidence.fault in (Fault.NOT_FOUND, Fault.UNAVAILABLE)

    run(loop, main())


@both_loops
def test_name_is_looked_up_once(loop: str) -> None:
    """Requests that need one name at the same time share one lookup, and its answer for a while."""
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    async def main() -> None:
        async with Peer(answer_all) as peer:
            with Caller(lookup=lookup) as caller:
                urls = [f"http://hooks.example:{peer.port}/{index}" for index in range(5)]
                await asyncio.gather(*(caller.start(url) for url in urls))
                assert asked == ["hooks.example"]
                caller.pass_time(51)  # connections and cache are gone
                await caller.answer(urls[0])

                assert asked == ["hooks.example"] * 2

    run(loop, main())


@both_loops
def test_refused(loop: str) -> None:
    """Nobody listens: every request is refused, with the address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        async def main() -> None:
            with Caller() as caller:
                futures = [caller.start(f"http://127.0.0.1:{port}/") for _ in range(30)]
                for future in futures:
                    evidence = await failure(future)
                    assert (evidence.stage, evidence.fault) == (Stage.CONNECT, Fault.REFUSED)
                    assert evidence.errno == errno.ECONNREFUSED
                    assert evidence.address == f"127.0.0.1:{port}"

        run(loop, main())


@both_loops
def test_next_address(loop: str) -> None:
    """When the first address of a name refuses, the next one is tried; at most four are."""

    async def main() -> None:
        async with Peer(answer_all) as peer:
            dead = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
            with Caller(lookup=lambda _: [*dead, "127.0.0.1"]) as caller:
                answer = await caller.answer(f"http://hooks.example:{peer.port}/")
                assert answer.address == f"127.0.0.1:{peer.port}"
            with Caller(lookup=lambda _: [*dead, "127.0.0.5", "127.0.0.1"]) as caller:
                evidence = await caller.evidence(f"http://hooks.example:{peer.port}/")
                assert evidence.address == f"127.0.0.5:{peer.port}"

    run(loop, main())


@both_loops
@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.0.0.1", "[::ffff:10.0.0.1]", "0x0a000001", "hooks.example"]
)
def test_forbidden_address(loop: str, host: str) -> None:
    """Nothing is connected to a forbidden address, however it is spelled or reached."""

    async def main() -> None:
        with Caller(lookup=lambda _: ["10.0.0.1"]) as caller:
            evidence = await caller.evidence(f"http://{host}:9/")

            assert evidence.fault is Fault.FORBIDDEN_ADDRESS
            assert is_attempted(evidence)
            assert caller.client.stats().opened == 0

    run(loop, main())


@both_loops
def test_only_allowed_addresses_are_tried(loop: str) -> None:
    """Of a name's addresses the forbidden ones are passed over."""

    async def main() -> None:
        async with Peer(answer_all) as peer:
            with Caller(lookup=lambda _: ["10.0.0.1", "127.0.0.1"]) as caller:
                answer = await caller.answer(f"http://hooks.example:{peer.port}/")

                assert answer.address == f"127.0.0.1:{peer.port}"

    run(loop, main())


@both_loops
def test_plain_http_is_forbidden(loop: str) -> None:
    """Plain http to an address that is allowed but not this machine needs to be allowed as such."""

    async def main() -> None:
        guard = AddressGuard(["10.0.0.0/8"])
        with Caller(guard=guard, lookup=lambda _: ["10.0.0.1"]) as caller:
            evidence = await caller.evidence("http://hooks.example/")

            assert (evidence.stage, evidence.fault) == (Stage.SETTINGS, Fault.FORBIDDEN_SCHEME)
            assert not is_attempted(evidence)

    run(loop, main())


DESCRIPTORS_CHILD = textwrap.dedent(
    """
    import asyncio, os, resource, sys
    sys.path.insert(0, {tests!r})
    from tests.http.client.peers import Caller, Peer, answer_all, run, until

    held = []

    def fill():
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass

    async def main():
        async with Peer(answer_all) as peer:
            with Caller() as caller:
                # Everything that is imported or opened lazily is, before descriptors run out.
                kept = await caller.answer(peer.url)
                other = await caller.evidence("http://nowhere.invalid/")
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
                fill()
                refused = await caller.evidence("http://127.0.0.1:9/")
                await until(lambda: caller.client.stats().connections == 0)
                fill()
                unnamed = await caller.evidence("http://other.invalid/")
                for descriptor in held:
                    os.close(descriptor)
                again = await caller.answer(peer.url)
        print(refused.stage, refused.fault, unnamed.stage, unnamed.fault, again.status)

    run({loop!r}, main())
    """
)


@both_loops
@pytest.mark.slow
def test_descriptors_run_out(loop: str) -> None:
    """Without file descriptors an attempt ends as not attempted, by name; the client lets go of an
    idle connection, and goes on when there are some again."""
    root = str(Path(__file__).parents[3])
    child = subprocess.run(
        [sys.executable, "-c", DESCRIPTORS_CHILD.format(loop=loop, tests=root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert child.stdout.split() == [
        *("connect", "no_descriptors", "name", "no_descriptors", "200")
    ], child.stderr


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (None, Fault.CLOSED),
        (ConnectionResetError(), Fault.CLOSED),
        (ConnectionResetError(errno.ECONNRESET, ""), Fault.RESET),
        (BrokenPipeError(errno.EPIPE, ""), Fault.RESET),
        (OSError(errno.ENETUNREACH, ""), Fault.UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, ""), Fault.UNREACHABLE),
        (OSError(errno.ETIMEDOUT, ""), Fault.TIMED_OUT),
        (OSError(errno.EMFILE, ""), Fault.NO_DESCRIPTORS),
        (OSError(errno.ENFILE, ""), Fault.NO_DESCRIPTORS),
        (OSError(errno.EIO, "disk"), Fault.UNEXPECTED),
        (ssl.SSLEOFError(8, "EOF"), Fault.CLOSED),
        (RuntimeError("bug"), Fault.UNEXPECTED),
    ],
)
def test_table(error: BaseException | None, fault: Fault) -> None:
    """Every library error has its fault; one that is unknown is told in its own words."""
    evidence = evidence_of(error, Stage.WAIT, address="1.2.3.4:5")

    assert (evidence.stage, evidence.fault) == (Stage.WAIT, fault)
    assert bool(evidence.detail) is (fault is Fault.UNEXPECTED)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_detail_bound(extra: int) -> None:
    """The text of evidence is printable and bounded."""
    text = bounded("\x1b\n" + "a" * (EVIDENCE_DETAIL_CHARS_MAX - 2 + extra))

    assert text.startswith("  a")
    assert len(text) == min(EVIDENCE_DETAIL_CHARS_MAX, EVIDENCE_DETAIL_CHARS_MAX + extra)

"""The server as it is started: what it says, whom it lets in, how it ends."""

import os
import pty
import select
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from eventpost.cli.serve import banner_lines
from eventpost.config import effective, local
from tests.cli.running import Program, ended, program, server, until

pytestmark = pytest.mark.slow


def lines(**flags: str) -> dict[str, str]:
    given = {name.replace("__", "."): (value, "flag") for name, value in flags.items()}
    settings = effective.settle(flags=given, environment={}).settings
    return banner_lines(settings, "http://127.0.0.1:7790")


def test_the_banner_says_where_everything_is() -> None:
    """Address, data directory and the token's place are printed, the token is not."""
    said = lines(server__data="/data")

    assert said["listens at"] == said["public URL"] == "http://127.0.0.1:7790"
    assert said["data directory"] == "/data"
    assert said["admin token"] == "/data/admin-token"
    assert "this machine" in said["webhooks"]


def test_the_banner_says_that_loopback_webhooks_end_with_a_public_listener() -> None:
    """Loopback webhooks are allowed only while the server listens on loopback."""
    assert "this machine" not in lines(server__listen="0.0.0.0:7790")["webhooks"]
    assert "this machine" in lines(server__listen="[::1]:7790")["webhooks"]


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    """The second one ends at once with an error; the first one goes on."""
    with server(tmp_path) as first:
        second = first.run_alone("serve", "--listen", "127.0.0.1:0")

        assert second.code == 1, second
        assert "  fix: " in second.err
        assert "Traceback" not in second.err
        assert first.ok("topic", "list").code == 0


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A port that is taken ends the start with an error that names it."""
    with server(tmp_path) as first:
        url = local.read_address(tmp_path / "eventpost-data") or ""
        taken = url.removeprefix("http://")

        second = first.run_alone("serve", "--data", "other", "--listen", taken)

    assert second.code == 1
    assert taken in second.err
    assert "  fix: " in second.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_and_its_address_is_gone(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end the server with 0, and nobody finds it any more."""
    data = tmp_path / "eventpost-data"
    process = program(tmp_path).start("serve", "--listen", "127.0.0.1:0")
    until(lambda: local.read_address(data) is not None)

    process.send_signal(number)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert local.read_address(data) is None
    assert (data.stat().st_mode & 0o777) == 0o700
    assert ((data / "admin-token").stat().st_mode & 0o777) == 0o600


def test_commands_reach_a_server_with_a_development_certificate(tmp_path: Path) -> None:
    """With `--tls-dev` the local commands trust the server's own authority by themselves."""
    with server(tmp_path, "--tls-dev") as grid:
        address = local.read_address(tmp_path / "eventpost-data") or ""
        assert address.startswith("https://")
        assert grid.ok("topic", "create", "songs").code == 0
        assert grid.ok("publish", "songs", "--json").json["published"] == 1


def test_a_token_of_ones_own_takes_the_place_of_the_files(tmp_path: Path) -> None:
    """EVENTPOST_TOKEN on `serve` is the admin token; none is written down, none other works."""
    with server(tmp_path, EVENTPOST_TOKEN="my-own-token") as grid:
        assert not (tmp_path / "eventpost-data" / "admin-token").exists()
        assert grid.ok("topic", "list").code == 0
        assert grid.run("topic", "list", "--token", "another").code == 1
        stranger = Program(grid.directory, program(tmp_path).environment)
        assert stranger.run("topic", "list").code == 1


def test_a_file_of_settings_is_read_and_its_declarations_pointed_at(tmp_path: Path) -> None:
    """`--config` sets what it says; what it declares is left to `apply`, and said so."""
    (tmp_path / "eventpost.yaml").write_text("logs: {format: text}\ntopics: {songs: {}}\n")
    data = tmp_path / "eventpost-data"
    process = program(tmp_path).start(
        *("serve", "--config", "eventpost.yaml", "--listen", "127.0.0.1:0")
    )
    until(lambda: local.read_address(data) is not None)

    out, err = ended(process)

    assert process.returncode == 0
    assert b"eventpost apply eventpost.yaml" in err
    assert b"server.started" in err
    assert b"{" not in err
    assert b"listens at" in out


def test_closing_the_terminal_ends_it(tmp_path: Path) -> None:
    """A server that was started from a terminal ends cleanly when the terminal is closed."""
    data = tmp_path / "eventpost-data"
    ours, terminal = pty.openpty()
    process = program(tmp_path).start("serve", "--listen", "127.0.0.1:0", stdin=terminal)
    os.close(terminal)
    try:
        until(lambda: local.read_address(data) is not None)

        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=120)
    finally:
        os.close(ours)

    assert process.returncode == 0, err
    assert local.read_address(data) is None


def test_nohup_keeps_it(tmp_path: Path) -> None:
    """A server that was told to outlive its terminal does."""
    data = tmp_path / "eventpost-data"
    runs = program(tmp_path)
    ours, terminal = pty.openpty()
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child inherits it, as from nohup
    try:
        process = runs.start("serve", "--listen", "127.0.0.1:0", stdin=terminal)
    finally:
        signal.signal(signal.SIGHUP, ignored)
        os.close(terminal)
    try:
        until(lambda: local.read_address(data) is not None)

        process.send_signal(signal.SIGHUP)

        assert runs.ok("topic", "list").code == 0
    finally:
        _, err = ended(process)
        os.close(ours)
    assert process.returncode == 0, err


def test_a_tail_says_that_the_server_stopped(tmp_path: Path) -> None:
    """`topic tail` ends with 3 when its server is stopped, and the server need not wait for it."""
    with server(tmp_path) as grid:
        grid.ok("topic", "create", "songs")
        tail = grid.start("topic", "tail", "songs")
        until(lambda: grid.ok("publish", "songs").code == 0 and _has_output(tail))

    _, err = tail.communicate(timeout=120)

    assert tail.returncode == 3
    assert b"The server is stopping." in err
    assert b"Traceback" not in err


def _has_output(process: "subprocess.Popen[bytes]") -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], 0.1)[0])


def test_health_names_every_worker(tmp_path: Path) -> None:
    """The running program tells of its store, its store's workers, the grid and its log."""
    with server(tmp_path):
        url = local.read_address(tmp_path / "eventpost-data") or ""
        told = httpx.get(f"{url}/readyz", trust_env=False, timeout=60).json()

    assert told["status"] == "ok"
    names = {each["name"] for each in told["checks"]}
    assert {"store", "store-room", "store-workers", "grid", "log"} <= names

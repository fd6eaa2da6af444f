"""PostgreSQL on loopback, of whichever version the distribution has, with and without TLS.

Its programs refuse to run as root, so root runs them as nobody, who may then read what root may:
folders of tests are private, and their modes stay as they are.
"""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.patience import PATIENCE_S
from tests.services.certificates import Authority
from tests.services.service import Service, bare_environment

VERSIONS = Path("/usr/lib/postgresql")
NOBODY = 65_534

USER = "singer"
PASSWORD = "a-password-that-opens-nothing-anywhere-else"
OWNER = "owner"
"""Let in without a password, and may do everything."""

AS_NOBODY = [
    *["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"],
    *["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override", "--pdeathsig", "KILL"],
]
# A server that was killed leaves children, which end by themselves a moment later; one that starts
# beside them refuses to.
START = """
memory=$(sed -n 7p data/postmaster.pid 2>/dev/null | awk '{print $2}')
while [ -n "$memory" ] && ipcs -m -i "$memory" 2>/dev/null | grep -q 'nattch=[1-9]'; do
    sleep 0.02
done
exec "$@"
"""
ACCESS = f"""
local all {OWNER} trust
host all {OWNER} 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
LOGIN = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""Whether it speaks TLS: every server answers with one letter."""


class PostgreSQL(Service):
    """`USER` may make tables in the database `USER`; everything is synced before it is told."""

    name = "postgresql"
    port_names = ("sql",)
    stop_signal = signal.SIGINT

    @classmethod
    def lacks(cls) -> str | None:
        if _programs() is None:
            return "the distribution's package postgresql is not installed; `make packages` as root"
        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            return "the program `setpriv` is not on the PATH"
        return None

    @property
    def url(self) -> str:
        return self.url_for(USER, PASSWORD)

    def url_for(self, user: str, password: str, database: str = USER) -> str:
        login = f"{user}:{password}" if password else user
        return f"postgresql://{login}@localhost:{self.ports['sql']}/{database}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def control(self, *statements: str, database: str = USER) -> str:
        """What the server answers to these, said by `OWNER`, each by itself."""
        done = self._psql(self.url_for(OWNER, "", database), *statements)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, url: str, *statements: str) -> str:
        """What it answers to whoever comes so, errors as well."""
        done = self._psql(url, *statements)
        return done.stdout + done.stderr

    def _psql(self, url: str, *statements: str) -> "subprocess.CompletedProcess[str]":
        said = [word for statement in statements for word in ("-c", statement)]
        return self._run("psql", "-XAtq", "-d", url, *said)

    def prepare(self) -> None:
        Authority(self.directory).issue()
        _owned(self.directory)
        rules = ["-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        self._run("initdb", "-D", "data", *rules).check_returncode()
        (self.directory / "data/pg_hba.conf").write_text(ACCESS)
        make = [
            f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE DATABASE {USER} OWNER {USER}",
        ]
        single = ["--single", "-D", "data", "postgres"]
        self._run("postgres", *single, said="".join(f"{one};\n" for one in make)).check_returncode()
        _owned(self.directory)

    def command(self) -> list[str]:
        server = [self._program("postgres"), "-D", "data", "-p", str(self.ports["sql"])]
        places = ["-h", "127.0.0.1", "-k", "", "-c", "max_connections=200"]
        tls = ["ssl=on", "ssl_cert_file=../server.pem", "ssl_key_file=../server.pem"]
        settings = [word for one in (*tls, "shared_buffers=32MB") for word in ("-c", one)]
        return [*_as_user(), "sh", "-c", START, "sh", *server, *places, *settings]

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8"}

    def is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.ports["sql"]), timeout=5) as server:
                server.sendall(LOGIN)
                if server.recv(1) != b"S":
                    return False
            return self.control("SELECT 1") == "1\n"
        except (OSError, AssertionError):
            return False

    def _program(self, name: str) -> str:
        programs = _programs()
        assert programs is not None
        return str(programs / name)

    def _run(
        self, name: str, *arguments: str, said: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*_as_user(), self._program(name), *arguments],
            cwd=self.directory,
            env=bare_environment() | self.environment(),
            input=said,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


def _programs() -> Path | None:
    """Of the newest version that is installed."""
    found = [one.parent for one in VERSIONS.glob("*/bin/postgres")]
    return max(found, key=lambda one: float(one.parent.name), default=None)


def _as_user() -> list[str]:
    return AS_NOBODY if os.geteuid() == 0 else []


def _owned(directory: Path) -> None:
    """Give it to the user that the server runs as."""
    if os.geteuid() == 0:
        for one in (directory, *directory.rglob("*")):
            os.chown(one, NOBODY, NOBODY)

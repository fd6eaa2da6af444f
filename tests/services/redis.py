"""Redis on loopback, with and without TLS; what is written is synced before it is answered."""

import secrets
import shutil
import socket
from pathlib import Path

from tests.services.certificates import Authority
from tests.services.service import Service

USER = "singer"
"""May do everything, as whoever gives no name may."""
PASSWORD = "a-password-that-opens-nothing-anywhere-else"
READER = "reader"
"""May read, and not write; password as the name."""

CONFIGURATION = f"""
bind 127.0.0.1
port {{plain}}
tls-port {{tls}}
tls-cert-file server.pem
tls-key-file server.pem
tls-ca-cert-file ca.pem
tls-auth-clients no
dir .
appendonly yes
appendfsync {{sync}}
save ""
databases 16
user default on nopass ~* &* +@all
user {USER} on >{PASSWORD} ~* &* +@all
user {READER} on >{READER} ~* &* +@read +@connection +info +config|get
"""


class Redis(Service):
    """`USER` may do everything, `READER` reads. Shared: make keys and queues with fresh names."""

    name = "redis"
    port_names = ("plain", "tls")
    sync = "always"

    @classmethod
    def lacks(cls) -> str | None:
        if shutil.which("redis-server") is not None:
            return None
        return "the distribution's package redis-server is not installed; `make packages` as root"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports['plain']}/0"

    @property
    def tls_url(self) -> str:
        """To be used with `ca_file`."""
        return f"rediss://{USER}:{PASSWORD}@localhost:{self.ports['tls']}/0"

    def url_for(self, user: str, password: str) -> str:
        return f"redis://{user}:{password}@127.0.0.1:{self.ports['plain']}/0"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def control(self, *words: str) -> bytes:
        """What the server answers to a command, as it comes: `+OK`."""
        parts = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word))]
        with socket.create_connection(("127.0.0.1", self.ports["plain"]), timeout=5) as server:
            server.sendall("".join(f"{part}\r\n" for part in parts).encode())
            return server.recv(65_536)

    def prepare(self) -> None:
        Authority(self.directory).issue()
        configuration = CONFIGURATION.format(**self.ports, sync=self.sync)
        (self.directory / "redis.conf").write_text(configuration)

    def command(self) -> list[str]:
        return ["redis-server", "redis.conf"]

    def is_ready(self) -> bool:
        """It refuses commands while it reads what it left on disk."""
        token = secrets.token_hex(4)
        try:
            return self.control("ECHO", token).endswith(f"{token}\r\n".encode())
        except OSError:
            return False


class ForgetfulRedis(Redis):
    """As Redis comes: what was answered in the last second may be lost with its machine."""

    name = "redis-forgetful"
    sync = "everysec"

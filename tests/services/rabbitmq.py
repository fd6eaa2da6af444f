"""RabbitMQ on loopback, with and without TLS, without its management plugin."""

import json
import os
import socket
import subprocess
from pathlib import Path

from tests.services.certificates import Authority
from tests.services.service import Service, bare_environment

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Those of /usr/sbin change the user and the folder, and write their log elsewhere."""

CONTROL_S_MAX = 120.0
USER = "guest"
PASSWORD = "guest"
READER = "reader"
"""May read, and neither write nor declare; password as the name."""
STRANGER = "stranger"
"""May log in, and nothing else; password as the name."""

GREETING = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = b"\x01"

# The environment's words are looked up in the folder, which is the working directory. epmd, by
# which a node finds its own name, gets a port of its own, and ends with the server.
START = """
if command -v setpriv >/dev/null; then tied="setpriv --pdeathsig KILL"; else tied=""; fi
$tied epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 -relaxed_command_check &
exec "$0"
"""

CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{amqp}
listeners.ssl.1 = 127.0.0.1:{amqps}
ssl_options.certfile = server.pem
ssl_options.keyfile = server.pem
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
log.console = true
log.file = false
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 512MiB
load_definitions = definitions.json
"""


class RabbitMQ(Service):
    """`USER` may do everything, `READER` reads, `STRANGER` only logs in."""

    name = "rabbitmq"
    port_names = ("amqp", "amqps", "epmd", "node")

    @classmethod
    def lacks(cls) -> str | None:
        if (PROGRAMS / "rabbitmq-server").exists():
            return None
        return (
            "the distribution's package rabbitmq-server is not installed; `make packages` as root"
        )

    @property
    def url(self) -> str:
        return self.url_for(USER, PASSWORD)

    @property
    def tls_url(self) -> str:
        """To be used with `ca_file`."""
        return f"amqps://{USER}:{PASSWORD}@localhost:{self.ports['amqps']}/"

    def url_for(self, user: str, password: str, virtual_host: str = "") -> str:
        """As that user; the empty virtual host is `/`."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.ports['amqp']}/{virtual_host}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` with these arguments says; it takes a second or two.

        Commands that concern the whole server belong to tests that have one of their own.
        """
        done = subprocess.run(
            [PROGRAMS / "rabbitmqctl", "--quiet", *arguments],
            cwd=self.directory,
            env=bare_environment() | self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CONTROL_S_MAX,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def prepare(self) -> None:
        Authority(self.directory).issue()
        (self.directory / "rabbitmq.conf").write_text(CONFIGURATION.format(**self.ports))
        (self.directory / "enabled_plugins").write_text("[].\n")
        (self.directory / "definitions.json").write_text(json.dumps(_definitions()))

    def command(self) -> list[str]:
        return ["sh", "-c", START, str(PROGRAMS / "rabbitmq-server")]

    def environment(self) -> dict[str, str]:
        here = self.directory
        return {
            # Where the cookie lies that lets rabbitmqctl in; a minimal path has no /usr/sbin.
            "HOME": str(here),
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The start script then becomes the server, which hears our signals itself.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": "tests@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["node"]),
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(here / "data"),
            "RABBITMQ_LOG_BASE": str(here),
            "RABBITMQ_PID_FILE": str(here / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
            ),
        }

    def is_ready(self) -> bool:
        """It opens its ports when it is ready, and greets whoever speaks its protocol."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports["amqp"]), timeout=5) as server:
                server.sendall(GREETING)
                return server.recv(1) == METHOD_FRAME
        except OSError:
            return False


def _definitions() -> dict[str, list[dict[str, object]]]:
    permitted = {USER: (".*", ".*", ".*"), READER: ("^$", "^$", ".*"), STRANGER: ("^$", "^$", "^$")}
    return {
        "users": [
            {"name": user, "password": user, "tags": "administrator" if user == USER else ""}
            for user in permitted
        ],
        "vhosts": [{"name": "/"}],
        "permissions": [
            {"user": user, "vhost": "/", "configure": configure, "write": write, "read": read}
            for user, (configure, write, read) in permitted.items()
        ],
    }

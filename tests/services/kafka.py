"""Apache Kafka on loopback: one node, and an entrance for each way in which clients come.

| entrance | protocol | who comes in |
|---|---|---|
| `plain` | plaintext | anybody, and may do everything: the tests' own entrance |
| `tls` | TLS | anybody who trusts `ca_file`, and may do everything |
| `password` | TLS and SASL, PLAIN or SCRAM-SHA-512 | `USER`; with SCRAM, users that tests add |
| `iam` | TLS and SASL OAUTHBEARER, tokens of Amazon MSK's form | who holds a key of `add_key` |

Without rules for a topic or group everybody may do everything there; with one, what is allowed.
"""

import secrets
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from tests.services.aws import REGION
from tests.services.certificates import Authority
from tests.services.java import java, lacks_java
from tests.services.service import Service

MEMORY_MB_MAX = 320
USER = "singer"
PASSWORD = "a password that opens nothing anywhere else"
PARTITIONS = 3
"""Of a topic that is made by being used."""

SASL = "org.apache.kafka.common.security"
# After a kill the node waits until its own last session is over: hence a short one.
CONFIGURATION = f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{{controller}}
listeners=PLAIN://127.0.0.1:{{plain}},TLS://127.0.0.1:{{tls}},PASSWORD://127.0.0.1:{{password}},\
IAM://127.0.0.1:{{iam}},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAIN://127.0.0.1:{{plain}},TLS://localhost:{{tls}},\
PASSWORD://localhost:{{password}},IAM://localhost:{{iam}}
listener.security.protocol.map=PLAIN:PLAINTEXT,TLS:SSL,PASSWORD:SASL_SSL,IAM:SASL_SSL,\
CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN

ssl.keystore.type=PEM
ssl.keystore.location=server.pem
ssl.client.auth=none
listener.name.iam.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.iam.oauthbearer.sasl.jaas.config={SASL}.oauthbearer.OAuthBearerLoginModule required;
listener.name.iam.oauthbearer.sasl.server.callback.handler.class=IamTokenValidator
listener.name.iam.oauthbearer.connections.max.reauth.ms={{reauthenticate_ms}}
listener.name.password.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.password.plain.sasl.jaas.config={SASL}.plain.PlainLoginModule required \
user_{USER}="{PASSWORD}";
listener.name.password.scram-sha-512.sasl.jaas.config={SASL}.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true

broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.dirs=data
num.partitions={PARTITIONS}
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
background.threads=2
log.segment.bytes=16777216
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=4194304
"""

# What `kafka-storage format` writes, which would be another start of Java.
IDENTITY = """version=1
node.id=1
cluster.id=dGVzdHNvZmV2ZW50cG9zdA
directory.id=dGVzdHNvZmV2ZW50cG9zdB
"""

API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)
"""A request that every connection may make: key, version, a number, no client's name."""


@dataclass(frozen=True)
class IamKey:
    """An access key that opens the entrance `iam`."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None
    principal: str
    """As rules of access name it."""


class Kafka(Service):
    """A broker that is its own controller."""

    name = "kafka"
    port_names = ("plain", "tls", "password", "iam", "controller")
    region = REGION
    reauthenticate_ms = 10_000
    """How long a connection of the entrance `iam` lasts without a new token."""

    @classmethod
    def lacks(cls) -> str | None:
        return lacks_java("kafka")

    def address(self, entrance: str) -> str:
        return f"localhost:{self.ports[entrance]}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def add_key(self, *, session_token: str | None = None) -> IamKey:
        """A new key that is good at once, for keys that only its maker knows."""
        name = secrets.token_hex(8).upper()
        key = IamKey(f"AKIA{name}", secrets.token_urlsafe(30), session_token, f"User:{name}")
        self.admit(key)
        return key

    def admit(self, key: IamKey) -> None:
        """A key that somebody else made is good from now on."""
        lines = {
            "secret": key.secret_access_key,
            "principal": key.principal.removeprefix("User:"),
            "token": key.session_token or "",
        }
        file = self._key_file(key)
        new = file.with_suffix(".new")
        new.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        new.rename(file)

    def revoke(self, key: IamKey) -> None:
        """From now on its tokens are refused: on new connections, and when an old one must show
        its token again."""
        self._key_file(key).unlink()

    def prepare(self) -> None:
        Authority(self.directory).issue()
        (self.directory / "keys").mkdir()
        data = self.directory / "data"
        data.mkdir()
        (data / "meta.properties").write_text(IDENTITY)
        configuration = CONFIGURATION.format(**self.ports, reauthenticate_ms=self.reauthenticate_ms)
        (self.directory / "server.properties").write_text(configuration)

    def command(self) -> list[str]:
        return java(
            "kafka",
            "kafka.Kafka",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            f"-Diam.region={self.region}",
            f"-Diam.keys={self.directory / 'keys'}",
            "server.properties",
            memory_mb_max=MEMORY_MB_MAX,
        )

    def is_ready(self) -> bool:
        """It takes connections when it may serve, and answers what it can do."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports["plain"]), timeout=5) as broker:
                broker.sendall(struct.pack(">i", len(API_VERSIONS)) + API_VERSIONS)
                return len(broker.recv(4)) == 4
        except OSError:
            return False

    def _key_file(self, key: IamKey) -> Path:
        return self.directory / "keys" / f"{key.access_key_id}.properties"

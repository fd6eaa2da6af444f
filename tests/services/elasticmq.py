"""ElasticMQ: SQS on loopback, for volume. It takes any key, and checks no signature or policy."""

from urllib.error import URLError
from urllib.request import urlopen

from tests.services.aws import client_environment
from tests.services.java import java, lacks_java
from tests.services.service import Service

CONFIGURATION = """
include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {http}, context-path = "" }}
rest-sqs {{
  enabled = true, bind-hostname = "127.0.0.1", bind-port = {http}, sqs-limits = strict
}}
rest-stats {{ enabled = false }}
"""
STORED = """
messages-storage {{
  enabled = true, driver-class = "org.h2.Driver", username = "", password = ""
  uri = "jdbc:h2:{directory}/messages;WRITE_DELAY=0"
}}
"""
"""A change is in the file before it is answered, as far as H2 keeps that."""


class ElasticMQ(Service):
    """Keeps its queues in memory."""

    name = "elasticmq"
    port_names = ("http",)
    configuration = CONFIGURATION

    @classmethod
    def lacks(cls) -> str | None:
        return lacks_java("elasticmq")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    @property
    def client_environment(self) -> dict[str, str]:
        """What lets any AWS SDK find it."""
        return client_environment(self.url)

    def prepare(self) -> None:
        text = self.configuration.format(**self.ports, directory=self.directory)
        (self.directory / "elasticmq.conf").write_text(text)

    def command(self) -> list[str]:
        configuration = f"-Dconfig.file={self.directory / 'elasticmq.conf'}"
        main = "org.elasticmq.server.Main"
        return java("elasticmq", main, configuration, memory_mb_max=256)

    def is_ready(self) -> bool:
        try:
            with urlopen(f"{self.url}/?Action=ListQueues", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


class ElasticMQWithStorage(ElasticMQ):
    """Keeps its queues and their messages in a file, and has them when it starts again. Slower."""

    configuration = CONFIGURATION + STORED

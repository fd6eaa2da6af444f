"""A Kafka behind a line that may fail: its clients come through a proxy, whatever they ask."""

from collections.abc import Iterator
from contextlib import contextmanager

from eventpost.queues.kafka import KafkaConnection
from eventpost.testing.fault_proxy import FaultProxy
from tests.services.fixtures import OwnServices
from tests.services.kafka import Kafka


class ProxiedKafka(Kafka):
    """A broker that tells clients to come through a proxy: set `through` before it is prepared."""

    through = 0

    def prepare(self) -> None:
        super().prepare()
        file = self.directory / "server.properties"
        plain = f"PLAIN://127.0.0.1:{self.ports['plain']}"
        lines = [
            line.replace(plain, f"PLAIN://127.0.0.1:{self.through}")
            if line.startswith("advertised.listeners")
            else line
            for line in file.read_text().splitlines()
        ]
        file.write_text("\n".join(lines) + "\n")


class Line:
    """A broker of one's own, and the line to it."""

    def __init__(self, kafka: Kafka, proxy: FaultProxy) -> None:
        self.kafka = kafka
        self.proxy = proxy
        self.connection = KafkaConnection(
            bootstrap=(f"127.0.0.1:{proxy.port}",),
            request_timeout_ms=1_500,
            connect_timeout_ms=1_500,
        )


@contextmanager
def opened(own_service: OwnServices) -> Iterator[Line]:
    """A broker of one's own behind a line."""
    proxy = FaultProxy("127.0.0.1", 1, speaks="tcp")
    try:

        class Here(ProxiedKafka):
            through = proxy.port

        kafka = own_service(Here).service
        proxy.lead_to("127.0.0.1", kafka.ports["plain"])
        yield Line(kafka, proxy)
    finally:
        proxy.thaw()
        proxy.close()

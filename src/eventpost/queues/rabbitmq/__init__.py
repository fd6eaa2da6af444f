"""RabbitMQ over AMQP 0-9-1: queues to receive from, queues and exchanges to send to.

Layer: queues. The words of the contract here: *send* is a publish with the server's confirm and,
unless told otherwise, `mandatory`, so that what no queue takes is a failure; *settle* is an
acknowledgement, and *release* a return to the queue, at once or through a queue that holds messages
for a while. There is nothing to *extend*: what is held is held while its channel lives, and the
server's consumer timeout ends the channel. The server gives no ids; with the option `message_ids`
the publishers' count as such.
"""

from typing import TYPE_CHECKING

from eventpost.queues.interfaces import Address
from eventpost.queues.kinds import Services, options_of
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.queues.rabbitmq.target import Options, read_target

if TYPE_CHECKING:
    from eventpost.queues.rabbitmq.queue import RabbitmqQueue

__all__ = ["CONNECTION_KIND", "EXTRA", "LIBRARY", "Options", "RabbitmqConnection", "new_queue"]

CONNECTION_KIND = "rabbitmq"
LIBRARY = "aiormq"
EXTRA = "rabbitmq"


def new_queue(
    connection: RabbitmqConnection, address: Address, services: Services
) -> "RabbitmqQueue":
    """The queue of that address; connects when it is first used.

    Raises InvalidRequest for an address that means nothing.
    """
    # The client library is loaded only by who uses it.
    from eventpost.queues.rabbitmq.queue import RabbitmqQueue

    return RabbitmqQueue(connection, read_target(address, options_of(address, Options)), services)

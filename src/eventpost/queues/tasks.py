"""What a queue of Dramatiq tasks is called in each system, and how a task's body travels there.

Layer: queues. Workers and the grid send to the same queues, so that the rules are written once.
"""

import base64
import re

from eventpost.core.errors import InvalidRequest
from eventpost.formats.dramatiq import dead, delayed
from eventpost.queues.interfaces import Address
from eventpost.queues.kafka import settings as kafka
from eventpost.queues.sqs.address import FIFO_SUFFIX, NAME_CHARS_MAX
from eventpost.queues.storagequeue.address import NAME, NAME_RULE

DEAD_LETTERS = "-dead-letters"
"""What the name of a dead-letter queue adds to its queue's."""
DEAD_LETTER_BYTES = 4_096
"""What a task leaves free below its queue's bound: a dead letter also says why it is one."""
RETENTION_S = 1_209_600
"""Of queues of SQS that are made: 14 days, the most that it keeps a message."""
PARTITIONS = 12
"""Of topics that are made: as many processes as this share the work of one queue."""
GROUP = "eventpost-workers"
"""Of Kafka workers without a namespace; with one, it is the group's name."""
RABBITMQ_DEAD_TTL_MS = 604_800_000
"""How long Dramatiq's own broker keeps dead letters: its `DEAD_MESSAGE_TTL`, 7 days."""
KEPT = {"retention.ms": "-1"}
"""Of topics that are made: neither a task nor a dead letter ends by its age."""

_NOT_IN_STORAGE = re.compile(r"[^a-z0-9]+")
_NOT_IN_SQS = re.compile(r"[^A-Za-z0-9_-]")
_ILLEGAL_IN_SQS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def within(namespace: str, queue: str) -> str:
    """A queue's name with that of its namespace, if it has one."""
    return f"{namespace}-{queue}" if namespace else queue


def dead_letters_of(name: str) -> str:
    """The name of a queue's dead-letter queue."""
    return f"{name}{DEAD_LETTERS}"


def storagequeue_name(queue: str) -> str:
    """Raises InvalidRequest for a queue of which Azure takes no name."""
    name = _NOT_IN_STORAGE.sub("-", queue.lower()).strip("-")
    if not NAME.fullmatch(dead_letters_of(name)) or not NAME.fullmatch(name):
        raise InvalidRequest(
            "InvalidQueueName",
            f"{queue} cannot be made a queue's name: its dead letters add `{DEAD_LETTERS}`.",
            why=NAME_RULE,
            fix="Give it another name.",
        )
    return name


def sqs_name(queue: str) -> str:
    """Raises InvalidRequest for one that is too long, and for a FIFO queue's."""
    if queue.endswith(FIFO_SUFFIX):
        raise InvalidRequest(
            "FifoQueue",
            f"The queue {queue[:NAME_CHARS_MAX]} would be a FIFO queue of SQS, which takes no "
            "tasks.",
            why="It delays no single message, a task that waits to be tried again holds up its "
            "whole group, and a retry counts as a duplicate for 5 minutes.",
            fix=f"Use a queue whose name does not end in {FIFO_SUFFIX}: what is finished does not "
            "run again there either.",
        )
    name = _NOT_IN_SQS.sub("-", queue)
    if len(name) > NAME_CHARS_MAX - len(DEAD_LETTERS):
        raise InvalidRequest(
            "InvalidQueueName",
            f"The queue name {name} has {len(name)} characters.",
            why=f"SQS takes {NAME_CHARS_MAX}; its dead letters add `{DEAD_LETTERS}`.",
            fix="Give it a shorter one.",
        )
    return name


def kafka_name(queue: str, group: str) -> str:
    """Raises InvalidRequest for what no topic, or its retry topic, can be called."""
    kafka.check_topic(f"{dead_letters_of(queue)}.{group}.retry")
    return queue


def sqs_body(body: bytes) -> bytes:
    """SQS takes text only; what an encoder other than JSON's makes goes as base64."""
    try:
        if body and _ILLEGAL_IN_SQS.search(body.decode()) is None:
            return body
    except UnicodeDecodeError:
        pass
    return base64.b64encode(body)


def address_of(
    system: str, queue: str, *, namespace: str, is_made: bool, max_priority: int = 0
) -> Address:
    """The queue of an actor, as its workers have it: our brokers', or the stock one's for RabbitMQ.
    `is_made` says whether it is made where it is not there. Raises InvalidRequest for a name."""
    name = within(namespace, queue)
    made: dict[str, object] = {"create": True}
    if system == "sqs":
        made["attributes"] = {"MessageRetentionPeriod": RETENTION_S}
        return Address(name=sqs_name(name), options=made if is_made else {})
    if system == "storagequeue":
        how = {"create": "auto" if is_made else "never"}
        return Address(name=storagequeue_name(name), options=how)
    if system == "kafka":
        made |= {"partitions": PARTITIONS, "topic_config": KEPT}
        group = namespace or GROUP
        return Address(name=kafka_name(name, group), options=made if is_made else {})
    assert system == "rabbitmq", system
    missing = rabbitmq_queues(name, max_priority) if is_made else {}
    return Address(name=name, options={"exchange": "", "create_missing": missing})


def rabbitmq_queues(queue: str, max_priority: int = 0) -> dict[str, dict[str, str | int]]:
    """What Dramatiq's own broker declares for a queue, and with which arguments."""
    arguments: dict[str, str | int] = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead(queue),
    }
    if max_priority:
        arguments["x-max-priority"] = max_priority
    dead_arguments: dict[str, str | int] = {"x-message-ttl": RABBITMQ_DEAD_TTL_MS}
    return {queue: arguments, delayed(queue): arguments, dead(queue): dead_arguments}

"""The AMQP client library, imported here and nowhere else.

Layer: queues. It is aiormq, which aio-pika is built on. What aio-pika adds, an object per message
and connections that reopen themselves, would be in the way here: a batch is written as one, and who
reopens, and when, is the caller's to say.
"""

from aiormq import Connection, exceptions
from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.channel import Channel
from aiormq.connection import TransportFactory
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader
from yarl import URL

__all__ = [
    "URL",
    "Channel",
    "ChannelFrame",
    "Connection",
    "ContentBody",
    "ContentHeader",
    "DeliveredMessage",
    "PAMQPException",
    "TransportFactory",
    "commands",
    "exceptions",
    "frame",
]

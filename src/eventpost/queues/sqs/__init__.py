"""Amazon SQS as a queue system: botocore's client, called on the caller's thread.

Layer: queues. The names that `queues.kinds` asks for are here; each module beside it has one idea.
"""

from eventpost.queues.sqs.queue import SqsQueue, new_queue
from eventpost.queues.sqs.settings import Options

CONNECTION_KIND = "aws"
LIBRARY = "botocore"
EXTRA = "aws"

__all__ = ["CONNECTION_KIND", "EXTRA", "LIBRARY", "Options", "SqsQueue", "new_queue"]

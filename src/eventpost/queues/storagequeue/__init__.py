"""Azure Storage Queues as a queue system, with Microsoft's client library.

Layer: queues. The names that `queues.kinds` asks for are here; each module beside it has one idea.
The library is imported when a queue is first used.
"""

from eventpost.queues.storagequeue.messages import Options
from eventpost.queues.storagequeue.queue import StorageQueue, new_queue

CONNECTION_KIND = "azure-storage"
LIBRARY = "azure.storage.queue"
EXTRA = "azure"

__all__ = ["CONNECTION_KIND", "EXTRA", "LIBRARY", "Options", "StorageQueue", "new_queue"]

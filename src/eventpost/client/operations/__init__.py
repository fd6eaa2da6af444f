"""Every operation of the management API, once, for the synchronous and the asynchronous client.

Names are the API's `operationId`s. Each function builds a call; the clients send it.
"""

from eventpost.client.operations.deadletters import Selection

__all__ = ["Selection"]

"""Which operations the account lets us do, found out without doing any of them.

Layer: queues. Each request is one that the service cannot grant: a message that is not there, a
time out of bounds. The service looks at the right to ask first (403), and at what was asked then
(400, 404): so the answer tells the right, and nothing is sent, taken or deleted.
"""

from collections.abc import Callable, Iterator
from functools import partial

from azure.storage.queue import QueueClient

from eventpost.core.outcomes import Failed
from eventpost.http.kept import Progress
from eventpost.queues.interfaces import Permission
from eventpost.queues.storagequeue.account import Account

NO_MESSAGE = "00000000-0000-0000-0000-000000000000"
NO_RECEIPT = "AgAAAAMAAAAAAAAAAAAAAAAAAAA="
TOO_LONG_S = 8 * 86_400
"""Above the 7 days that a message may be invisible: such a request is never granted."""
TOO_MANY = 33
"""Above the 32 messages of a page."""

Ask = Callable[[QueueClient], object]


def _send(client: QueueClient) -> object:
    return client.send_message("", visibility_timeout=TOO_LONG_S, time_to_live=1)


def _receive(client: QueueClient) -> object:
    pages = client.receive_messages(messages_per_page=TOO_MANY, visibility_timeout=TOO_LONG_S)
    return list(next(pages.by_page(), ()))


def _update(client: QueueClient) -> object:
    return client.update_message(NO_MESSAGE, NO_RECEIPT, visibility_timeout=TOO_LONG_S)


def _delete(client: QueueClient) -> object:
    return client.delete_message(NO_MESSAGE, NO_RECEIPT)


_ASKED: tuple[tuple[str, Ask], ...] = (
    ("send", _send),
    ("receive", _receive),
    ("settle", _delete),
    ("extend", _update),
)


def permissions(
    account: Account, client: Callable[[], QueueClient], progress: Progress
) -> Iterator[Permission]:
    """One for each operation, in the order in which a message meets them."""
    for operation, ask in _ASKED:
        answer = account.request(operation, progress, partial(_asked, ask, client))
        yield Permission(operation=operation, refused=_refused(answer), is_known=_is_known(answer))


def _asked(ask: Ask, client: Callable[[], QueueClient]) -> object:
    return ask(client())


def _refused(answer: object) -> Failed | None:
    is_no = isinstance(answer, Failed) and answer.evidence.status in (401, 403)
    return answer if is_no and isinstance(answer, Failed) else None


def _is_known(answer: object) -> bool:
    return isinstance(answer, Failed) and answer.evidence.status in (400, 401, 403, 404)

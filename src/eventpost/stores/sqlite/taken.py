"""Ids of messages that sources took, until it is sure that they never come again.

As a rule an id lives for a second: from the commit of its events until its queue has confirmed that
the message is gone. So the table stays in a few pages, and stays fast; it grows only while a queue
refuses to delete.
"""

import apsw
import msgspec

from eventpost.core.interfaces import Taken

PUT = "INSERT OR REPLACE INTO taken VALUES (?, ?, ?)"
REMOVE = "DELETE FROM taken WHERE queue = ? AND id = ?"
# By the primary key, once for each id asked about.
KNOWN = "SELECT id FROM taken WHERE queue = ? AND id IN (SELECT value FROM json_each(?))"
# The oldest ones, by the index of ages.
REMOVE_BEFORE = """
    DELETE FROM taken WHERE (queue, id) IN
        (SELECT queue, id FROM taken WHERE taken_ms < ? ORDER BY taken_ms LIMIT ?)
"""


def put(connection: apsw.Connection, taken: list[Taken]) -> None:
    values = [(each.queue, one, each.taken_ms) for each in taken for one in each.ids]
    connection.executemany(PUT, values)


def remove(connection: apsw.Connection, taken: list[Taken]) -> None:
    connection.executemany(REMOVE, [(each.queue, one) for each in taken for one in each.ids])


def known(connection: apsw.Connection, queue: int, ids: list[str]) -> set[str]:
    asked = msgspec.json.encode(ids).decode()
    return {one for (one,) in connection.execute(KNOWN, (queue, asked))}


def remove_before(connection: apsw.Connection, before_ms: int, rows_max: int) -> int:
    """Remove the oldest ones as long as they are older; how many were."""
    connection.execute(REMOVE_BEFORE, (before_ms, rows_max))
    return connection.changes()

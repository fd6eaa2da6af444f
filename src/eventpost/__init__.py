"""eventpost: an event grid that you run yourself.

The public names are imported on first use, so that `import eventpost` costs nothing.
"""

from typing import TYPE_CHECKING

from eventpost.core.version import VERSION

__version__ = VERSION
__all__ = ["AsyncClient", "Client", "__version__"]

if TYPE_CHECKING:
    from eventpost.client import AsyncClient, Client


def __getattr__(name: str) -> object:
    if name in {"AsyncClient", "Client"}:
        from eventpost import client

        return getattr(client, name)
    raise AttributeError(f"module 'eventpost' has no attribute {name!r}")

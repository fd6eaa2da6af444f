"""The composition root: the only place that knows every concrete class.

`App` is a running grid; `serve` runs one until it is told to stop.
"""

from typing import TYPE_CHECKING

__all__ = ["App", "serve"]

if TYPE_CHECKING:
    from eventpost.app.application import App
    from eventpost.app.serving import serve


def __getattr__(name: str) -> object:
    if name == "App":
        from eventpost.app.application import App

        return App
    if name == "serve":
        from eventpost.app.serving import serve

        return serve
    raise AttributeError(f"module 'eventpost.app' has no attribute {name!r}")

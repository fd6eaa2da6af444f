"""What services call their failures, and which finding that is: one module per system.

A module's name is the system's (`Evidence.system`), with `_` behind one that is a word of Python's
(`lambda`). Its `FINDINGS` maps the service's own codes to
findings; `""` is the finding of a code that the table lacks. Read on first use.
"""

import importlib
import importlib.util
import keyword
from functools import cache

SERVICE_REFUSES = "EP4000"
CREDENTIALS_INCOMPLETE = "EP4040"
CREDENTIALS_UNAVAILABLE = "EP4041"


def finding(system: str, code: str) -> str | None:
    """The finding of a service's code, or None when the system says nothing about it."""
    known = _findings(system)
    return known.get(code) or known.get("")


def named(system: str, code: str) -> str | None:
    """The finding of a code that the system's table names; None for every other code."""
    return _findings(system).get(code) if code else None


@cache
def _findings(system: str) -> dict[str, str]:
    name = f"{__name__}.{system}{'_' if keyword.iskeyword(system) else ''}"
    if not system.isidentifier() or importlib.util.find_spec(name) is None:
        return {}
    found: dict[str, str] = importlib.import_module(name).FINDINGS
    return found

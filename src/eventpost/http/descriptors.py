"""How many file descriptors the process has, and how they are shared out between both directions.

Layer: http.
"""

import resource

RESERVED = 256
"""Left to listeners, the store, name lookups and files."""
SHARE_MIN = 8
"""A direction has so many connections however few descriptors there are."""


def raise_limit(wanted: int) -> int | None:
    """Let the process have `wanted` descriptors. Returns how many it has when these are fewer.

    Most systems start programs with a soft limit of 1,024, for the sake of `select`, which nothing
    here uses; it is raised as far as the hard limit allows. To be called where a process begins.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    except (OSError, ValueError):  # macOS refuses what its kernel does not have
        possible = soft
    return None if possible >= wanted else possible


def share(wanted: int | None, at_most: int) -> int:
    """Connections that one direction may hold: `wanted` when it is given, else half of what the
    process has beyond `RESERVED`, at most `at_most`."""
    if wanted is not None:
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return at_most
    return max(SHARE_MIN, min(at_most, (soft - RESERVED) // 2))

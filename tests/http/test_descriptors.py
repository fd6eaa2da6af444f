"""The bounds on connections follow from what the process may open."""

import subprocess
import sys

import pytest

from eventpost.http.client_limits import ClientLimits
from eventpost.http.client_limits import connections_max as outgoing_max
from eventpost.http.descriptors import RESERVED, SHARE_MIN, share
from eventpost.http.server.limits import HttpLimits
from eventpost.http.server.limits import connections_max as incoming_max

AT_MOST = 4_096
RAISE = """
import resource, sys
from eventpost.http.descriptors import raise_limit
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_limit(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def limit(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (soft, soft))


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [
        (0, SHARE_MIN),
        (RESERVED + 2 * SHARE_MIN + 1, SHARE_MIN),
        (RESERVED + 2 * SHARE_MIN + 2, SHARE_MIN + 1),
        (1_024, 384),
        (RESERVED + 2 * AT_MOST - 1, AT_MOST - 1),
        (RESERVED + 2 * AT_MOST, AT_MOST),
        (RESERVED + 2 * AT_MOST + 2, AT_MOST),
        (-1, AT_MOST),
    ],
)
def test_each_direction_gets_half(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, connections: int
) -> None:
    """Both directions share what the process has beyond its reserve, up to their bound."""
    limit(monkeypatch, descriptors)

    assert share(None, AT_MOST) == connections
    assert outgoing_max(ClientLimits()) == incoming_max(HttpLimits()) == connections


def test_what_is_set_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that somebody set is not lowered."""
    limit(monkeypatch, 64)

    assert outgoing_max(ClientLimits(connections_max=5_000)) == 5_000
    assert incoming_max(HttpLimits(connections_max=5_000)) == 5_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "told", "raised"),
    [
        (100, 300, 200, "None", 200),
        (100, 200, 200, "None", 200),
        (100, 199, 200, "199", 199),
        (250, 300, 200, "None", 250),
    ],
)
def test_the_soft_limit_is_raised(
    soft: int, hard: int, wanted: int, told: str, raised: int
) -> None:
    """A process takes the descriptors it wants, up to the hard limit, and tells when these are
    fewer; it never lowers what it has."""
    numbers = [str(number) for number in (soft, hard, wanted)]
    done = subprocess.run(
        [sys.executable, "-c", RAISE, *numbers], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == [told, str(raised)]

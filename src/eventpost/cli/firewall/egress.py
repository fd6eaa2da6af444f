"""From which addresses this machine leaves, asked of those who see them.

Layer: cli. Each is asked several times, on a new connection each time: a machine behind a gateway
with several addresses leaves through another one now and then.
"""

import ipaddress
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import httpx

ASKED = ("https://checkip.amazonaws.com", "https://api.ipify.org")
TIMES = 3
ANSWER_S = 5.0
ANSWER_CHARS_MAX = 64
METADATA = "http://169.254.169.254/metadata/instance/compute/location"
METADATA_S = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out: the addresses, and who did not answer."""

    addresses: tuple[str, ...]
    silent: tuple[str, ...]


def look(asked: Sequence[str] = ASKED, *, times: int = TIMES) -> Seen:
    """All addresses that anybody saw. Asks over the network, `ANSWER_S` for each question."""
    found: dict[str, None] = {}
    silent = []
    for url in asked:
        answers = list(_answers(url, times))
        found |= dict.fromkeys(answers)
        if not answers:
            silent.append(url)
    return Seen(tuple(found), tuple(silent))


@cache
def trust() -> ssl.SSLContext:
    """The system's authorities: reading them takes longer than the questions."""
    return ssl.create_default_context()


def _answers(url: str, times: int) -> Iterator[str]:
    for _ in range(times):
        try:
            with httpx.Client(
                timeout=ANSWER_S, verify=trust()
            ) as client:  # a new connection each time
                answer = client.get(url)
                answer.raise_for_status()
                text = answer.text.strip()[:ANSWER_CHARS_MAX]
                yield str(ipaddress.ip_address(text))
        except (httpx.HTTPError, ValueError):
            return


def own_region(url: str = METADATA) -> str:
    """The Azure region of this machine; "" elsewhere, and where nobody says."""
    try:
        with httpx.Client(timeout=METADATA_S, trust_env=False, verify=trust()) as client:
            answer = client.get(
                url,
                params={"api-version": "2021-02-01", "format": "text"},
                headers={"Metadata": "true"},
            )
        return answer.text.strip()[:ANSWER_CHARS_MAX] if answer.status_code == 200 else ""
    except httpx.HTTPError:
        return ""

"""The smallest service there is, to test how services are started, shared and stopped."""

import sys
from urllib.error import URLError
from urllib.request import urlopen

from tests.services.service import Service


class Example(Service):
    """Shows the files of its folder."""

    name = "example"
    port_names = ("http",)

    @classmethod
    def lacks(cls) -> str | None:
        return None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['http']}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "http.server", "-b", "127.0.0.1", str(self.ports["http"])]

    def is_ready(self) -> bool:
        return self.answers(timeout_s=5)

    def answers(self, *, timeout_s: float) -> bool:
        try:
            with urlopen(self.url, timeout=timeout_s) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


class Unavailable(Example):
    """What no machine has."""

    name = "unavailable"

    @classmethod
    def lacks(cls) -> str | None:
        return "it does not exist"


class Broken(Example):
    """Says why, and ends."""

    name = "broken"

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-c",
            "import sys; print('the disk is made of cheese'); sys.exit(3)",
        ]


class Crowded(Example):
    """Finds its first port taken."""

    name = "crowded"

    def command(self) -> list[str]:
        if self.directory.name.endswith("-1"):
            return ["sh", "-c", "echo 'bind: Address already in use'; exit 1"]
        return super().command()

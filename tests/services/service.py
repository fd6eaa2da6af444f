"""What a service has to say of itself, so that it can be started, shared and stopped."""

import os
import secrets
import shutil
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.documentation import ROOT

INSTALLED = ROOT / ".tools/services"
"""Where scripts/test-services puts what is no package of Python or of the distribution."""

INSTALL_HINT = "`make services` installs it"


class Service(ABC):
    """One kind of service at fixed ports with its data in one folder.

    It is made of its folder and ports alone, so that any process can have it: the one that starts
    it, and each that only uses it.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """What asks it to end, whoever is connected."""

    def __init__(self, directory: Path, ports: Mapping[str, int]) -> None:
        self.directory = directory
        self.ports = dict(ports)

    @classmethod
    @abstractmethod
    def lacks(cls) -> str | None:
        """What this machine lacks to run it, and what brings that; None when nothing."""

    def prepare(self) -> None:  # noqa: B027 - most have nothing to write
        """Write what it needs into its folder, before its first start there."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments; it runs in the folder, in the foreground."""

    def environment(self) -> dict[str, str]:
        """What its environment holds besides the little that every program needs."""
        return {}

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers now; asked again until it does."""


def fresh_name(prefix: str = "test") -> str:
    """A name nobody else uses, of small letters, digits and a dash, as every service allows."""
    return f"{prefix}-{secrets.token_hex(6)}"


def bare_environment() -> dict[str, str]:
    """What a program needs to be found and to find its own; nothing of the tests' environment."""
    kept = ("PATH", "HOME", "JAVA_HOME", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LANG": "C.UTF-8"}


def lacks_program(*names: str) -> str | None:
    """The first of these programs that is not on the PATH, in a sentence."""
    for name in names:
        if shutil.which(name) is None:
            return f"the program `{name}` is not on the PATH"
    return None


def lacks_file(path: Path) -> str | None:
    return None if path.exists() else f"{path.relative_to(ROOT)} is not there; {INSTALL_HINT}"

"""What tests of the doctor share: peers that behave badly, and a round over what is declared."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

from eventpost.app.doctor.declarations import of_values
from eventpost.app.doctor.subjects import named, subjects
from eventpost.diagnosis.doctor.climbing import examine
from eventpost.diagnosis.doctor.ladder import Examination
from tests.patience import PATIENCE_S

Script = Callable[[socket.socket], None]


def examined(
    config: dict[str, object],
    name: str,
    *,
    is_round_trip: bool = False,
    seconds_max: float = PATIENCE_S,
) -> Examination:
    """The examination of one thing that is declared."""
    chosen = named(subjects(of_values(config), is_round_trip=is_round_trip), [name])
    [examination] = examine(chosen, seconds_max=seconds_max)
    return examination


def connected(settings: dict[str, object], *, seconds_max: float = PATIENCE_S) -> Examination:
    """The examination of one connection."""
    config: dict[str, object] = {"connections": {"patient": settings}}
    return examined(config, "patient", seconds_max=seconds_max)


def verdict(examination: Examination) -> tuple[str, str]:
    """The rung that is broken and its finding; `("", "")` when all is well."""
    broken = examination.broken
    if broken is None or broken.explanation is None:
        return "", ""
    return broken.name, broken.explanation.code


def names(examination: Examination) -> list[str]:
    return [each.name for each in examination.rungs]


@contextlib.contextmanager
def peer(script: Script, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on loopback that does `script` with each connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted, _ = listening.accept()
                    threading.Thread(target=run, args=(accepted,), daemon=True).start()

        def run(accepted: socket.socket) -> None:
            with contextlib.suppress(OSError):
                speaking = accepted
                if context is not None:
                    speaking = context.wrap_socket(accepted, server_side=True)
                with speaking:
                    script(speaking)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    """Reads whatever comes and says nothing."""
    while connection.recv(65_536):
        pass


def resetting(connection: socket.socket) -> None:
    """Reads a little, and resets."""
    connection.recv(4)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closing(connection: socket.socket) -> None:
    connection.recv(65_536)


def saying(answer: bytes) -> Script:
    def say(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    return say


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port at which packets to open a connection are dropped, as by a firewall: its queue of
    connections that nobody has accepted is full."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(address)
        yield address[1]


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port that nobody else gets, and at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def details(examination: Examination) -> Sequence[str]:
    return [each.detail for each in examination.rungs]

"""A storage account as a machine in some network sees it, played in a network namespace.

    python -m tests.doctor.networks ZONE

A real DNS server answers as Azure's own does: the name of an account with a private endpoint is an
alias of one below `privatelink`, and that is an alias of a public one. In a network to which the
private zone is linked, the name below `privatelink` has a private address instead. At the public
address the account's firewall refuses everything; at the private one a role is missing.

Writes what the doctor found of the connection, and of a source over it, as JSON.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from eventpost.testing.fault_proxy import FaultProxy
from eventpost.testing.service_refusals import azure_refusal
from tests.credentials import namespace
from tests.doctor.wards import examined, peer, silent
from tests.patience import PATIENCE_S

PUBLIC, PRIVATE = "20.60.1.2", "10.0.0.5"
ACCOUNT = "songs.queue.core.windows.net"
PRIVATE_LINK = "songs.privatelink.queue.core.windows.net"
CLUSTER = "queue.ams21prdstr02a.store.core.windows.net"
KEY = "a2V5LW9mLW5vYm9keQ=="
PORT = 80


def lacks() -> str | None:
    """What is missing here to play this; None when nothing is."""
    if shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        return "the distribution's package dnsmasq-base is not installed; `make packages` as root"
    return None


def public_only() -> list[str]:
    """Without any private endpoint: an alias of the public name at once."""
    return [f"--cname={ACCOUNT},{CLUSTER}", f"--host-record={CLUSTER},{PUBLIC}"]


def with_endpoint(private: str) -> list[str]:
    """With a private endpoint; `private` is its address where the private zone is linked, or ""."""
    told = [f"--cname={ACCOUNT},{PRIVATE_LINK}"]
    if private:
        return [*told, f"--host-record={PRIVATE_LINK},{private}"]
    alias = f"--cname={PRIVATE_LINK},{CLUSTER}"
    return [*told, alias, f"--host-record={CLUSTER},{PUBLIC}"]


ZONES = {
    "public": public_only(),
    "not linked": with_endpoint(""),
    "linked": with_endpoint(PRIVATE),
}


@contextlib.contextmanager
def resolver(zone: list[str]) -> Iterator[None]:
    """A DNS server with this zone, which is the only one that this machine asks."""
    program = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    own = ["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]
    own += ["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "resolv.conf"
        file.write_text("nameserver 127.0.0.1\n")
        namespace.call(
            "mount", str(file).encode(), b"/etc/resolv.conf", None, namespace.MS_BIND, None
        )
        with subprocess.Popen([program, *own, *zone], stderr=subprocess.PIPE, text=True) as server:
            try:
                _wait_for_answers(server)
                yield
            finally:
                server.terminate()


def _wait_for_answers(server: "subprocess.Popen[str]") -> None:
    assert server.stderr is not None
    end_s = time.monotonic() + PATIENCE_S
    for line in server.stderr:  # it says that it has started once its socket is bound
        if "started" in line:
            return
        assert time.monotonic() < end_s, line
    raise RuntimeError("dnsmasq ended")


def main() -> None:
    os.environ["ACCOUNT"] = (
        f"AccountName=songs;AccountKey={KEY};QueueEndpoint=http://{ACCOUNT};BlobEndpoint=http://b.invalid"
    )
    declared: dict[str, object] = {
        "connections": {"patient": {"kind": "azure-storage", "connection_string": "env:ACCOUNT"}},
        "topics": {"songs": {}},
        "sources": {
            "jobs": {
                "kind": "storagequeue",
                "queue": "jobs",
                "connection": "patient",
                "topic": "songs",
            }
        },
    }
    with (
        resolver(ZONES[sys.argv[1]]),
        peer(silent) as port,
        FaultProxy("127.0.0.1", port, at_host=PUBLIC, at_port=PORT) as firewall,
        FaultProxy("127.0.0.1", port, at_host=PRIVATE, at_port=PORT) as account,
    ):
        firewall.when(lambda _: True, azure_refusal("AuthorizationFailure"))
        account.when(lambda _: True, azure_refusal("AuthorizationPermissionMismatch"))
        found = [examined(declared, name) for name in ("patient", "jobs")]
    sys.stdout.write(json.dumps(msgspec.to_builtins(found)))


if __name__ == "__main__":
    main()

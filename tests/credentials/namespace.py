"""Runs a command in a network of its own, where addresses of clouds are this machine's.

    python -m tests.credentials.namespace ADDRESS[,ADDRESS] [NAME=ADDRESS,...] -- COMMAND...

The SDKs ask fixed addresses (169.254.170.2, 169.254.169.254) and names. In a network namespace the
loopback interface gets these addresses, and a file of its own in the place of /etc/hosts gives the
names: nothing of the SDK is replaced, and nothing outside the namespace changes.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.services.presence import is_ci

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
IFF_UP = 1


def command(*addresses: str, names: dict[str, str] | None = None) -> tuple[str, ...]:
    """What to put before a command so that it runs where these addresses are its own."""
    told = ",".join(f"{name}={address}" for name, address in (names or {}).items())
    return (sys.executable, "-m", __name__, ",".join(addresses), told, "--")


def require_namespace() -> None:
    """Skip where this user may not have a network of his own, and say so; fail when CI is set."""
    missing = lacks()
    if missing is None:
        return
    reason = f"no network namespace can be made here: {missing}"
    if is_ci():
        pytest.fail(f"{reason}. With CI set this is a failure.", pytrace=False)
    pytest.skip(reason)


@cache
def lacks() -> str | None:
    """Why it cannot be done here; None when it can."""
    if sys.platform != "linux":
        return f"{sys.platform} has none"
    tried = subprocess.run(
        [*command("169.254.170.2"), "true"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else tried.stderr.strip().rpartition("\n")[2]


def main() -> None:
    addresses, names, separator, *arguments = sys.argv[1:]
    assert separator == "--"
    enter()
    bring_up("lo")
    for number, address in enumerate(filter(None, addresses.split(","))):
        add_address(f"lo:{number}", address)
    if names:
        know_names(dict(pair.split("=") for pair in names.split(",")))
    os.execvp(arguments[0], arguments)


def enter() -> None:
    """Leave this machine's network and mounts behind; as root of a user namespace if need be."""
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET | CLONE_NEWNS
    call("unshare", flags if user == 0 else flags | CLONE_NEWUSER)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)


def know_names(names: dict[str, str]) -> None:
    lines = [f"{address} {name}\n" for name, address in names.items()]
    with tempfile.NamedTemporaryFile("w", prefix="hosts-", delete=False) as file:
        file.writelines(["127.0.0.1 localhost\n", *lines])
    call("mount", file.name.encode(), b"/etc/hosts", None, MS_BIND, None)
    Path(file.name).unlink()


def bring_up(interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        request = struct.pack("16sh14x", interface.encode(), 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(made, SIOCGIFFLAGS, request))[1]
        up = struct.pack("16sh14x", interface.encode(), flags | IFF_UP)
        fcntl.ioctl(made, SIOCSIFFLAGS, up)


def add_address(interface: str, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        for request, value in ((SIOCSIFADDR, address), (SIOCSIFNETMASK, "255.255.255.255")):
            packed = struct.pack(
                "16sHH4s8x", interface.encode(), socket.AF_INET, 0, socket.inet_aton(value)
            )
            fcntl.ioctl(made, request, packed)


def call(name: str, *arguments: int | bytes | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

"""Five requests of Kafka's protocol, spoken without a client: what a broker really says, and when.

Layer: queues. For the doctor: a client library folds into "broker transport failure" what a broker
told exactly. Only what reads is here. Messages and numbers: https://kafka.apache.org/protocol
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
from dataclasses import dataclass

API_VERSIONS, METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE, FIND_COORDINATOR = 18, 3, 17, 36, 10
ANSWER_BYTES_MAX = 16 * 1024 * 1024
OPERATIONS = {3: "Read", 4: "Write", 5: "Create", 6: "Delete", 7: "Alter", 8: "Describe"}
OPERATIONS |= {9: "ClusterAction", 10: "DescribeConfigs", 11: "AlterConfigs", 12: "IdempotentWrite"}
"""Bits of `authorized_operations`."""
NO_OPERATIONS = -(2**31)
"""What brokers say that do not tell operations."""
ERRORS = {
    3: "UNKNOWN_TOPIC_OR_PART",
    5: "LEADER_NOT_AVAILABLE",
    17: "INVALID_TOPIC_EXCEPTION",
    29: "TOPIC_AUTHORIZATION_FAILED",
    30: "GROUP_AUTHORIZATION_FAILED",
    31: "CLUSTER_AUTHORIZATION_FAILED",
    33: "UNSUPPORTED_SASL_MECHANISM",
    34: "ILLEGAL_SASL_STATE",
    35: "UNSUPPORTED_VERSION",
    58: "SASL_AUTHENTICATION_FAILED",
}


class Refused(Exception):
    """The broker's own word: `code` by the protocol's name, `text` as it said it."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = ERRORS.get(code, f"ERROR_{code}")
        self.text = text


class Hung(Exception):
    """The broker hung up where an answer was due."""


class Strange(Exception):
    """What came is no answer of Kafka's. `head` is how it begins."""

    def __init__(self, head: bytes) -> None:
        super().__init__(repr(head))
        self.head = head


@dataclass(frozen=True, slots=True)
class Topic:
    """What a broker tells of a topic."""

    error: int
    partition_count: int
    leaderless_count: int
    operations: int

    @property
    def allowed(self) -> tuple[str, ...] | None:
        """The names of what we may do; None when the broker does not tell."""
        if self.operations == NO_OPERATIONS:
            return None
        return tuple(name for bit, name in OPERATIONS.items() if self.operations >> bit & 1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a broker tells of its cluster: where clients are sent to, `(host, port)` each."""

    brokers: tuple[tuple[str, int], ...]
    topics: dict[str, Topic]


class Talk:
    """One connection, request by request. Raises OSError, and the exceptions above."""

    def __init__(self, connection: socket.socket, client_id: str = "eventpost-doctor") -> None:
        self._connection = connection
        self._client_id = client_id
        self._number = 0

    def versions(self) -> dict[int, tuple[int, int]]:
        """Which requests the broker takes, and of which versions. The first thing to ask."""
        answer = self._ask(API_VERSIONS, 0, b"")
        if answer.int16() not in (0, 35):
            raise Strange(answer.rest[:16])
        return {answer.int16(): (answer.int16(), answer.int16()) for _ in range(answer.int32())}

    def mechanisms(self, wanted: str) -> list[str]:
        """Choose a mechanism. Raises Refused with those that the broker has."""
        answer = self._ask(SASL_HANDSHAKE, 1, _string(wanted))
        error = answer.int16()
        offered = [answer.string() for _ in range(answer.int32())]
        if error:
            raise Refused(error, f"the broker offers {', '.join(offered) or 'none'}")
        return offered

    def authenticate(self, message: bytes) -> bytes:
        """One step of the mechanism chosen; the broker's answer to it."""
        answer = self._ask(SASL_AUTHENTICATE, 1, _bytes(message))
        error, text = answer.int16(), answer.string()
        if error:
            raise Refused(error, text)
        return answer.bytes()

    def cluster(self, topics: tuple[str, ...] = ()) -> Cluster:
        """The brokers, and these topics with what we may do. No topic is made by it."""
        names = b"".join(_string(each) for each in topics)
        body = struct.pack(">i", len(topics)) + names + b"\0\0" + (b"\1" if topics else b"\0")
        answer = self._ask(METADATA, 8, body)
        answer.int32()
        brokers = [_broker(answer) for _ in range(answer.int32())]
        answer.string()
        answer.int32()
        return Cluster(tuple(brokers), dict(_topic(answer) for _ in range(answer.int32())))

    def coordinator(self, group: str) -> str:
        """`host:port` of the broker that keeps a group. Raises Refused when we may not know."""
        answer = self._ask(FIND_COORDINATOR, 1, _string(group) + b"\0")
        answer.int32()
        error, text = answer.int16(), answer.string()
        if error and error != 15:  # a cluster that has just begun has none yet
            raise Refused(error, text)
        answer.int32()
        return f"{answer.string()}:{answer.int32()}"

    def _ask(self, key: int, version: int, body: bytes) -> "_Answer":
        self._number += 1
        head = struct.pack(">hhi", key, version, self._number) + _string(self._client_id)
        self._connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        size_bytes = self._read(4)
        size = int(struct.unpack(">i", size_bytes)[0])
        if not 4 <= size <= ANSWER_BYTES_MAX:
            raise Strange(size_bytes)
        answer = _Answer(self._read(size))
        if answer.int32() != self._number:
            raise Strange(size_bytes + answer.rest[:12])
        return answer

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self._connection.recv(min(65_536, size - len(found)))
            if not part:
                if found:
                    raise Strange(found[:16])
                raise Hung
            found += part
        return found


def sign_in(talk: Talk, mechanism: str, user: str, secret: str) -> None:
    """The whole exchange of a mechanism; `secret` is a password, or the token of OAUTHBEARER."""
    talk.mechanisms(mechanism)
    if mechanism == "PLAIN":
        talk.authenticate(f"\0{user}\0{secret}".encode())
    elif mechanism == "OAUTHBEARER":
        if talk.authenticate(f"n,,\1auth=Bearer {secret}\1\1".encode()):
            talk.authenticate(b"\1")  # RFC 7628 section 3.2.3: the refusal comes after this
    else:
        _scram(talk, mechanism.removeprefix("SCRAM-").replace("-", "").lower(), user, secret)


def _scram(talk: Talk, digest: str, user: str, password: str) -> None:
    """RFC 5802, without channel binding. The server's own signature is not checked: nothing that
    is secret follows."""
    nonce = base64.b64encode(os.urandom(18)).decode()
    first = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
    answer = talk.authenticate(f"n,,{first}".encode()).decode()
    given = dict(part.partition("=")[::2] for part in answer.split(","))
    final = f"c=biws,r={given['r']}"
    salted = hashlib.pbkdf2_hmac(
        digest, password.encode(), base64.b64decode(given["s"]), int(given["i"])
    )
    key = hmac.digest(salted, b"Client Key", digest)
    signed = hmac.digest(
        hashlib.new(digest, key).digest(), f"{first},{answer},{final}".encode(), digest
    )
    proof = bytes(one ^ other for one, other in zip(key, signed, strict=True))
    talk.authenticate(f"{final},p={base64.b64encode(proof).decode()}".encode())


class _Answer:
    """An answer's bytes, read from the front."""

    def __init__(self, rest: bytes) -> None:
        self.rest = rest

    def take(self, size: int) -> bytes:
        if size > len(self.rest) or size < 0:
            raise Strange(self.rest[:16])
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def int8(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        return int(struct.unpack(">h", self.take(2))[0])

    def int32(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def string(self) -> str:
        size = self.int16()
        return "" if size < 0 else self.take(size).decode("utf-8", "replace")

    def bytes(self) -> bytes:
        size = self.int32()
        return b"" if size < 0 else self.take(size)


def _broker(answer: _Answer) -> tuple[str, int]:
    answer.int32()
    host, port = answer.string(), answer.int32()
    answer.string()
    return host, port


def _topic(answer: _Answer) -> tuple[str, Topic]:
    error, name = answer.int16(), answer.string()
    answer.int8()
    leaders = [_leader(answer) for _ in range(answer.int32())]
    leaderless = sum(each < 0 for each in leaders)
    return name, Topic(error, len(leaders), leaderless, answer.int32())


def _leader(answer: _Answer) -> int:
    answer.int16()
    answer.int32()
    leader = answer.int32()
    answer.int32()
    for _ in range(3):
        answer.take(4 * answer.int32())
    return leader


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _bytes(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value

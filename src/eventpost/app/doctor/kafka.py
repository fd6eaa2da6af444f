"""The ladder of a Kafka cluster, climbed without a client: each answer is the broker's own.

Layer: app. What a library folds into "broker transport failure" is told apart here: a port of
another listener, a firewall that drops, a mechanism that is not enabled, a refusal of who we are.
"""

import contextlib
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import msgspec

from eventpost.app.doctor import aws
from eventpost.app.doctor.round_trip import NAME, scratch
from eventpost.app.doctor.settled import faulty, settings
from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials import secrets
from eventpost.credentials.msk import region_of_broker
from eventpost.diagnosis.classify import classify
from eventpost.diagnosis.doctor import network, steps
from eventpost.diagnosis.doctor.bounds import BOUNDS
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Faulty, Seen, Unknown
from eventpost.diagnosis.doctor.network import Peer, Way
from eventpost.diagnosis.ranking import rank
from eventpost.queues.kafka.settings import SYSTEM, KafkaConnection, Options, token_provider
from eventpost.queues.kafka.wire import Cluster, Hung, Refused, Strange, Talk, sign_in

MSK_PORTS = {
    9092: "none",
    9094: "none",
    9096: "scram-sha-512",
    9098: "msk-iam",
    9194: "none",
    9196: "scram-sha-512",
    9198: "msk-iam",
}
"""Which way to sign in each port of Amazon MSK takes. 91xx are the public ones.
https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html"""
WRONG_PORT = "EP6007"
WRONG_REGION = "EP6008"
BROKERS_TRIED_MAX = 12
IAM_ACTIONS = {"Describe": "DescribeTopic", "Read": "ReadData", "Write": "WriteData"}
_OWN_PROTOCOL = ("security.", "sasl.", "ssl.")


def connection_steps(connection: KafkaConnection) -> list[tuple[str, Look]]:
    """From the settings to what the cluster says of its brokers."""
    look = _Cluster(connection)
    return [
        ("settings", lambda: look.lint() or settings(look.settings)()),
        ("credentials", look.credentials),
        ("clock", look.clock),
        ("name", steps.name(look.peers)),
        ("route", steps.route(look.peers, other_ports=look.other_ports())),
        ("tls", look.tls),
        ("protocol", look.protocol),
        ("authentication", look.authentication),
        ("brokers", look.brokers),
    ]


def topic_steps(
    connection: KafkaConnection, topic: str, options: Options, *, is_source: bool
) -> list[tuple[str, Look]]:
    """What we may do with a topic, and with the group that reads it."""
    look = _Cluster(connection)
    needed = ("Describe", "Read") if is_source else ("Describe", "Write")
    return [
        ("topic", lambda: look.topic(topic, options, needed)),
        ("group", lambda: look.group(options.group) if is_source else None),
    ]


def round_trip_step(
    connection: KafkaConnection, topic: str, options: Options, *, is_source: bool
) -> tuple[str, Look]:
    """One record to the topic, and for who reads it, back. It writes."""

    def look() -> Seen:
        from eventpost.queues.kafka.round_trip import round_trip

        body = scratch(str(uuid.uuid4()))
        found = round_trip(connection, topic, options, body, reads=is_source)
        if isinstance(found, Failed) and is_source and found.evidence.operation == "send":
            return Unknown(f"we may not send to it: {found.evidence.detail}")
        return found

    return NAME, look


class _Cluster:
    """The looks at one cluster. Each has a connection of its own."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._is_own = not any(name.startswith(_OWN_PROTOCOL) for name in connection.config)

    def peers(self) -> list[Peer]:
        found = []
        for address in self._connection.bootstrap:
            host, _, port = address.rpartition(":")
            found.append(Peer(host.strip("[]"), int(port)))
        return found

    def other_ports(self) -> Sequence[int]:
        is_msk = any(region_of_broker(each.host) for each in self.peers())
        return tuple(MSK_PORTS)[:4] if is_msk else ()

    # --- before anything is sent ------------------------------------------------------------------

    def settings(self) -> str:
        if not self._connection.bootstrap:
            raise InvalidRequest(
                "NoBootstrap",
                "A connection of the kind kafka names no broker.",
                fix="Give bootstrap: [HOST:PORT, ...].",
            )
        encrypted = "TLS" if self._connection.is_encrypted else "no TLS"
        return f"{', '.join(self._connection.bootstrap)}, {encrypted}, auth {self._connection.auth}"

    def lint(self) -> Seen:
        """What is wrong on paper already: a port for another way to sign in, another region."""
        for peer in self.peers():
            region = region_of_broker(peer.host)
            wanted = MSK_PORTS.get(peer.port)
            if region is None or wanted is None:
                continue
            if self._connection.region and region != self._connection.region:
                detail = f"{peer.host} is in {region}, the settings say {self._connection.region}"
                return Faulty(code=WRONG_REGION, detail=detail)
            if wanted != self._connection.auth and self._is_own:
                detail = f"port {peer.port} takes auth {wanted}, the settings say "
                return Faulty(code=WRONG_PORT, detail=f"{detail}{self._connection.auth}")
        return None

    def credentials(self) -> Seen:
        connection = self._connection
        if connection.auth == "none":
            return None
        try:
            if connection.auth == "msk-iam":
                return aws.credentials(token_provider(connection).session)()
            secrets.resolve(connection.password)
        except EventpostError as error:
            return faulty(error)
        return f"{connection.username} by {connection.auth}, and its password is there"

    def clock(self) -> Seen:
        """Tokens carry times; passwords do not."""
        if self._connection.auth != "msk-iam":
            return None
        region = token_provider(self._connection).region
        return steps.clock(lambda: [Peer(f"sts.{region}.amazonaws.com", 443)])()

    # --- on the wire ------------------------------------------------------------------------------

    def tls(self) -> Seen:
        if not self._connection.is_encrypted:
            return None
        found = steps.tls(self.peers, self._context)()
        ended = (Fault.RESET, Fault.CLOSED, Fault.TIMED_OUT)
        if isinstance(found, Failed) and found.evidence.fault in ended:
            return self._perhaps_plain(found)
        return found

    def _perhaps_plain(self, failed: Failed) -> Failed:
        """Whoever ends a TLS greeting without a word may be a listener without TLS."""

        for peer in self.peers()[:1]:
            with contextlib.suppress(OSError, Hung, Strange, Refused):
                with network.connected(peer, BOUNDS) as (plain, _):
                    Talk(plain).versions()
                detail = "it answers Kafka's protocol without TLS"
                return Failed(
                    msgspec.structs.replace(failed.evidence, fault=Fault.NOT_TLS, detail=detail)
                )
        return failed

    def protocol(self) -> Seen:
        if not self._is_own:
            return Unknown("the connection's `config` sets the protocol itself")
        return self._talk(_versions, "CLOSED_AT_FIRST_REQUEST", is_signed_in=False)

    def authentication(self) -> Seen:
        if not self._is_own or self._connection.auth == "none":
            return None
        mechanism = self._mechanism()
        told = f"the broker accepts who we are, by {mechanism}"
        return _told_apart(self._talk(lambda _: told, "CLOSED_IN_AUTHENTICATION"))

    def brokers(self) -> Seen:
        """Clients are sent on to the names that the cluster gives its brokers."""
        if not self._is_own:
            return None
        found: list[Cluster] = []

        def ask(talk: Talk) -> str:
            found.append(talk.cluster())
            return ""

        seen = self._talk(ask, "CLOSED_AFTER_AUTHENTICATION")
        return self._each_broker(found[0]) if found else seen

    def _each_broker(self, cluster: Cluster) -> Seen:
        tried = [Peer(host, port) for host, port in cluster.brokers[:BROKERS_TRIED_MAX]]
        for peer in tried:
            if peer in self.peers():
                continue  # it was reached by that name already
            way: object = network.look_up(peer, BOUNDS)
            way = way if isinstance(way, Failed) else network.try_to_connect(peer, BOUNDS)
            if not isinstance(way, Way):
                assert isinstance(way, Failed)
                return _advertised(way, peer)
        return f"{len(cluster.brokers)} named by the cluster, all can be reached"

    # --- a topic and its group --------------------------------------------------------------------

    def topic(self, name: str, options: Options, needed: Sequence[str]) -> Seen:
        if not self._is_own:
            return None

        def ask(talk: Talk) -> str:
            found = talk.cluster((name,)).topics[name]
            if found.error == 3 and options.create:
                return "it is not there yet, and is made at its first use"
            if found.error:
                raise Refused(found.error, f"the topic {name}")
            return _judged(name, found.allowed, needed, found.partition_count)

        return self._talk(ask, "CLOSED_AFTER_AUTHENTICATION", operation=needed[-1].lower())

    def group(self, name: str) -> Seen:
        if not self._is_own:
            return None
        return self._talk(
            lambda talk: f"{name} is kept by {talk.coordinator(name)}",
            "CLOSED_AFTER_AUTHENTICATION",
        )

    # --- a conversation ---------------------------------------------------------------------------

    def _talk(
        self,
        ask: Callable[[Talk], str],
        closed: str,
        *,
        is_signed_in: bool = True,
        operation: str = "probe",
    ) -> Seen:
        """What `ask` says, or what a conversation that ended otherwise means."""
        peer, began_s = self.peers()[0], time.monotonic()
        try:
            with self._open(peer) as talk:
                if is_signed_in and self._connection.auth != "none":
                    self._sign_in(talk)
                return ask(talk)
        except EventpostError as error:
            return faulty(error)
        except Refused as refusal:
            found = _answered(refusal.code, refusal.text, peer)
        except (Hung, ConnectionResetError, BrokenPipeError):
            found = self._ended(closed, peer)
        except Strange as strange:
            found = self._strange(strange.head, peer)
        except OSError as error:
            found = network.failed_of(error, Stage.WAIT, peer).evidence
        return _timed(found, operation, began_s)

    @contextlib.contextmanager
    def _open(self, peer: Peer) -> Iterator[Talk]:
        with contextlib.ExitStack() as stack:
            speaking, _ = stack.enter_context(network.connected(peer, BOUNDS))
            if self._connection.is_encrypted:
                wrapped = self._context().wrap_socket(speaking, server_hostname=peer.host)
                speaking = stack.enter_context(wrapped)
            yield Talk(speaking)

    def _ended(self, code: str, peer: Peer) -> Evidence:
        detail = ""
        if code == "CLOSED_AT_FIRST_REQUEST" and not self._connection.is_encrypted:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if not isinstance(network.try_tls(peer, context, BOUNDS), Failed):
                detail = "a TLS greeting is answered at this port"
        return Evidence(
            stage=Stage.WAIT, fault=Fault.CLOSED, code=code, address=str(peer), detail=detail
        )

    def _strange(self, head: bytes, peer: Peer) -> Evidence:
        if head[:2] == b"\x15\x03":  # an alert of TLS in the place of an answer
            return self._ended("CLOSED_AT_FIRST_REQUEST", peer)
        return Evidence(
            stage=Stage.READ,
            fault=Fault.MALFORMED,
            code="NOT_KAFKA",
            address=str(peer),
            detail=f"what came begins with {head[:8]!r}",
        )

    def _mechanism(self) -> str:
        return (
            "OAUTHBEARER" if self._connection.auth == "msk-iam" else self._connection.auth.upper()
        )

    def _sign_in(self, talk: Talk) -> None:
        connection = self._connection
        if connection.auth == "msk-iam":
            secret = token_provider(connection).token()
        else:
            secret = secrets.resolve(connection.password)
        sign_in(talk, self._mechanism(), connection.username, secret)

    def _context(self) -> ssl.SSLContext:
        connection = self._connection
        context = ssl.create_default_context()
        if connection.ca_file:
            context.load_verify_locations(cafile=connection.ca_file)
        if connection.certificate_file:
            context.load_cert_chain(connection.certificate_file, connection.key_file or None)
        if connection.tls_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _versions(talk: Talk) -> str:
    return f"Kafka's protocol, {len(talk.versions())} kinds of requests"


def _told_apart(seen: Seen) -> Seen:
    """Brokers refuse with one code for many reasons; what they say beside it decides."""
    if not isinstance(seen, Failed):
        return seen
    code = rank(seen.evidence).code
    if code == classify(seen.evidence):
        return seen
    return Faulty(code=code, detail=seen.evidence.detail, evidence=seen.evidence)


def _judged(name: str, allowed: Sequence[str] | None, needed: Sequence[str], count: int) -> str:
    """Raises Refused when something that is needed is not allowed."""
    if allowed is None:
        return f"{count} partitions; the brokers do not tell what we may do"
    missing = [each for each in needed if each not in allowed]
    told = f"of the topic {name} we may: {', '.join(allowed) or 'nothing'}"
    if missing:
        actions = ", ".join(f"kafka-cluster:{IAM_ACTIONS[each]}" for each in missing)
        raise Refused(29, f"{told}; missing: {', '.join(missing)} (with IAM {actions})")
    return f"{count} partitions; {told}"


def _answered(code: str, text: str, peer: Peer) -> Evidence:
    return Evidence(stage=Stage.ANSWER, fault=Fault.CODE, code=code, address=str(peer), detail=text)


def _timed(evidence: Evidence, operation: str, began_s: float) -> Failed:

    is_silent = evidence.fault is Fault.TIMED_OUT and evidence.stage is Stage.WAIT
    return Failed(
        msgspec.structs.replace(
            evidence,
            code="_TIMED_OUT" if is_silent else evidence.code,
            system=SYSTEM,
            operation=operation,
            elapsed_ms=round((time.monotonic() - began_s) * 1_000),
        )
    )


def _advertised(failed: Failed, peer: Peer) -> Failed:

    detail = f"the cluster sends its clients to {peer}: {failed.evidence.fault.value} there"
    code = "ADVERTISED_UNREACHABLE"
    evidence = msgspec.structs.replace(failed.evidence, system=SYSTEM, code=code, detail=detail)
    return Failed(evidence)

"""Kafka's ladder on a real broker: healthy at every entrance, and each fault by its own name."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AclOperation, AclPermissionType

from eventpost.diagnosis.doctor.climbing import SECONDS_MAX
from tests.doctor.wards import (
    Script,
    black_hole,
    closing,
    connected,
    examined,
    names,
    peer,
    refused_port,
    resetting,
    saying,
    silent,
    verdict,
)
from tests.services.kafka import PASSWORD, USER, Kafka
from tests.services.kafka_clients import add_rules, add_scram_user, make_topic, topic_rule
from tests.services.service import fresh_name

slow = pytest.mark.slow
Settings = dict[str, object]


def secret(tmp_path: Path, text: str = PASSWORD) -> str:
    file = tmp_path / "password"
    file.write_text(text)
    return f"file:{file}"


def at(kafka: Kafka, entrance: str, **more: object) -> Settings:
    return {"kind": "kafka", "bootstrap": [kafka.address(entrance)], **more}


def trusted(kafka: Kafka, entrance: str, **more: object) -> Settings:
    return at(kafka, entrance, tls=True, ca_file=str(kafka.ca_file), **more)


def signed(kafka: Kafka, tmp_path: Path, **more: object) -> Settings:
    password = more.pop("password", None) or secret(tmp_path)
    given = {"auth": "plain", "username": USER, "password": password, **more}
    return trusted(kafka, "password", **given)


@slow
def test_healthy_entrances(kafka: Kafka, tmp_path: Path) -> None:
    """A cluster that can be used has no finding: plain, over TLS, by password and by SCRAM."""
    user = fresh_name("user")
    add_scram_user(kafka, user, PASSWORD)
    scram = signed(kafka, tmp_path, auth="scram-sha-512", username=user)

    for settings in (at(kafka, "plain"), trusted(kafka, "tls"), signed(kafka, tmp_path), scram):
        found = connected(settings)
        assert verdict(found) == ("", ""), found
        assert not found.warnings, found
        assert names(found)[-1] == "brokers"


@slow
def test_tokens_of_a_role(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """With IAM the ladder shows which link of AWS's chain signs, and that the broker takes it."""
    key = kafka.add_key()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key.secret_access_key)
    settings = at(kafka, "iam", auth="msk-iam", region=kafka.region, ca_file=str(kafka.ca_file))

    found = connected(settings)
    kafka.revoke(key)
    refused = connected(settings)

    assert verdict(found) == ("", ""), found
    assert "env (AKIA****" in next(
        each.detail for each in found.rungs if each.name == "credentials"
    )
    assert verdict(refused) == ("authentication", "EP4402"), refused


CASES: dict[str, tuple[tuple[str, str], Callable[[Kafka, Path], Settings]]] = {
    "plain text to a TLS port": (("protocol", "EP4404"), lambda kafka, _: at(kafka, "tls")),
    "TLS to a plain port": (("tls", "EP2109"), lambda kafka, _: trusted(kafka, "plain")),
    "unknown authority": (("tls", "EP2105"), lambda kafka, _: at(kafka, "tls", tls=True)),
    "wrong password": (
        ("authentication", "EP4402"),
        lambda kafka, folder: signed(kafka, folder, password=secret(folder, "wrong")),
    ),
    "mechanism not enabled": (
        ("authentication", "EP4403"),
        lambda kafka, folder: {
            **signed(kafka, folder),
            "bootstrap": [kafka.address("iam")],
        },
    ),
    "no sign-in at a port that wants it": (
        ("brokers", "EP6010"),
        lambda kafka, _: trusted(kafka, "password"),
    ),
    "a password that is not there": (
        ("credentials", "EP4042"),
        lambda kafka, folder: signed(kafka, folder, password=f"file:{folder}/none"),
    ),
}


@slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_at_a_real_broker(kafka: Kafka, tmp_path: Path, case: str) -> None:
    """Each fault ends the climb at its own rung, with its own finding."""
    wanted, new = CASES[case]

    found = connected(new(kafka, tmp_path))

    assert verdict(found) == wanted, found


@slow
def test_a_sign_in_where_there_is_none(kafka: Kafka, tmp_path: Path) -> None:
    """A listener without SASL says so, and is not taken for one that refuses the password."""
    settings = at(kafka, "plain", auth="plain", username=USER, password=secret(tmp_path))

    assert verdict(connected(settings)) == ("authentication", "EP4405")


# --- a topic --------------------------------------------------------------------------------------


def pulled(connection: Settings, topic: str) -> dict[str, object]:
    source = {"kind": "kafka", "connection": "patient", "queue": topic, "topic": "songs"}
    subscription = {
        "topic": "songs",
        "endpoint_type": "kafka",
        "endpoint": topic,
        "connection": "patient",
    }
    return {
        "connections": {"patient": connection},
        "topics": {"songs": {}},
        "sources": {"jobs": source},
        "subscriptions": {"out": subscription},
    }


@slow
def test_a_topic_that_may_be_read_only(kafka: Kafka, tmp_path: Path) -> None:
    """A source is healthy where reading is allowed, and a destination names the missing right."""
    topic = make_topic(kafka)
    principal, allow = f"User:{USER}", AclPermissionType.ALLOW
    add_rules(
        kafka,
        topic_rule(topic, principal, allow, AclOperation.READ),
        topic_rule(topic, principal, allow, AclOperation.DESCRIBE),
    )
    config = pulled(signed(kafka, tmp_path), topic)

    reading, writing = examined(config, "jobs"), examined(config, "out")

    assert verdict(reading) == ("", ""), reading
    assert verdict(writing) == ("topic", "EP4406"), writing
    assert writing.broken is not None
    assert "kafka-cluster:WriteData" in writing.broken.detail


@slow
def test_a_topic_that_is_missing(kafka: Kafka) -> None:
    """A topic that is not there is told, and not made by asking for it."""
    config = pulled(at(kafka, "plain"), fresh_name("missing"))

    assert verdict(examined(config, "jobs")) == ("topic", "EP4408")
    assert verdict(examined(config, "out")) == ("topic", "EP4408")


# --- without a broker -------------------------------------------------------------------------


def near(port: int, **more: object) -> Settings:
    return {"kind": "kafka", "bootstrap": [f"127.0.0.1:{port}"], **more}


def test_a_refused_port() -> None:
    """A port where nobody listens is refused at once."""
    with refused_port() as port:
        assert verdict(connected(near(port))) == ("route", "EP2004")


@slow
def test_a_port_behind_a_firewall() -> None:
    """Packets that are dropped are told from a refusal, and within the bound."""
    with black_hole() as port:
        found = connected(near(port), seconds_max=SECONDS_MAX)

    assert verdict(found) == ("route", "EP2006")  # not EP6001: it did not have to be left


SCRIPTS = {
    "closes": (closing, "EP4404"),
    "resets in the middle of recv": (resetting, "EP4404"),
    "answers HTTP": (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "EP6011"),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_peer_that_is_no_broker(case: str) -> None:
    """A connection that is reset in the middle is told from one of another protocol."""
    script, code = SCRIPTS[case]
    with peer(script) as port:
        assert verdict(connected(near(port))) == ("protocol", code)


@slow
def test_a_peer_that_is_silent() -> None:
    """A peer that accepts and says nothing costs seconds, and is told as no answer."""
    with peer(silent) as port:
        assert verdict(connected(near(port))) == ("protocol", "EP4401")


def hangs_up_in_authentication(connection: socket.socket) -> None:
    """Answers like a broker until it is told who we are."""
    connection.recv(65_536)
    connection.sendall(bytes.fromhex("0000000a00000001000000000000"))
    connection.recv(65_536)


def test_a_broker_that_hangs_up_in_authentication(tmp_path: Path) -> None:
    """A connection that ends without a word while we sign in has a finding of its own."""
    settings = {"auth": "plain", "username": USER, "password": secret(tmp_path)}
    with peer(hangs_up_in_authentication) as port:
        found = connected(near(port, **settings))

    assert verdict(found) == ("authentication", "EP6006"), found


@pytest.mark.cites("https://github.com/aws/aws-msk-iam-auth/issues/28")
def test_too_many_connections_of_a_role(tmp_path: Path) -> None:
    """Amazon MSK refuses new connections beyond its rate with the code of a wrong password; what it
    says beside that is told as what it is."""
    settings = {"auth": "plain", "username": USER, "password": secret(tmp_path)}
    text = "[6f1c2f5e-2a57-4ad9-8d0e-6a5e2a3f0c11]: Too many connects"
    with peer(refusing_who_we_are(text)) as port:
        found = connected(near(port, **settings))
    with peer(refusing_who_we_are("[6f1c2f5e]: Access denied")) as port:
        other = connected(near(port, **settings))

    assert verdict(found) == ("authentication", "EP6016"), found
    assert verdict(other) == ("authentication", "EP4402"), other


def refusing_who_we_are(text: str) -> Script:
    """A broker that offers PLAIN, and answers SASL_AUTHENTICATION_FAILED with this text."""
    said = text.encode()
    answers = {
        18: struct.pack(">hi", 0, 0),
        17: struct.pack(">hih", 0, 1, 5) + b"PLAIN",
        36: struct.pack(">hh", 58, len(said)) + said + struct.pack(">iq", 0, 0),
    }

    def answer(connection: socket.socket) -> None:
        while request := connection.recv(65_536):
            key, _, number = struct.unpack(">hhi", request[4:12])
            told = answers[key]
            connection.sendall(struct.pack(">ii", len(told) + 4, number) + told)

    return answer


def test_brokers_by_names_that_nobody_knows() -> None:
    """When the cluster sends its clients to a name that is unknown here, that name is told."""
    with peer(metadata_of("broker.invalid", 9092)) as port:
        found = connected(near(port))

    assert verdict(found) == ("brokers", "EP6009"), found
    assert found.broken is not None
    assert "broker.invalid:9092" in found.broken.detail


def metadata_of(host: str, port: int) -> Script:
    """A broker that names this one as the cluster's only broker."""
    name = host.encode()
    body = struct.pack(">ii", 0, 1) + struct.pack(">ih", 1, len(name)) + name
    body += struct.pack(">ih", port, -1) + struct.pack(">hii", -1, 1, 0) + struct.pack(">i", 0)

    def answer(connection: socket.socket) -> None:
        while request := connection.recv(65_536):
            key, _, number = struct.unpack(">hhi", request[4:12])
            told = struct.pack(">hi", 0, 0) if key == 18 else body
            connection.sendall(struct.pack(">ii", len(told) + 4, number) + told)

    return answer


MSK = "b-1.songs.abcdef.c3.kafka.eu-west-1.amazonaws.com"
LINTS: dict[str, tuple[Settings, str]] = {
    "the port of SCRAM": ({"bootstrap": [f"{MSK}:9096"], "auth": "msk-iam"}, "EP6007"),
    "the port of TLS alone": ({"bootstrap": [f"{MSK}:9094"], "auth": "msk-iam"}, "EP6007"),
    "the public port of IAM": ({"bootstrap": [f"{MSK}:9198"], "tls": True}, "EP6007"),
    "another region": (
        {"bootstrap": [f"{MSK}:9098"], "auth": "msk-iam", "region": "eu-central-1"},
        "EP6008",
    ),
    "no broker": ({"bootstrap": []}, "EP6003"),
}


@pytest.mark.parametrize("case", LINTS)
def test_what_is_wrong_on_paper(case: str) -> None:
    """A port of another way to sign in, and another region, are told before anybody is asked."""
    settings, code = LINTS[case]

    assert verdict(connected({"kind": "kafka", **settings})) == ("settings", code)

"""Logging in to RabbitMQ by the client's certificate, on a server that asks for one."""

import json
from pathlib import Path

import pytest
import trustme

from eventpost.core.outcomes import Delivered, Failed
from eventpost.diagnosis.classify import classify
from eventpost.queues.interfaces import Message
from eventpost.queues.rabbitmq import RabbitmqConnection
from tests.queues.rabbitmq.brokers import opened
from tests.services.fixtures import OwnServices
from tests.services.rabbitmq import CONFIGURATION, RabbitMQ

USER, STRANGER = "dj", "nobody"
"""The user of the certificate that is let in, and the name in one that is not."""

ASKING = """
auth_mechanisms.1 = EXTERNAL
ssl_cert_login_from = common_name
ssl_options.cacertfile = ca.pem
"""


class RabbitMQWithCertificates(RabbitMQ):
    """Lets in whoever shows a certificate of its authority for a user that it knows."""

    name = "rabbitmq-certificates"

    def prepare(self) -> None:
        super().prepare()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca_file)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            self.directory / "server.pem"
        )
        for user in (USER, STRANGER):
            issued = authority.issue_cert(f"{user}.example", common_name=user)
            issued.private_key_and_cert_chain_pem.write_to_path(self.certificate_of(user))
        asking = CONFIGURATION.format(**self.ports)
        asking = asking.replace("verify_none", "verify_peer").replace(
            "fail_if_no_peer_cert = false", "fail_if_no_peer_cert = true"
        )
        (self.directory / "rabbitmq.conf").write_text(asking + ASKING)
        (self.directory / "enabled_plugins").write_text("[rabbitmq_auth_mechanism_ssl].\n")
        definitions = self.directory / "definitions.json"
        known = json.loads(definitions.read_text())
        known["users"].append({"name": USER, "password_hash": "", "tags": ""})
        known["permissions"].append(
            {"user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        )
        definitions.write_text(json.dumps(known))

    def certificate_of(self, user: str) -> Path:
        return self.directory / f"{user}.pem"

    def settings(self, user: str) -> RabbitmqConnection:
        return RabbitmqConnection(
            url=f"amqps://localhost:{self.ports['amqps']}",
            auth="external",
            ca_file=str(self.ca_file),
            certificate_file=str(self.certificate_of(user)),
        )


@pytest.mark.slow
def test_a_certificate_opens(own_service: OwnServices) -> None:
    """The client's certificate alone says who we are; one that names nobody known is refused, and
    a client that shows none does not get as far as a login."""
    server = own_service(RabbitMQWithCertificates).service

    queue = opened(server.settings(USER), "songs", create=True, queue_type="classic")
    [outcome] = queue.send([Message(body=b"1")])
    rungs = queue.probe()
    queue.close()
    assert isinstance(outcome, Delivered), outcome
    assert [each.failed for each in rungs] == [None] * 8
    assert {each.name: each.detail for each in rungs}["authentication"] == "by certificate"

    stranger = opened(server.settings(STRANGER), "songs")
    [outcome] = stranger.send([Message(body=b"1")])
    stranger.close()
    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) == "EP4301"

    bare = RabbitmqConnection(
        url=f"amqps://localhost:{server.ports['amqps']}", ca_file=str(server.ca_file)
    )
    without = opened(bare, "songs")
    [outcome] = without.send([Message(body=b"1")])
    without.close()
    assert isinstance(outcome, Failed)
    assert classify(outcome.evidence) in ("EP2108", "EP2102", "EP2204", "EP2205"), outcome

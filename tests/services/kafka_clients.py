"""The tests' Kafka for users of confluent-kafka: settings for each entrance, topics and rules."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.services.iam_tokens import EXPIRES_S, iam_token
from tests.services.kafka import PASSWORD, USER, IamKey, Kafka
from tests.services.service import fresh_name

CALL_S_MAX = 120.0


def plain_settings(kafka: Kafka) -> dict[str, Any]:
    return {"bootstrap.servers": kafka.address("plain")}


def tls_settings(kafka: Kafka) -> dict[str, Any]:
    return _encrypted(kafka, "tls") | {"security.protocol": "SSL"}


def password_settings(
    kafka: Kafka, user: str = USER, password: str = PASSWORD, *, mechanism: str = "PLAIN"
) -> dict[str, Any]:
    return _encrypted(kafka, "password") | {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
    }


def iam_settings(kafka: Kafka, key_or_token: IamKey | Callable[[], str]) -> dict[str, Any]:
    """With a key, good tokens of it; else whatever tokens the function gives."""

    def token() -> str:
        return iam_token(key_or_token) if isinstance(key_or_token, IamKey) else key_or_token()

    return _encrypted(kafka, "iam") | {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": lambda _config: (token(), time.time() + EXPIRES_S),
    }


def make_topic(kafka: Kafka, *, partitions: int = 1, name: str = "") -> str:
    """The name of a new one, which the broker knows already: its controller knew it before."""
    name = name or fresh_name("topic")
    administrator = AdminClient(plain_settings(kafka))
    administrator.create_topics([NewTopic(name, partitions)])[name].result(CALL_S_MAX)
    end_s = time.monotonic() + CALL_S_MAX
    while name not in administrator.list_topics(timeout=CALL_S_MAX).topics:
        assert time.monotonic() < end_s, f"the broker does not know {name}"
        time.sleep(0.02)
    return name


def add_rules(kafka: Kafka, *rules: AclBinding) -> None:
    """From now on they hold; see `topic_rule`."""
    _administer(kafka, lambda admin: admin.create_acls(list(rules)))


def remove_rules(kafka: Kafka, *rules: AclBinding) -> None:
    """From now on they do not."""
    filters = [
        AclBindingFilter(
            one.restype,
            one.name,
            one.resource_pattern_type,
            one.principal,
            one.host,
            one.operation,
            one.permission_type,
        )
        for one in rules
    ]
    _administer(kafka, lambda admin: admin.delete_acls(filters))


def group_rule(
    group: str, principal: str, permission: AclPermissionType, operation: AclOperation
) -> AclBinding:
    literal = ResourcePatternType.LITERAL
    return AclBinding(ResourceType.GROUP, group, literal, principal, "*", operation, permission)


def topic_rule(
    topic: str, principal: str, permission: AclPermissionType, operation: AclOperation
) -> AclBinding:
    """The principal is a key's, or `User:*`; a denial comes before whatever is allowed."""
    literal = ResourcePatternType.LITERAL
    return AclBinding(ResourceType.TOPIC, topic, literal, principal, "*", operation, permission)


def add_scram_user(kafka: Kafka, user: str, password: str) -> None:
    """One who comes in at `password` with SCRAM-SHA-512."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = UserScramCredentialUpsertion(user, info, password.encode())
    _administer(kafka, lambda admin: admin.alter_user_scram_credentials([wanted]))


def _administer(kafka: Kafka, ask: Callable[[AdminClient], Mapping[Any, Future[Any]]]) -> None:
    administrator = AdminClient(plain_settings(kafka))
    # It must live until all is answered.
    for done in ask(administrator).values():
        done.result(CALL_S_MAX)


def _encrypted(kafka: Kafka, entrance: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": kafka.address(entrance),
        "broker.address.family": "v4",
        "ssl.ca.location": str(kafka.ca_file),
    }

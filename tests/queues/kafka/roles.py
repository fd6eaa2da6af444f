"""The role of a task whose keys rotate, at brokers that verify the tokens signed with them."""

from eventpost.testing.aws_keys import Issued
from eventpost.testing.aws_metadata import AwsMetadata
from tests.services.kafka import IamKey, Kafka

LIFE_S = 15.0
"""Of keys that rotate."""


class Role:
    """The role of a task, whose keys the brokers know."""

    def __init__(self, kafka: Kafka, metadata: AwsMetadata) -> None:
        self.metadata = metadata
        self._kafka = kafka
        self._good: list[IamKey] = []
        self._admit(metadata.keys.current)

    def rotate(self, *, left: int = 2) -> None:
        """New keys; so many sets in all are good after it."""
        self._admit(self.metadata.rotate())
        while len(self._good) > left:
            self._kafka.revoke(self._good.pop(0))

    def _admit(self, issued: Issued) -> None:
        key = IamKey(
            issued.access_key_id, issued.secret_access_key, issued.session_token, "User:station"
        )
        self._kafka.admit(key)
        self._good.append(key)

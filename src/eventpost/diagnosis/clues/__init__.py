"""What libraries say when something is wrong, as clues; services first, then the way to them."""

from eventpost.diagnosis.clues import aws, azure, endpoints, kafka, network, rabbitmq
from eventpost.diagnosis.clues.clue import SUMMARY, Clue

CLUES: tuple[Clue, ...] = (
    *kafka.CLUES,
    *aws.CLUES,
    *azure.CLUES,
    *rabbitmq.CLUES,
    *network.CLUES,
    *endpoints.CLUES,
)

__all__ = ["CLUES", "SUMMARY", "Clue"]

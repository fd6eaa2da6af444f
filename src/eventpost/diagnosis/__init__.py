"""What went wrong: evidence in, a numbered finding out, with its cause, the check and the fix."""

import importlib


def lambda_handler(event: object, context: object = None) -> dict[str, object]:
    """The doctor as the handler of an AWS Lambda function: what it sees from inside the network.

    Name it `eventpost.diagnosis.lambda_handler`. See `eventpost.app.doctor.rounds`, where the work
    is done: this name stands here for people, and is found when it is called, because what it needs
    lies above this layer.
    """
    rounds = importlib.import_module("eventpost.app.doctor.rounds")
    answer: dict[str, object] = rounds.lambda_handler(event, context)
    return answer

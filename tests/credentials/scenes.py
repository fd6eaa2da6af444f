"""Programs that run where the addresses of AWS are their own: `python -m ... SCENE`, as JSON."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from eventpost.credentials import aws
from eventpost.testing.aws_metadata import CONTAINER_PATH, POD_PATH, AwsMetadata

ECS = "169.254.170.2"
POD = "169.254.170.23"
INSTANCE = "169.254.169.254"
Told = dict[str, object]
SETTINGS = aws.AwsConnection(region="eu-central-1")


def answered() -> Told:
    """What a session says after it was used."""
    session = aws.session(SETTINGS)
    try:
        keys, _ = session.frozen()
    except Exception as error:  # noqa: BLE001  # told to the test
        return {"evidence": msgspec.to_builtins(aws.evidence_of(error, "send"))}
    return {"report": msgspec.to_builtins(session.report()), "key_id": keys.access_key}


def task() -> Told:
    """ECS: a relative URI, nothing else. The keys rotate, and a new session finds the new ones."""
    os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = CONTAINER_PATH
    with AwsMetadata(host=ECS, port=80) as metadata:
        first = answered()
        metadata.rotate()
        aws.session(SETTINGS).renew()
        second = answered()
        return {
            "first": first,
            "second": second,
            "issued": [each.access_key_id for each in metadata.keys.issued],
            "hosts": [asked.headers["host"] for asked in metadata.asked],
            "paths": [asked.path for asked in metadata.asked],
        }


def relative_before_full() -> Told:
    """A relative URI wins over a full one, and the task's role over the instance's."""
    os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = CONTAINER_PATH
    with (
        AwsMetadata(host=ECS, port=80) as task_role,
        AwsMetadata() as full,
        AwsMetadata(host=INSTANCE, port=80) as instance,
    ):
        os.environ |= full.container()
        os.environ.pop("AWS_EC2_METADATA_DISABLED")
        told = answered()
        return {**told, "asked": [len(each.asked) for each in (task_role, full, instance)]}


def task_unreachable() -> Told:
    """ECS, but nobody listens at its address."""
    os.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = CONTAINER_PATH
    return answered()


def pod() -> Told:
    """EKS Pod Identity: the agent's own address, and a token file that changes."""
    with tempfile.TemporaryDirectory() as folder, AwsMetadata(host=POD, port=80) as agent:
        file = Path(folder) / "eks-pod-identity-token"
        file.write_text("first")
        os.environ |= agent.container(token_file=file)
        os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://{POD}{POD_PATH}"
        first = answered()
        file.write_text("second")
        aws.session(SETTINGS).renew()
        second = answered()
        tokens = [asked.headers["authorization"] for asked in agent.asked]
        return {"first": first, "second": second, "tokens": tokens}


def instance() -> Told:
    """EC2: version 2 of the metadata service at its own address."""
    os.environ.pop("AWS_EC2_METADATA_DISABLED")
    with AwsMetadata(host=INSTANCE, port=80) as metadata:
        told = answered()
        return {**told, "calls": [f"{asked.method} {asked.path}" for asked in metadata.asked]}


def instance_behind_a_hop_limit() -> Told:
    """A container on EC2 whose token requests are never answered."""
    os.environ.pop("AWS_EC2_METADATA_DISABLED")
    with AwsMetadata(host=INSTANCE, port=80) as metadata:
        metadata.loses_token_replies = True
        told = answered()
        return {**told, "calls": [f"{asked.method} {asked.path}" for asked in metadata.asked]}


def nowhere() -> Told:
    """A machine that is no instance and has nothing configured."""
    os.environ.pop("AWS_EC2_METADATA_DISABLED")
    return answered()


SCENES: dict[str, Callable[[], Told]] = {
    scene.__name__: scene
    for scene in (
        task,
        relative_before_full,
        task_unreachable,
        pod,
        instance,
        instance_behind_a_hop_limit,
        nowhere,
    )
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(SCENES[sys.argv[1]]()))

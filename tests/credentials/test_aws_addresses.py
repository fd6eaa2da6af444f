"""The fixed addresses of AWS, in a network namespace in which they are this machine's."""

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from eventpost.core.outcomes import Evidence
from eventpost.diagnosis.classify import classify
from eventpost.testing.aws_metadata import CONTAINER_PATH, ROLES_PATH, TOKEN_PATH
from tests.credentials import namespace, scenes

pytestmark = pytest.mark.slow


def played(scene: str, *addresses: str) -> dict[str, Any]:
    """What a scene told, played where these addresses are its own."""
    namespace.require_namespace()
    arguments = [*namespace.command(*addresses), sys.executable, "-m", scenes.__name__, scene]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def finding(told: dict[str, Any]) -> str:
    return classify(msgspec.convert(told["evidence"], Evidence))


def test_a_task_s_role() -> None:
    """A relative URI leads to 169.254.170.2, whose keys are used, and later those that followed."""
    told = played("task", scenes.ECS)

    assert told["first"]["report"]["link"] == "container-role"
    assert told["first"]["report"]["is_renewed"] is True
    assert [told["first"]["key_id"], told["second"]["key_id"]] == told["issued"]
    assert set(told["hosts"]) == {scenes.ECS}
    assert set(told["paths"]) == {CONTAINER_PATH}


def test_a_relative_uri_wins() -> None:
    """With a relative and a full URI, and on an instance, the relative one alone is asked."""
    told = played("relative_before_full", scenes.ECS, scenes.INSTANCE)

    assert told["report"]["link"] == "container-role"
    assert told["asked"] == [1, 0, 0]


@pytest.mark.parametrize("addresses", [(scenes.ECS,), ()], ids=["refused", "no route"])
def test_a_task_s_role_out_of_reach(addresses: tuple[str, ...]) -> None:
    """A relative URI on a machine, or in a network, that cannot reach its service is told so."""
    told = played("task_unreachable", *addresses)

    assert finding(told) == "EP4503"


def test_a_pod_s_identity() -> None:
    """The agent's address is allowed by the SDK, and a changed token file is read."""
    told = played("pod", scenes.POD)

    assert told["first"]["report"]["link"] == "container-role"
    assert told["second"]["report"]["link"] == "container-role"
    assert told["tokens"] == ["first", "second"]


def test_an_instance_s_role() -> None:
    """Version 2 of the metadata service: a session token first, then the role, then its keys."""
    told = played("instance", scenes.INSTANCE)

    assert told["report"]["link"] == "iam-role"
    assert told["calls"] == [
        f"PUT {TOKEN_PATH}",
        f"GET {ROLES_PATH}",
        f"GET {ROLES_PATH}station",
    ]


def test_a_hop_limit() -> None:
    """In a container behind a hop limit of 1 the token never arrives, and that is told."""
    told = played("instance_behind_a_hop_limit", scenes.INSTANCE)

    assert finding(told) == "EP4508"
    assert told["evidence"]["elapsed_ms"] >= 1_000


def test_nothing_anywhere() -> None:
    """A machine without a route to the metadata service fails at once, and is not told to look at
    the metadata service."""
    told = played("nowhere")

    assert finding(told) == "EP4501"

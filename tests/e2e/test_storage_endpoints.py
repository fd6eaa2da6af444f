"""From a publish to a file in a container and in a bucket: the whole server, real services."""

import json
from pathlib import Path

import pytest

from tests.destinations.storages import (
    blob_settings,
    blobs,
    new_bucket,
    new_container,
    objects,
    s3_settings,
)
from tests.server.running import EVENT, problem, served, until
from tests.services.azurite import Azurite
from tests.services.moto import Moto

pytestmark = pytest.mark.slow


def test_files_in_all_places(
    tmp_path: Path, azurite: Azurite, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every event lies once in the folder, in the container and in the bucket, as it is counted."""
    container, bucket = new_container(azurite), new_bucket(moto)
    connections = {
        "account": ("azure-storage", blob_settings(azurite, monkeypatch)),
        "cloud": ("aws", s3_settings(moto, monkeypatch)),
    }
    endpoints = {
        "folder": (str(tmp_path / "songs"), None),
        "azureblob": (container, "account"),
        "s3": (f"{bucket}/songs", "cloud"),
    }
    with served(tmp_path / "data") as server, server.admin() as admin:
        for name, (kind, settings) in connections.items():
            admin.post("/connections", json={"name": name, "kind": kind, "settings": settings})
        admin.post("/topics", json={"name": "songs"})
        for kind, (address, connection) in endpoints.items():
            declared = {"name": f"to-{kind}", "topic": "songs", "endpointType": kind}
            answer = admin.post(
                "/subscriptions", json=declared | {"endpoint": address, "connection": connection}
            )
            assert answer.status_code == 201, answer.text
        events = [EVENT | {"id": f"e-{number}"} for number in range(5)]
        assert admin.post("/topics/songs/publish", json=events).status_code == 200

        for kind in endpoints:
            at = f"/subscriptions/to-{kind}"
            until(lambda at=at: admin.get(at).json()["books"]["delivered"] == 5)  # type: ignore[misc]
    found = {
        "FOLDER": [path.read_bytes() for path in (tmp_path / "songs").rglob("*.json")],
        "AZUREBLOB": list(blobs(azurite, container).values()),
        "S3": list(objects(moto, bucket).values()),
    }
    for name, bodies in found.items():
        ids = sorted(event["id"] for body in bodies for event in json.loads(body))
        assert ids == [f"e-{number}" for number in range(5)], name


def test_a_container_needs_an_account(tmp_path: Path) -> None:
    """A container of which nothing says the account is refused when it is declared."""
    with served(tmp_path / "data") as server, server.admin() as admin:
        admin.post("/topics", json={"name": "songs"})
        declared = {"name": "out", "topic": "songs", "endpointType": "azureblob"}

        document = problem(admin.post("/subscriptions", json=declared | {"endpoint": "dead"}), 400)

    assert "in which account" in document["detail"]

"""Storages on real services, each with a place of its own for every test."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from azure.storage.blob import BlobServiceClient

from eventpost.credentials import aws, azure
from eventpost.credentials.aws import AwsConnection
from eventpost.credentials.azure import AzureStorageConnection
from eventpost.destinations.azureblob import BlobStorage
from eventpost.destinations.folder import FolderStorage
from eventpost.destinations.places import parse
from eventpost.destinations.s3 import S3Storage
from eventpost.destinations.storages import Storage
from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from tests.services.azurite import ACCOUNT, Azurite
from tests.services.moto import Moto

NewStorage = Callable[[], Storage]
CONNECTION_STRING = "EVENTPOST_TEST_CONNECTION_STRING"
SECRET = "EVENTPOST_TEST_SECRET"


def new_name() -> str:
    """Of a container or a bucket that nobody else has."""
    return f"dead-{uuid.uuid4().hex[:20]}"


def blob_settings(service: Azurite, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Of a connection to the account of tests."""
    monkeypatch.setenv(CONNECTION_STRING, service.connection_string)
    return {"connection_string": f"env:{CONNECTION_STRING}"}


def s3_settings(service: Moto, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv(SECRET, SECRET_ACCESS_KEY)
    return {
        "region": REGION,
        "endpoint_url": service.url,
        "access_key_id": ACCESS_KEY_ID,
        "secret_access_key": f"env:{SECRET}",
    }


def blob_connection(service: Azurite, monkeypatch: pytest.MonkeyPatch) -> AzureStorageConnection:
    return msgspec.convert(blob_settings(service, monkeypatch), AzureStorageConnection)


def s3_connection(service: Moto, monkeypatch: pytest.MonkeyPatch) -> AwsConnection:
    return msgspec.convert(s3_settings(service, monkeypatch), AwsConnection)


def new_container(service: Azurite) -> str:
    name = new_name()
    with BlobServiceClient.from_connection_string(service.connection_string) as client:
        client.create_container(name)
    return name


def blobs(service: Azurite, container: str) -> dict[str, bytes]:
    """What is in a container, as the official client sees it."""
    with BlobServiceClient.from_connection_string(service.connection_string) as client:
        found = client.get_container_client(container)
        return {
            name: found.download_blob(name).readall() for name in sorted(found.list_blob_names())
        }


def s3_client(service: Moto) -> Any:
    return boto3.client(
        "s3",
        region_name=REGION,
        endpoint_url=service.url,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


def new_bucket(service: Moto) -> str:
    name = new_name()
    client = s3_client(service)
    client.create_bucket(Bucket=name)
    client.close()
    return name


def objects(service: Moto, bucket: str) -> dict[str, bytes]:
    client = s3_client(service)
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    found = {
        each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        for each in listed
    }
    client.close()
    return found


@pytest.fixture(params=["folder", "azureblob", "s3"])
def new_storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[NewStorage]:
    """Makes storages of one kind, each in a place of its own, below a prefix."""
    made: list[Storage] = []

    def new() -> Storage:
        storage: Storage
        if request.param == "folder":
            storage = FolderStorage(parse(f"folder:{tmp_path}/{new_name()}"))
        elif request.param == "azureblob":
            service = request.getfixturevalue("azurite")
            place = parse(f"azureblob://{ACCOUNT}/{new_container(service)}/some/where")
            storage = BlobStorage(blob_connection(service, monkeypatch), place)
        else:
            moto = request.getfixturevalue("moto")
            place = parse(f"s3://{new_bucket(moto)}/some/where")
            storage = S3Storage(s3_connection(moto, monkeypatch), place)
        made.append(storage)
        return storage

    yield new
    for each in made:
        each.close()
    aws.close_all()
    azure.close_all()

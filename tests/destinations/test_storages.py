"""Folders, containers and buckets keep files alike, and say what is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from eventpost.core.interfaces import FileWritten
from eventpost.core.outcomes import Failed
from eventpost.credentials import aws, azure
from eventpost.credentials.aws import AwsConnection
from eventpost.credentials.azure import AzureStorageConnection
from eventpost.destinations.azureblob import BlobStorage
from eventpost.destinations.folder import FolderStorage
from eventpost.destinations.places import parse
from eventpost.destinations.s3 import S3Storage
from eventpost.destinations.storages import Storage
from eventpost.diagnosis.classify import classify
from eventpost.testing.receiver import Answer, Receiver
from tests.destinations import storages
from tests.destinations.storages import (
    CONNECTION_STRING,
    NewStorage,
    blob_connection,
    new_bucket,
    new_container,
    new_name,
    s3_connection,
)
from tests.services.azurite import ACCOUNT, KEY, OTHER_KEY, Azurite
from tests.services.moto import Moto
from tests.services.ports import free_ports

new_storage = storages.new_storage
pytestmark = pytest.mark.slow

BLOB_CODES = "https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes"
NAME = "HANDLER/2026/1/2/3/4 & 5.json"
BODY = b'[{"id":"1"}]'


def names(storage: Storage, below: str = "") -> list[str]:
    found: list[str] = []
    for page in storage.names(below):
        assert not isinstance(page, Failed), page
        found += page
    return found


def finding(answer: object) -> str:
    assert isinstance(answer, Failed), answer
    return classify(answer.evidence)


# --- what all do ----------------------------------------------------------------------------------


def test_what_is_written_is_read(new_storage: NewStorage) -> None:
    """A file that was written is there under its name, and its bytes are what was given."""
    storage = new_storage()

    written = storage.write(NAME, BODY)

    assert isinstance(written, FileWritten)
    assert written.url == storage.url(NAME)
    assert storage.read(NAME, len(BODY)) == BODY
    assert names(storage) == [NAME]


def test_the_same_name_again(new_storage: NewStorage) -> None:
    """A file that is written again is replaced, as a whole."""
    storage = new_storage()
    storage.write(NAME, b"[1,2,3,4,5,6,7,8,9]")

    storage.write(NAME, BODY)

    assert storage.read(NAME, 100) == BODY
    assert names(storage) == [NAME]


def test_files_have_their_bound(new_storage: NewStorage) -> None:
    """A file of one byte more than may be read is not read, and the finding says so."""
    storage = new_storage()
    storage.write(NAME, BODY)

    assert storage.read(NAME, len(BODY)) == BODY
    assert finding(storage.read(NAME, len(BODY) - 1)) == "EP3331"


def test_an_empty_file(new_storage: NewStorage) -> None:
    """Nothing at all can be kept, and read."""
    storage = new_storage()
    storage.write(NAME, b"")

    assert storage.read(NAME, 10) == b""


def test_names_below(new_storage: NewStorage) -> None:
    """Only names that begin as asked for are told, in order; an empty place has none."""
    storage = new_storage()
    wanted = ["AB/2026/1/1/1/x.json", "AB/2026/1/10/1/x.json"]
    for name in (*reversed(wanted), "ABC/2026/1/1/1/x.json", "AB/2026/2/1/1/x.json", "A.json"):
        storage.write(name, BODY)

    assert names(storage, "AB/2026/1/1") == wanted
    assert names(storage, "none/") == []
    assert len(names(storage)) == 5


def test_a_file_that_is_gone(new_storage: NewStorage) -> None:
    """Reading what is not there is a failure with its finding."""
    storage = new_storage()
    storage.write("other.json", BODY)

    assert finding(storage.read(NAME, 10)) in ("EP3302", "EP3312", "EP3326")


def test_a_probe_writes_nothing(new_storage: NewStorage) -> None:
    """Looking whether a place is there says so, and leaves nothing."""
    storage = new_storage()

    (rung,) = storage.probe()

    assert rung.failed is None
    assert rung.detail
    assert names(storage) == [] if not isinstance(storage, FolderStorage) else True


# --- pages ----------------------------------------------------------------------------------------


def test_blobs_come_in_pages(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """All names are told, however many answers they take."""
    monkeypatch.setattr(BlobStorage, "page_max", 2)
    settings = blob_connection(azurite, monkeypatch)
    storage = BlobStorage(settings, parse(f"azureblob://{ACCOUNT}/{new_container(azurite)}"))
    wanted = [f"{number}.json" for number in range(5)]
    for name in wanted:
        storage.write(name, BODY)

    pages = list(storage.names(""))

    assert pages == [wanted[:2], wanted[2:4], wanted[4:]]
    storage.close()
    azure.close_all()


def test_objects_come_in_pages(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """So are those of a bucket."""
    monkeypatch.setattr(S3Storage, "page_max", 2)
    settings = s3_connection(moto, monkeypatch)
    storage = S3Storage(settings, parse(f"s3://{new_bucket(moto)}"))
    wanted = [f"{number}.json" for number in range(5)]
    for name in wanted:
        storage.write(name, BODY)

    assert list(storage.names("")) == [wanted[:2], wanted[2:4], wanted[4:]]
    aws.close_all()


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_container_that_is_missing(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing, reading, listing and probing tell that the container is missing; none makes it."""
    settings = blob_connection(azurite, monkeypatch)
    storage = BlobStorage(settings, parse(f"azureblob://{ACCOUNT}/{new_name()}"))

    assert finding(storage.write(NAME, BODY)) == "EP3310"
    assert finding(storage.read(NAME, 10)) == "EP3310"
    assert [finding(page) for page in storage.names("")] == ["EP3310"]
    assert finding(storage.probe()[0].failed) == "EP3310"
    storage.close()
    azure.close_all()


def test_a_key_that_is_wrong(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key is told as for queues, and the evidence holds no key."""
    monkeypatch.setenv(CONNECTION_STRING, azurite.connection_string_with(OTHER_KEY))
    settings = AzureStorageConnection(connection_string=f"env:{CONNECTION_STRING}")
    storage = BlobStorage(settings, parse(f"azureblob://{ACCOUNT}/{new_name()}"))

    answer = storage.write(NAME, BODY)

    assert finding(answer) in ("EP4201", "EP4203")  # Azurite says the former for blobs
    assert OTHER_KEY not in repr(answer)
    storage.close()
    azure.close_all()


def test_a_signature_is_shown_to_nobody(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container is written by a signature that allows it; where the file is holds none, and
    neither does what is refused."""
    container = new_container(azurite)
    place = parse(f"azureblob://{ACCOUNT}/{container}")

    def signed(letters: str) -> BlobStorage:
        text = generate_container_sas(
            *(ACCOUNT, container, KEY),
            permission=ContainerSasPermissions.from_string(letters),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        endpoints = f"BlobEndpoint={azurite.blob_url};QueueEndpoint={azurite.queue_url}"
        monkeypatch.setenv(CONNECTION_STRING, f"{endpoints};SharedAccessSignature={text}")
        settings = AzureStorageConnection(connection_string=f"env:{CONNECTION_STRING}")
        return BlobStorage(settings, place)

    written = signed("cw").write(NAME, BODY)
    azure.close_all()
    refused = signed("r").write("other.json", BODY)
    azure.close_all()

    assert isinstance(written, FileWritten), written
    assert "sig=" not in written.url
    assert "?" not in written.url
    assert finding(refused) == "EP4202"
    assert "sig=" not in repr(refused)


def test_an_account_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys the account of the place is asked, by the SDK's own chain."""
    storage = BlobStorage(AzureStorageConnection(), parse("azureblob://bluesradio/dead"))

    settings = storage._session.settings

    assert settings == AzureStorageConnection(account="bluesradio")
    assert settings.kind == "token"
    azure.close_all()


def test_an_account_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who listens is a refused connection, told with its address."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/{ACCOUNT}"
    text = f"AccountName={ACCOUNT};AccountKey={OTHER_KEY};BlobEndpoint={url};QueueEndpoint={url}"
    monkeypatch.setenv(CONNECTION_STRING, text)
    settings = AzureStorageConnection(connection_string=f"env:{CONNECTION_STRING}")
    storage = BlobStorage(settings, parse(f"azureblob://{ACCOUNT}/{new_name()}"))

    assert finding(storage.write(NAME, BODY)) == "EP2004"
    storage.close()
    azure.close_all()


def test_a_bucket_that_is_missing(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing, reading, listing and probing tell that the bucket is missing; none makes it."""
    settings = s3_connection(moto, monkeypatch)
    storage = S3Storage(settings, parse(f"s3://{new_name()}"))

    assert finding(storage.write(NAME, BODY)) == "EP3320"
    assert finding(storage.read(NAME, 10)) == "EP3320"
    assert [finding(page) for page in storage.names("")] == ["EP3320"]
    assert finding(storage.probe()[0].failed) == "EP3320"
    aws.close_all()


@pytest.mark.parametrize(
    ("status", "code", "wanted"),
    [
        (403, "AccessDenied", "EP3321"),
        (400, "AuthorizationHeaderMalformed", "EP3322"),
        (400, "KMS.DisabledException", "EP3323"),
        (503, "SlowDown", "EP3324"),
        (500, "InternalError", "EP3325"),
    ],
)
def test_what_s3_refuses(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, wanted: str
) -> None:
    """Every refusal leads to its finding, after one request: the grid decides when to try again."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    service = Receiver()
    service.always = Answer(status, body, {"Content-Type": "application/xml"})
    monkeypatch.setenv("EVENTPOST_TEST_SECRET", "secret")
    settings = AwsConnection(
        region="us-east-1",
        endpoint_url=f"http://127.0.0.1:{service.port}",
        access_key_id="AKIDEXAMPLE",
        secret_access_key="env:EVENTPOST_TEST_SECRET",
    )
    storage = S3Storage(settings, parse("s3://station/dead"))

    answer = storage.write(NAME, BODY)

    assert finding(answer) == wanted
    assert len(service.requests) == 1
    if code == "AccessDenied":
        assert isinstance(answer, Failed)
        assert '"s3:PutObject","Resource":"arn:aws:s3:::station/dead/*"' in answer.evidence.detail
    service.close()
    aws.close_all()


@pytest.mark.parametrize(
    ("status", "code", "wanted"),
    [
        pytest.param(
            *(409, "BlobImmutableDueToPolicy", "EP3311"), marks=pytest.mark.cites(BLOB_CODES)
        ),
        (409, "ContainerBeingDeleted", "EP3310"),
        (403, "AuthorizationPermissionMismatch", "EP4202"),
        (503, "ServerBusy", "EP4240"),
    ],
)
def test_what_an_account_refuses(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, wanted: str
) -> None:
    """Every refusal leads to its finding, after one request."""
    service = Receiver()
    headers = {"x-ms-error-code": code, "x-ms-version": "2025-01-05"}
    service.always = Answer(status, f"<Error><Code>{code}</Code></Error>".encode(), headers)
    url = f"http://127.0.0.1:{service.port}/{ACCOUNT}"
    text = f"AccountName={ACCOUNT};AccountKey={OTHER_KEY};BlobEndpoint={url};QueueEndpoint={url}"
    monkeypatch.setenv(CONNECTION_STRING, text)
    settings = AzureStorageConnection(connection_string=f"env:{CONNECTION_STRING}")
    storage = BlobStorage(settings, parse(f"azureblob://{ACCOUNT}/dead"))

    answer = storage.write(NAME, BODY)

    assert finding(answer) == wanted
    assert len(service.requests) == 1
    assert isinstance(answer, Failed)
    if code == "AuthorizationPermissionMismatch":
        assert "Storage Blob Data Contributor" in answer.evidence.detail
    storage.close()
    service.close()
    azure.close_all()


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """A folder is made when it is first written to; a probe says in which one."""
    storage = FolderStorage(parse(f"folder:{tmp_path}/later/on"))

    (rung,) = storage.probe()

    assert rung.detail.endswith(f"will be made in {tmp_path}")
    assert not (tmp_path / "later").exists()
    assert finding(next(storage.names(""))) == "EP3302"


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    """A probe tells what a write would."""
    (tmp_path / "dead").write_text("in the way")
    storage = FolderStorage(parse(f"folder:{tmp_path}/dead"))

    assert finding(storage.probe()[0].failed) == "EP3302"
    assert finding(storage.write(NAME, BODY)) == "EP3302"

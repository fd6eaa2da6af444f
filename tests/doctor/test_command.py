"""`eventpost doctor` as a user runs it, and the doctor inside a Lambda function."""

import json
from pathlib import Path

import pytest

from eventpost import diagnosis
from eventpost.core.errors import InvalidRequest
from eventpost.testing.lambda_runtime import LambdaRuntime
from tests.cli.running import Program, program, server
from tests.doctor.wards import peer as serving
from tests.doctor.wards import refused_port, silent

BROKEN_FILE = """
connections:
  stationkey: {{kind: kafka, bootstrp: ["127.0.0.1:{port}"]}}
  orders: {{kind: kafka, bootstrap: ["127.0.0.1:{port}"]}}
nonsense: 3
server: {{lisen: "x"}}
topics:
  songs: {{}}
subscriptions:
  blues: {{topic: songs, endpoint: "http://127.0.0.1:{port}/", deadletter: "folder:{folder}"}}
  bad: {{topic: songs, endpoint: "htp://127.0.0.1/"}}
"""


@pytest.fixture
def runs(tmp_path: Path) -> Program:
    return program(tmp_path)


def examined(answer: dict[str, object]) -> dict[str, str | None]:
    found = answer["examined"]
    assert isinstance(found, list)
    return {each["name"]: each["finding"] for each in found}


def test_a_broken_file_lets_the_rest_be_examined(runs: Program) -> None:
    """Every mistake of a file is a fault of its own, with its line; what is right is examined."""
    with refused_port() as port:
        folder = runs.directory / "letters"
        (runs.directory / "e.yaml").write_text(BROKEN_FILE.format(port=port, folder=folder))
        done = runs.run("doctor", "--config", "e.yaml", "--json")

    assert done.code == 1
    assert examined(done.json) == {
        "e.yaml, nonsense": "EP6003",
        "e.yaml, server": "EP6003",
        "bad": "EP6003",
        "stationkey": "EP6003",
        "orders": "EP2004",
        "blues": "EP2004",
        "store": None,
    }
    assert "e.yaml:5: `nonsense` is unknown" in done.out
    assert "The nearest one is bootstrap" in done.out


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\x00\x01", "a: 1\na: 2\n"])
def test_a_file_that_is_no_configuration(runs: Program, text: str) -> None:
    """A file that cannot be read at all is one fault, and the store is examined all the same."""
    (runs.directory / "e.yaml").write_text(text)

    done = runs.run("doctor", "--config", "e.yaml", "--json")

    assert done.code == 1
    found = examined(done.json)
    assert "store" in found
    assert "EP6003" in found.values()


def test_a_file_that_is_not_there(runs: Program) -> None:
    """A file that is missing is a fault, not a crash."""
    done = runs.run("doctor", "--config", "none.yaml", "--json")

    assert (done.code, examined(done.json)) == (1, {"none.yaml": "EP6003", "store": None})


def test_what_people_read(runs: Program) -> None:
    """A person sees what is proven good, and cause, check and fix of what is not."""
    with refused_port() as port:
        (runs.directory / "e.yaml").write_text(BROKEN_FILE.format(port=port, folder="x"))
        done = runs.run("doctor", "--config", "e.yaml", "orders")

    assert done.code == 1
    assert "connection orders: EP2004" in done.out
    assert "proven good: settings, name" in done.out
    for word in ("cause: ", "check: ", "fix: "):
        assert word in done.out
    assert "1 thing examined: 1 is broken." in done.out
    assert "stationkey" not in done.out


def test_a_name_that_nothing_has(runs: Program) -> None:
    """A name that nothing has is a mistake of usage, and those there are are told."""
    (runs.directory / "e.yaml").write_text("topics: {songs: {}}\n")

    done = runs.run("doctor", "--config", "e.yaml", "nobody")

    assert done.code == 2
    assert "store" in done.err


def test_a_healthy_file(runs: Program) -> None:
    """Where nothing is broken, that is said, and the exit code is 0."""
    (runs.directory / "e.yaml").write_text("topics: {songs: {}}\n")

    done = runs.run("doctor", "--config", "e.yaml")

    assert done.code == 0
    assert "1 thing examined: nothing is broken." in done.out


def test_no_server(runs: Program) -> None:
    """A server that cannot be reached is a fault like others, and its data directory is looked
    at."""
    with refused_port() as port:
        done = runs.run("doctor", "--url", f"http://127.0.0.1:{port}", "--json")

    assert done.code == 1
    assert examined(done.json) == {"server": "EP1022", "store": None}


@pytest.mark.slow
def test_what_a_server_holds(tmp_path: Path) -> None:
    """Without a file the doctor examines what the server holds, with the server's own settings."""
    with server(tmp_path) as runs, serving(silent) as port, refused_port() as closed:
        runs.ok("topic", "create", "songs")
        runs.ok(
            *("connection", "create", "orders", "--kind", "kafka"),
            *("--set", f'bootstrap=["127.0.0.1:{closed}"]'),
        )
        done = runs.run("doctor", "--json")

    assert port
    assert done.code == 1
    assert examined(done.json) == {"orders": "EP2004", "store": None}


def test_requirements(runs: Program) -> None:
    """Hosts, ports and rights of each connection are written down, without examining anything."""
    (runs.directory / "e.yaml").write_text(
        """
connections:
  aws-jobs: {kind: aws, region: eu-west-1}
  station: {kind: azure-storage, account: bluesradio}
  orders: {kind: kafka, bootstrap: ["127.0.0.1:9098"], auth: msk-iam, region: eu-west-1}
  rabbit: {kind: rabbitmq, host: 127.0.0.1}
topics: {songs: {}}
sources:
  jobs: {kind: sqs, connection: aws-jobs, queue: jobs, topic: songs}
  old-jobs: {kind: storagequeue, connection: station, queue: old-jobs, topic: songs}
subscriptions:
  out: {topic: songs, endpoint_type: kafka, endpoint: orders, connection: orders}
  blues: {topic: songs, endpoint: "https://127.0.0.1/songs"}
"""
    )

    done = runs.run("doctor", "--config", "e.yaml", "--requirements", "--json")

    assert done.code == 0
    needs = {each["name"]: each for each in done.json["requirements"]}
    assert set(needs) == {"aws-jobs", "station", "orders", "rabbit", "127.0.0.1:443"}
    assert "sqs:DeleteMessage on jobs" in needs["aws-jobs"]["rights"]
    assert {"host": "sqs.eu-west-1.amazonaws.com", "port": 443}.items() <= needs["aws-jobs"][
        "hosts"
    ][0].items()
    assert needs["station"]["rights"] == ["Storage Queue Data Contributor on the queue old-jobs"]
    assert "kafka-cluster:WriteData for orders" in needs["orders"]["rights"]
    assert needs["rabbit"]["hosts"][0]["addresses"] == ["127.0.0.1"]
    assert needs["127.0.0.1:443"]["usedBy"] == ["subscription blues"]


def test_requirements_of_files_and_mails(runs: Program) -> None:
    """Containers, buckets and mail servers need hosts and rights of their own, for deliveries and
    for files of dead letters alike."""
    (runs.directory / "e.yaml").write_text(
        """
connections:
  aws-files: {kind: aws, region: eu-west-1, access_key_id: AKIAEXAMPLE, secret_access_key: env:K}
  station: {kind: azure-storage, account: bluesradio, account_key: env:K}
  mail: {kind: smtp, host: mail.example, sender: dj@mail.example}
topics: {songs: {}}
subscriptions:
  mails: {topic: songs, endpoint_type: email, endpoint: dj@mail.example, connection: mail}
  files: {topic: songs, endpoint_type: s3, endpoint: s3://songs/new, connection: aws-files}
  blobs:
    topic: songs
    endpoint_type: azureblob
    endpoint: songs
    connection: station
    deadletter: s3://dead/songs
    deadletter_connection: aws-files
  named: {topic: songs, endpoint: "https://127.0.0.1/", deadletter: "azureblob://station/dead"}
"""
    )

    done = runs.run("doctor", "--config", "e.yaml", "--requirements", "--json")

    assert done.code == 0, done
    needs = {each["name"]: each for each in done.json["requirements"]}
    hosts = {name: [(at["host"], at["port"]) for at in of["hosts"]] for name, of in needs.items()}
    assert hosts["aws-files"] == [("s3.eu-west-1.amazonaws.com", 443)]
    assert needs["aws-files"]["rights"] == [
        "s3:PutObject on s3://songs/new",
        "s3:PutObject on s3://dead/songs",
    ]
    assert needs["aws-files"]["usedBy"] == ["subscription files", "dead letters of blobs"]
    assert hosts["station"] == [("bluesradio.blob.core.windows.net", 443)]
    assert needs["station"]["rights"] == [
        "Storage Blob Data Contributor on the container songs",
        "Storage Blob Data Contributor on the container azureblob://station/dead",
    ]
    assert hosts["mail"] == [("mail.example", 587)]


# --- inside a function ----------------------------------------------------------------------------


def test_the_handler_takes_declarations() -> None:
    """The declarations may stand in the event, and the answer is the command's JSON."""
    with refused_port() as port:
        config = {"connections": {"orders": {"kind": "kafka", "bootstrap": [f"127.0.0.1:{port}"]}}}
        answer = diagnosis.lambda_handler({"config": config, "names": ["orders"]})

    assert answer["healthy"] is False
    assert examined(answer) == {"orders": "EP2004"}


def test_the_handler_refuses_what_it_does_not_know() -> None:
    """A misspelt field is told, and the event of a schedule examines everything."""
    with pytest.raises(InvalidRequest, match="nmes"):
        diagnosis.lambda_handler({"config": {}, "nmes": ["orders"]})

    assert examined(diagnosis.lambda_handler({"source": "aws.events"})).keys() >= {"store"}


@pytest.mark.slow
def test_the_handler_runs_in_lambda(tmp_path: Path) -> None:
    """Under AWS's runtime the doctor is named as a handler, ends before the function's time is
    over although a peer hangs, and sees the function's own environment."""
    with serving(silent) as port:
        config = {"connections": {"orders": {"kind": "kafka", "bootstrap": [f"127.0.0.1:{port}"]}}}
        (tmp_path / "e.yaml").write_text(json.dumps(config))
        environment = {"EVENTPOST_CONFIG": str(tmp_path / "e.yaml")}
        with LambdaRuntime(
            "eventpost.diagnosis.lambda_handler", tmp_path, timeout_s=10, environment=environment
        ) as function:
            done = function.invoke({"names": ["orders"]})

    assert done.error is None, done
    assert examined(done.answer)["orders"] in ("EP6001", "EP4401")


ON_PAPER = """
connections:
  scram: {{kind: kafka, auth: msk-iam, region: eu-west-1, bootstrap: ["{msk}:9096"]}}
  abroad: {{kind: kafka, auth: msk-iam, region: eu-central-1, bootstrap: ["{msk}:9098"]}}
  post: {{kind: smtp, host: 127.0.0.1, user: station}}
topics:
  songs: {{}}
subscriptions:
  blues: {{topic: songs, endpoint: "http://127.0.0.1:{port}/", deadletter: "folder:{folder}"}}
"""
MSK = "b-1.songs.abcdef.c3.kafka.eu-west-1.amazonaws.com"


def test_a_file_whose_settings_do_not_fit_each_other(runs: Program) -> None:
    """What a file itself shows to be wrong is told before anybody is asked: the port of another way
    to sign in, another region, half a login."""
    with refused_port() as port:
        text = ON_PAPER.format(msk=MSK, port=port, folder="letters")
        (runs.directory / "e.yaml").write_text(text)
        done = runs.run("doctor", "--config", "e.yaml", "--json", "scram", "abroad", "post")

    assert done.code == 1
    assert examined(done.json) == {"scram": "EP6007", "abroad": "EP6008", "post": "EP4040"}

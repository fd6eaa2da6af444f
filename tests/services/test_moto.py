"""The moto server behaves as tests of AWS need it."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.services.aws_clients import client
from tests.services.fixtures import OwnServices
from tests.services.moto import Moto, MotoWithPolicies
from tests.services.running import Running
from tests.services.service import fresh_name


@pytest.mark.slow
def test_a_message_goes_through_a_queue(moto: Moto) -> None:
    """What is sent to an SQS queue is received from it, and gone once it is deleted."""
    sqs = client(moto.url, "sqs")
    queue = sqs.create_queue(QueueName=fresh_name("queue"))["QueueUrl"]

    sqs.send_message(QueueUrl=queue, MessageBody="a song")
    (received,) = sqs.receive_message(QueueUrl=queue)["Messages"]

    assert received["Body"] == "a song"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


@pytest.mark.slow
def test_an_object_is_kept_and_not_written_twice(moto: Moto) -> None:
    """What is put into S3 is there, and a conditional put does not overwrite it."""
    s3 = client(moto.url, "s3")
    bucket = fresh_name("bucket")
    s3.create_bucket(Bucket=bucket)

    s3.put_object(Bucket=bucket, Key="a/song.json", Body=b"{}", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="a/song.json", Body=b"[]", IfNoneMatch="*")

    assert s3.get_object(Bucket=bucket, Key="a/song.json")["Body"].read() == b"{}"


@pytest.mark.slow
def test_it_forgets_at_a_restart(own_moto: Running[Moto]) -> None:
    """It comes back on its port and empty: its queues live in memory."""
    sqs = client(own_moto.service.url, "sqs")
    sqs.create_queue(QueueName="songs")

    own_moto.kill()
    with pytest.raises(EndpointConnectionError):
        sqs.get_queue_url(QueueName="songs")
    own_moto.start()

    with pytest.raises(ClientError, match="NonExistentQueue"):
        sqs.get_queue_url(QueueName="songs")


@pytest.mark.slow
def test_policies_count(own_service: OwnServices) -> None:
    """Where they are asked for, a policy allows what it names, and nothing else."""
    service = own_service(MotoWithPolicies).service
    iam = client(service.url, "iam")
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    )
    iam.create_user(UserName="singer")
    arn = iam.create_policy(PolicyName="s3", PolicyDocument=policy)["Policy"]["Arn"]
    iam.attach_user_policy(UserName="singer", PolicyArn=arn)
    key = iam.create_access_key(UserName="singer")["AccessKey"]
    names = key["AccessKeyId"], key["SecretAccessKey"]

    client(service.url, "s3", *names).create_bucket(Bucket=fresh_name("bucket"))
    with pytest.raises(ClientError, match=r"AccessDenied|403"):
        client(service.url, "iam", *names).list_users()
    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch|403"):
        client(service.url, "s3", names[0], "another secret").list_buckets()

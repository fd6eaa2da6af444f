"""Clients of the services that stand for AWS, of the library boto3."""

from typing import Any

import boto3
from botocore.config import Config

from tests.services.aws import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY


def client(
    url: str, service: str, key: str = ACCESS_KEY_ID, secret: str = SECRET_ACCESS_KEY
) -> Any:
    """One that tries once, so that a test sees the first failure."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=20),
    )

"""What the services that stand for AWS have in common."""

REGION = "us-east-1"
ACCOUNT_ID = "123456789012"
ACCESS_KEY_ID = "AKIATESTSTATION00000"
SECRET_ACCESS_KEY = "a secret that opens nothing anywhere else"


def client_environment(url: str) -> dict[str, str]:
    """What lets any AWS SDK find the service at this address."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    }

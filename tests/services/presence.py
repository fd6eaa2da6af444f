"""What happens to a test whose service cannot be had."""

import os

import pytest

from tests.services.service import Service


def require_service(kind: type[Service]) -> None:
    """Skip the test when this machine lacks the service, and say so; fail it when CI is set,
    because there a missing service is a broken promise."""
    require(kind.name, kind.lacks())


def require(name: str, missing: str | None) -> None:
    """The same of anything that a test runs against; `missing` is None when it is there."""
    if missing is None:
        return
    reason = f"{name} cannot be started: {missing}"
    if is_ci():
        pytest.fail(f"{reason}. With CI set this is a failure.", pytrace=False)
    pytest.skip(reason)


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}

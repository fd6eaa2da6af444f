"""What teams test their handlers with: a real grid in the test's process, and a scripted receiver.

The pytest plug-in offers both as the fixtures `grid` and `receiver`, with their `clock`. Public
names are imported on first use, so that pytest starts as fast as without them.
"""

from typing import TYPE_CHECKING

__all__ = [
    "CLOSE",
    "HANG",
    "RESET",
    "Answer",
    "AwsIdentity",
    "AwsMetadata",
    "AzureIdentity",
    "Grid",
    "Invocation",
    "LambdaRuntime",
    "Received",
    "Receiver",
    "RecordingPublisher",
    "VirtualClock",
]

if TYPE_CHECKING:
    from eventpost.testing.aws_identity import AwsIdentity
    from eventpost.testing.aws_metadata import AwsMetadata
    from eventpost.testing.azure_identity import AzureIdentity
    from eventpost.testing.clock import VirtualClock
    from eventpost.testing.grid import Grid
    from eventpost.testing.lambda_runtime import Invocation, LambdaRuntime
    from eventpost.testing.receiver import CLOSE, HANG, RESET, Answer, Received, Receiver
    from eventpost.testing.recording_publisher import RecordingPublisher

_MODULES = {
    "AwsIdentity": "aws_identity",
    "AwsMetadata": "aws_metadata",
    "AzureIdentity": "azure_identity",
    "Grid": "grid",
    "Invocation": "lambda_runtime",
    "LambdaRuntime": "lambda_runtime",
    "RecordingPublisher": "recording_publisher",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        module = import_module(f"eventpost.testing.{_MODULES.get(name, 'receiver')}")
        return getattr(module, name)
    raise AttributeError(f"module 'eventpost.testing' has no attribute {name!r}")

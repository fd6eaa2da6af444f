"""What went wrong: evidence in, a numbered finding out, with its cause, the check and the fix.

For any program: `explain(error)`, the logging filter `ExplainFailures`, the decorator `explained`.
They are found when they are first asked for, so that nobody pays for what is not used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventpost.diagnosis.classify import Explanation
    from eventpost.diagnosis.explaining import (
        ErrorExplanation,
        ExplainFailures,
        as_fields,
        explain,
        explained,
    )

__all__ = ["ErrorExplanation", "ExplainFailures", "Explanation", "as_fields", "explain"]
__all__ += ["explained", "lambda_handler"]

_MODULES = {"Explanation": "classify"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'explaining')}")
    return getattr(module, name)


def lambda_handler(event: object, context: object = None) -> dict[str, object]:
    """The doctor as the handler of an AWS Lambda function: what it sees from inside the network.

    Name it `eventpost.diagnosis.lambda_handler`. See `eventpost.app.doctor.rounds`, where the work
    is done: this name stands here for people, and is found when it is called, because what it needs
    lies above this layer.
    """
    rounds = importlib.import_module("eventpost.app.doctor.rounds")
    answer: dict[str, object] = rounds.lambda_handler(event, context)
    return answer

"""One round of the doctor over a file: for a function inside a network, and for containers.

Layer: app. The answer is the same JSON that the command prints.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

from eventpost.app.doctor.declarations import of_file, of_values
from eventpost.app.doctor.subjects import named, subjects
from eventpost.core.errors import InvalidRequest
from eventpost.diagnosis.doctor.climbing import examine
from eventpost.diagnosis.doctor.told import told

FILE_VARIABLE = "EVENTPOST_CONFIG"
FILE_DEFAULT = "eventpost.yaml"
RESERVE_S = 2.0
"""Of a function's time, kept for the answer."""
_FIELDS = ("config", "config_file", "names", "round_trip")


def lambda_handler(event: object, context: object = None) -> dict[str, object]:
    """Examine what is declared, from where this function runs.

    `event` may hold `config` (the declarations themselves, as in `eventpost.yaml`), `config_file`
    (a path; EVENTPOST_CONFIG or ./eventpost.yaml otherwise), `names` (only these) and `round_trip`.
    Ends 2 s before the function's time is over. Raises InvalidRequest for a field that it does not
    know and for a name that nothing has.
    """
    asked = event if isinstance(event, Mapping) else {}
    unknown = [name for name in asked if name not in _FIELDS]
    if unknown and not any(name in asked for name in _FIELDS):
        asked = {}  # a schedule's or another service's event: everything is examined
    elif unknown:
        raise InvalidRequest(
            "UnknownField",
            f"The doctor knows no {str(unknown[0])[:64]!r}.",
            fix=f"Known: {', '.join(_FIELDS)}.",
        )
    return round_of(
        config=asked.get("config"),
        config_file=str(asked.get("config_file") or os.environ.get(FILE_VARIABLE) or FILE_DEFAULT),
        names=[str(each) for each in asked.get("names") or ()],
        is_round_trip=bool(asked.get("round_trip")),
        seconds_max=_seconds(context),
    )


def round_of(
    *,
    config: object = None,
    config_file: str = FILE_DEFAULT,
    names: list[str] | None = None,
    is_round_trip: bool = False,
    seconds_max: float = math.inf,
) -> dict[str, object]:
    """The same for an ECS task or any other container: call it, and print what it returns.

    Ends within `seconds_max`, however many ladders there are.
    """
    found = of_file(config_file) if config is None else of_values(config)
    chosen = named(subjects(found, is_round_trip=is_round_trip), names or [])
    return told(examine(chosen, all_seconds_max=seconds_max))


def _seconds(context: Any) -> float:
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if remaining is None:
        return math.inf
    return float(max(1.0, remaining() / 1_000 - RESERVE_S))

"""Writes a mapping as YAML 1.2, so that `yaml12` reads it back as the same."""

import json
import re
from collections.abc import Iterator, Mapping

from eventpost.config.yaml12 import scalar

_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./:+@=-]*(?<!:)")
"""Words that may stand without quotes; a colon with a blank behind it would begin a mapping."""


def written(sections: Mapping[str, object]) -> str:
    """The mapping as YAML: what is no mapping stands in JSON's form, which is YAML, wherever a
    plain word would be read as something else."""
    return "".join(_lines(sections, ""))


def _lines(mapping: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_word(name)}:\n"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{_word(name)}: {_inline(value)}\n"


def _inline(value: object) -> str:
    return _word(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _word(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) is not None and scalar(text) == text
    return text if is_plain else json.dumps(text, ensure_ascii=False)

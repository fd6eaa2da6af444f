"""Reads YAML the way people mean it: the YAML 1.2 core schema, with the line of everything.

PyYAML follows YAML 1.1, where `no` is false, `1:30` is 90, `0777` is 511, `2026-11-21` is a date
and the second of two equal keys wins in silence. Here plain scalars are only what JSON has (null,
true, false, numbers) or text; keys are always text as written; equal keys are refused.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from eventpost.core.errors import InvalidRequest

DOCUMENT_BYTES_MAX = 16 * 1024 * 1024
NODE_COUNT_MAX = 1_000_000
"""Nodes after aliases are followed, so that a few lines of nested aliases cannot fill memory."""

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?[0-9]{1,30}\Z")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]{1,30}\Z")
_OCTAL = re.compile(r"0o[0-7]{1,30}\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,2})?\Z")
_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}


class _Loader(yaml.SafeLoader):
    """Composes nodes only; which type a scalar has is decided here, not by YAML 1.1's patterns."""

    yaml_implicit_resolvers: dict[str, Any] = {}


@dataclass(slots=True)
class Document:
    """A file's content and the line (from 1) of every value, by its path from the root."""

    name: str
    value: object
    lines: dict[Path, int] = field(default_factory=dict)

    def place(self, path: Path) -> str:
        """`FILE:LINE` of a value, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


def read(text: str, *, name: str) -> Document:
    """Parse one YAML document. Raises InvalidRequest naming the line. An empty file is None."""
    if len(text) > DOCUMENT_BYTES_MAX:
        raise _refused(name, 1, f"the file is larger than {DOCUMENT_BYTES_MAX:,} characters")
    document = Document(name, None)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _refused(name, line, error.problem or "it is not YAML") from error
    except yaml.YAMLError as error:
        raise _refused(name, 1, str(error)) from error
    if node is not None:
        document.value = _Builder(document).build(node, ())
    return document


class _Builder:
    """Turns composed nodes into values and notes their lines."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.node_count = 0
        self.open_nodes: set[int] = set()

    def build(self, node: yaml.Node, path: Path) -> object:
        line = node.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        self.node_count += 1
        if self.node_count > NODE_COUNT_MAX:
            raise self._refuse(line, f"the file has more than {NODE_COUNT_MAX:,} values")
        if node.tag not in _PLAIN_TAGS:
            raise self._refuse(line, f"the tag {node.tag} is not supported")
        if id(node) in self.open_nodes:
            raise self._refuse(line, "an alias refers to what contains it")
        self.open_nodes.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            return scalar(node.value) if node.style is None else node.value
        finally:
            self.open_nodes.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refuse(line, "a key must be text")
            key = key_node.value
            if key == "<<" and key_node.style is None:
                raise self._refuse(line, "merge keys (`<<`) are not supported; repeat the keys")
            if key in values:
                first = self.document.lines[(*path, key)]
                raise self._refuse(line, f"`{key}` stands here twice (first in line {first})")
            self.document.lines[(*path, key)] = line
            values[key] = self.build(value_node, (*path, key))
        return values

    def _refuse(self, line: int, problem: str) -> InvalidRequest:
        return _refused(self.document.name, line, problem)


def scalar(text: str) -> object:
    """What a plain (unquoted) scalar means in YAML 1.2's core schema, infinities left out."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.match(text):
        return int(text)
    if _HEXADECIMAL.match(text):
        return int(text, 16)
    if _OCTAL.match(text):
        return int(text, 8)
    if _FLOAT.match(text):
        return float(text)
    return text


def _refused(name: str, line: int, problem: str) -> InvalidRequest:
    return InvalidRequest(
        "InvalidFile", f"{name}:{line}: {problem}.", fix="Correct the file and try again."
    )

"""The alert rules in the documentation are ones that Prometheus takes, about metrics that exist.

The form is that of "Alerting rules" and "Querying basics" of Prometheus' documentation; of its
language that part is read here that the rules use.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventpost.telemetry.inventory import METRICS
from tests.documentation import ROOT

RULES = ROOT / "docs/guides/prometheus-alerts.yaml"
KNOWN = {each.name: set(each.labels) for each in METRICS} | {"up": {"job", "instance"}}
ALWAYS = {"job", "instance"}
"""Labels that Prometheus gives to whatever it scrapes."""
FUNCTIONS = {"delta", "increase", "max", "max_over_time", "rate", "sum", "time"}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<text>\"[^\"]*\")"
    r"|(?P<range>\[\d+[smhd]\])|(?P<sign>==|!=|>=|<=|=~|[-+*/<>=(){},]))"
)
_LABEL = re.compile(r"{{ \$labels\.(\w+) }}")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def tokens(expression: str) -> list[str]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = _TOKEN.match(expression, at)
        assert match is not None, expression[at:]
        found.append(match[0].strip())
        at = match.end()
    return found


class Reader:
    """expression := operand (operator operand)*; raises AssertionError for what is none."""

    def __init__(self, expression: str) -> None:
        self.left = tokens(expression)
        self.metrics: list[str] = []

    def take(self, wanted: str = "") -> str:
        assert self.left, "the expression breaks off"
        found = self.left.pop(0)
        assert wanted in ("", found), (wanted, found)
        return found

    def peek(self) -> str:
        return self.left[0] if self.left else ""

    def expression(self) -> None:
        self.operand()
        while self.peek() in {*"+-*/<>", "==", "!=", ">=", "<=", "and", "or", "unless"}:
            self.take()
            self.operand()

    def operand(self) -> None:
        found = self.take()
        if found == "(":
            self.expression()
            self.take(")")
        elif found in FUNCTIONS:
            self.take("(")
            if self.peek() != ")":
                self.expression()
            self.take(")")
        elif not re.fullmatch(r"\d+(\.\d+)?", found):
            self.selector(found)

    def selector(self, name: str) -> None:
        assert name in KNOWN, f"there is no metric {name}"
        self.metrics.append(name)
        if self.peek() == "{":
            self.take()
            while self.peek() != "}":
                label = self.take()
                assert label in KNOWN[name] | ALWAYS, f"{name} has no label {label}"
                assert self.take() in {"=", "!=", "=~"}
                assert self.take().startswith('"')
                if self.peek() == ",":
                    self.take()
            self.take("}")
        if self.peek().startswith("["):
            self.take()


def read(expression: str) -> Reader:
    """The whole of an expression."""
    reader = Reader(expression)
    reader.expression()
    assert reader.left == []
    return reader


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_is_one(rule: dict[str, Any]) -> None:
    """A rule has the fields that Prometheus knows, an expression that can be read, about metrics
    and labels that eventpost has, and says what to check."""
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["alert"])
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "check"}
    reader = read(rule["expr"])
    labels = set().union(*(KNOWN[name] for name in reader.metrics)) | ALWAYS
    for text in rule["annotations"].values():
        assert set(_LABEL.findall(text)) <= labels, text


def test_names_are_given_once() -> None:
    """No two rules have the same name, and every kind of alert has one."""
    names = [rule["alert"] for rule in rules()]

    assert len(set(names)) == len(names)
    assert len(names) >= 6


@pytest.mark.parametrize(
    "expression", ["", "no_such_metric > 1", "up{nothing='1'}", "up ==", "up > 1 )", "up ! 1"]
)
def test_what_is_no_rule_is_refused(expression: str) -> None:
    """The reader of this test refuses what Prometheus would refuse."""
    with pytest.raises(AssertionError):
        read(expression)


def test_the_file_is_where_the_guide_says() -> None:
    """The guide links to the rules."""
    assert Path(RULES).name in (ROOT / "docs/guides/watch.md").read_text()

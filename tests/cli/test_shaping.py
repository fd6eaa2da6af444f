"""`--query` and `--output`: the forms of the Azure CLI."""

import argparse

import pytest

from eventpost.cli import output, shaping
from eventpost.core.errors import InvalidRequest

TOPICS = [
    {"name": "songs", "count": 3, "isBuiltin": False, "tags": ["a", "b"], "mapping": {"id": "x"}},
    {"name": "orders", "count": None, "isBuiltin": True, "tags": [], "mapping": {}},
]

WHOLE_TABLE = """\
Name    Count  IsBuiltin
------  -----  ---------
songs   3      false
orders         true
"""


def printed(
    capsys: pytest.CaptureFixture[str],
    value: object,
    form: str | None = None,
    query: str | None = None,
) -> str:
    arguments = argparse.Namespace(output_form=form, query=query, json=False)
    with shaping.asked(arguments):
        assert arguments.json
        output.json(value)
    assert shaping.current() is None
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "query", "expected"),
    [
        ("tsv", "[0].name", "songs\n"),
        ("tsv", "[].name", "songs\norders\n"),
        ("tsv", "[].[name, count]", "songs\t3\norders\t\n"),
        ("tsv", None, "songs\t3\tfalse\t2\t\norders\t\ttrue\t0\t\n"),
        ("tsv", "[0].isBuiltin", "false\n"),
        ("tsv", "[0].nothing", ""),
        (None, "[1].name", '"orders"\n'),
        (None, "[0].nothing", "null\n"),
        ("json", "\u201c[1].name\u201d", '"orders"\n'),
        ("none", None, ""),
        ("table", "[].{Name: name, n: count}", "Name    N\n------  -\nsongs   3\norders\n"),
        ("table", "[].name", "Result\n------\nsongs\norders\n"),
        ("table", "[].[name]", "Column1\n-------\nsongs\norders\n"),
        ("table", "[0].mapping", "Id\n--\nx\n"),
        ("table", "[0].nothing", ""),
        ("table", None, WHOLE_TABLE),
    ],
)  # fmt: skip
def test_forms(
    capsys: pytest.CaptureFixture[str], form: str | None, query: str | None, expected: str
) -> None:
    """Each form of each shape is what the Azure CLI prints; JSON is what a query alone prints."""
    assert printed(capsys, TOPICS, form, query) == expected


def test_neither_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Without these options a command prints as it likes."""
    arguments = argparse.Namespace(json=False)
    with shaping.asked(arguments):
        assert not arguments.json
        assert shaping.current() is None


def test_streams_are_queried_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A stream prints the asked part of each of its values."""
    with shaping.asked(argparse.Namespace(output_form="tsv", query="name", json=True)):
        for topic in TOPICS:
            output.json_line(topic)

    assert capsys.readouterr().out == "songs\norders\n"


@pytest.mark.parametrize("query", ["[?", "a..b", "", "nothing(@)"])
def test_queries_that_cannot_be(query: str) -> None:
    """What is no expression is refused, most of it before anything is done."""
    with (
        pytest.raises(InvalidRequest) as refused,
        shaping.asked(argparse.Namespace(output_form=None, query=query, json=False)),
    ):
        output.json(TOPICS)

    assert refused.value.code == "InvalidQuery"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("\u2013-name", "--name"),
        ("-\u2013name", "--name"),
        ("\u2014name", "--name"),
        ("--name", "--name"),
        ("\u2013", "\u2013"),
        ("a \u2013-name", "a \u2013-name"),
        ("-n", "-n"),
        ("\u2013-5", "\u2013-5"),
    ],
)
def test_typographic_dashes(word: str, expected: str) -> None:
    """An option from a page whose hyphens became dashes is that option; other words stay."""
    from eventpost.cli.main import _with_hyphens

    assert _with_hyphens(word) == expected

"""What a file's text means, and where everything in it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.config import yaml12
from eventpost.core.errors import InvalidRequest


def value_of(text: str) -> object:
    return yaml12.read(text, name="eventpost.yaml").value


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("1:30", "1:30"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("2026-11-21", "2026-11-21"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.10", 1.1),
        ("'1.10'", "1.10"),
        ('"true"', "true"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        (".inf", ".inf"),
        ("=", "="),
        ("127.0.0.1:7790", "127.0.0.1:7790"),
        ("9" * 400, "9" * 400),
    ],
)
def test_a_plain_scalar_means_what_it_looks_like(text: str, meaning: object) -> None:
    """A plain scalar is null, true, false, a number or text; nothing else of YAML 1.1."""
    assert value_of(f"key: {text}") == {"key": meaning}


def test_keys_are_text_as_written() -> None:
    """A topic may be called `no`, `1.10` or `007` without quotes."""
    assert value_of("no: 1\n1.10: 2\n007: 3\ntrue: 4\n") == {
        "no": 1,
        "1.10": 2,
        "007": 3,
        "true": 4,
    }


def test_every_value_knows_its_line() -> None:
    """An error about a value names the line on which it stands."""
    document = yaml12.read("a:\n  b:\n    - x\n    - c: 1\n", name="f.yaml")

    assert document.place(("a", "b", 1, "c")) == "f.yaml:4"
    assert document.place(("a", "b", 0)) == "f.yaml:3"
    assert document.place(("a", "missing", "deeper")) == "f.yaml:1"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "twice (first in line 1)"),
        ("a: [1,\n", 2, ""),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys"),
        ("a: &x\n  - *x\n", 1, "alias"),
        ("a: !!python/name:os.system x\n", 1, "tag"),
        ("\tb: 1\n", 1, ""),
        ("[1]: 2\n", 1, "a key must be text"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(
    text: str, line: int, problem: str
) -> None:
    """A mistake is refused, naming file and line, never read as something else."""
    with pytest.raises(InvalidRequest) as caught:
        value_of(text)

    assert caught.value.what.startswith(f"eventpost.yaml:{line}: ")
    assert problem in caught.value.what


def test_an_alias_may_be_used_twice() -> None:
    """Sharing a value by an alias is plain YAML and works."""
    assert value_of("a: &x {y: 1}\nb: *x\nc: *x\n") == {"a": {"y": 1}, "b": {"y": 1}, "c": {"y": 1}}


def test_aliases_cannot_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose aliases multiply is refused at the bound, and read just below it."""
    text = "a: &a [1, 1, 1]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"
    node_count = 1 + (1 + 3) + (1 + 3 * 4) + (1 + 3 * 13)

    monkeypatch.setattr(yaml12, "NODE_COUNT_MAX", node_count)
    assert value_of(text)

    monkeypatch.setattr(yaml12, "NODE_COUNT_MAX", node_count - 1)
    with pytest.raises(InvalidRequest, match="more than"):
        value_of(text)


def test_a_file_has_a_greatest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the greatest size is read, one character more is refused."""
    monkeypatch.setattr(yaml12, "DOCUMENT_BYTES_MAX", len("a: 1"))

    assert value_of("a: 1") == {"a": 1}
    with pytest.raises(InvalidRequest, match="larger"):
        value_of("a: 12")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail otherwise than with an error that names a line."""
    places: list[str] = []
    try:
        value_of(text)
    except InvalidRequest as error:
        places.append(error.what)
    assert all(place.startswith("eventpost.yaml:") for place in places)

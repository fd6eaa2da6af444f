"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.documentation import ROOT
from tests.patience import NEVER_S, TEST_S_MAX
from tests.queues.kafka.groups import REQUEST_MS_MAX

FUNCTION_LINES_MAX = 70
LONG_FUNCTIONS: dict[str, str] = {}
"""`path::function` of those above the bound, each with the reason why it is not split."""

MOMENT_S_MAX = 0.01
"""A moment in which nothing may happen, or after which a segment is sent: it decides nothing."""

SLEEPS: dict[str, str] = {}
"""Tests that may sleep longer, each with the reason why no condition can be waited on."""

VAGUE_NAMES = re.compile(r"(Manager|Helper|Util|Utils|Misc)$")
SHORTENED = frozenset({"subs", "cfg", "mgr", "util", "utils", "helper", "helpers", "cnt"})
BARE_TIMES = frozenset({"timeout", "delay", "interval", "ttl", "duration", "elapsed"})
"""Words for a time that, last in a number's name, leave its unit open."""


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project: what is tracked, and what is new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
        return tuple(sorted(path for name in names if (path := ROOT / name).is_file()))
    folders = ("src", "tests", "docs", "scripts", "bench", ".ci")
    found = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return tuple(path for path in found if path.is_file() and "__pycache__" not in path.parts)


def python(folder: str) -> list[Path]:
    return [path for path in files() if path.suffix == ".py" and path.is_relative_to(ROOT / folder)]


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def by_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_a_function_fits_a_screen() -> None:
    """No function is longer than a screen, unless it is listed with a reason."""
    assert set(long_functions()) - set(LONG_FUNCTIONS) == set()


def test_a_module_says_what_it_is_for() -> None:
    """Every module that holds something begins with a sentence."""
    silent = []
    for path in python("src"):
        module = nodes(path)[0]
        assert isinstance(module, ast.Module)
        if module.body and not _is_sentence(ast.get_docstring(module)):
            silent.append(by_path(path))

    assert silent == []


def test_a_test_names_its_guarantee() -> None:
    """The first line of every test's docstring is the promise that it keeps, in a sentence."""
    silent = [
        f"{by_path(path)}::{node.name}"
        for path in python("tests")
        for node in functions(path)
        if node.name.startswith("test_") and not _is_sentence(ast.get_docstring(node))
    ]

    assert silent == []


def test_tests_wait_on_conditions() -> None:
    """No test sleeps and hopes, unless it is listed with a reason; asking in a loop is fine."""
    hoping = {f"{by_path(path)}" for path in python("tests") if _has_hopeful_sleep(path)}

    assert hoping - set(SLEEPS) == set()


def test_tests_assert_no_duration() -> None:
    """No test asserts that something took less than so long: see `tests.patience`."""
    hurried = [
        f"{by_path(path)}:{node.lineno}"
        for path in python("tests")
        for node in nodes(path)
        if isinstance(node, ast.Assert) and _bounds_a_duration(node.test)
    ]

    assert hurried == []


def test_what_no_test_waits_out_is_longer_than_a_test() -> None:
    """What is to outlast every test does."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]

    assert settings["ini_options"]["timeout"] == TEST_S_MAX
    assert TEST_S_MAX < REQUEST_MS_MAX / 1000 < NEVER_S


def test_names_are_whole_words_and_say_something() -> None:
    """No class is a manager of something, and no name is cut short."""
    vague = [
        f"{by_path(path)}:{line} {name}"
        for path in [*python("src"), *python("tests")]
        for name, line in _names(path)
        if VAGUE_NAMES.search(name) or not SHORTENED.isdisjoint(name.lower().split("_"))
    ]

    assert vague == []


def test_times_carry_their_unit() -> None:
    """A number that holds a time ends in its unit: a bare timeout is a question."""
    bare = [
        f"{by_path(path)}:{line} {name}"
        for path in python("src")
        for name, line in _numbers(path)
        if name.lower().split("_")[-1] in BARE_TIMES
    ]

    assert bare == []


def test_the_lists_of_exceptions_are_current() -> None:
    """An exception that is not needed any more is taken off its list."""
    hoping = {by_path(path) for path in python("tests") if _has_hopeful_sleep(path)}

    assert set(LONG_FUNCTIONS) <= set(long_functions())
    assert set(SLEEPS) <= hoping
    assert all([*LONG_FUNCTIONS.values(), *SLEEPS.values()])


def unused_words() -> dict[str, str]:
    """The glossary's table of words that are not used, with the words that are."""
    table = (ROOT / "docs/glossary.md").read_text().partition("## Words that are not used")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)
    return {word: instead for word, instead in rows if word != "not"}


def test_one_word_for_each_thing() -> None:
    """The words that the glossary rules out stand nowhere in the code or the pages."""
    words = unused_words()
    assert words
    pattern = re.compile(
        rf"\b({'|'.join(word.replace(' ', '[ _-]?') for word in words)})s?\b", re.IGNORECASE
    )
    excepted = {ROOT / "docs/glossary.md", Path(__file__)}
    checked = [*python("src"), *(path for path in files() if path.suffix == ".md")]

    # Names of books and standards, in lists of sources, are quoted as they are.
    used = [
        f"{by_path(path)}:{number}: {line.strip()}"
        for path in sorted(set(checked) - excepted)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line) and not line.startswith("- ")
    ]

    assert used == []


# Each has a class of one letter, so that this file is not found by its own search.
OUTSIDE = re.compile(
    r"\bissue[ ]#?\d|\b(?:closes|fixes|resolves)[ ]#\d|[/]work/(?:main|shared)"
    r"|\b(?:DESIGN|CONTRACT|STYLE|BRIEF)[.]md\b|\bshared[/](?:facts|hooks|prototypes)"
    r"|\blanguage[ ]model|\bAI[- ](?:assistant|agent|generated)|\bco-authored[-]by\b",
    re.IGNORECASE,
)


def test_the_project_speaks_of_itself_alone() -> None:
    """No file tells of how or with what it was made, or of papers that a reader does not have."""
    telling = [
        f"{by_path(path)}: {found[0]}"
        for path in files()
        if path not in {ROOT / "uv.lock", ROOT / "LICENSE"}
        if (found := OUTSIDE.search(path.read_text(encoding="utf-8", errors="replace")))
    ]

    assert telling == []


def long_functions() -> list[str]:
    return [
        f"{by_path(path)}::{node.name}"
        for path in python("src")
        for node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]


def _is_sentence(docstring: str | None) -> bool:
    first = (docstring or "").partition("\n\n")[0]
    return len(first.split()) > 2 and first.rstrip().endswith((".", ":", "?", "!"))


def _has_hopeful_sleep(path: Path) -> bool:
    """Whether there is a sleep outside of a loop that asks for a condition."""
    asking = {
        id(child) for loop in nodes(path) if isinstance(loop, ast.While) for child in ast.walk(loop)
    }
    return any(
        isinstance(node, ast.Call) and _is_sleep(node) and id(node) not in asking
        for node in nodes(path)
    )


def _bounds_a_duration(test: ast.expr) -> bool:
    """Whether what has passed since a moment is compared with the most that it may be."""
    return any(
        isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Lt | ast.LtE) for one in node.ops)
        and re.search(r"(monotonic|perf_counter|process_time)\(\) - ", ast.unparse(node))
        for node in ast.walk(test)
    )


def _is_sleep(node: ast.Call) -> bool:
    if ast.unparse(node.func) not in {"time.sleep", "asyncio.sleep", "sleep"}:
        return False
    match node.args:
        case [ast.Constant(value=int() | float() as sleep_s)]:
            return sleep_s > MOMENT_S_MAX
        case _:
            return True


def _numbers(path: Path) -> Iterator[tuple[str, int]]:
    """Parameters and attributes that are declared to be numbers."""
    for node in nodes(path):
        match node:
            case ast.arg(arg=name, annotation=annotation):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                pass
            case _:
                continue
        if annotation is not None and re.match(r"(int|float)\b", ast.unparse(annotation)):
            yield name, node.lineno


def _names(path: Path) -> Iterator[tuple[str, int]]:
    """What a module names itself: classes, functions, parameters, variables, attributes."""
    for node in nodes(path):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr, node.lineno

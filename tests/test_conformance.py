"""The page that says what Event Grid does cannot claim what no test holds."""

import ast
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

import pytest

from tests.documentation import ROOT


def test_the_page_is_what_the_tests_promise() -> None:
    """Each row names a test that is there, and shows that test's own promise."""
    script = ROOT / "scripts/write-conformance"

    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("mark", ["skip", "skipif(True)", "xfail"])
def test_a_test_that_is_not_held_to_its_promise_does_not_count(mark: str) -> None:
    """A row cannot rest on a test that may be skipped, or may fail."""
    script = SourceFileLoader("write_conformance", str(ROOT / "scripts/write-conformance"))
    module = ModuleType(script.name)
    module.__file__ = script.path
    script.exec_module(module)

    def is_run(decorator: str) -> bool:
        [test] = ast.parse(f"{decorator}\ndef test_it() -> None: ...").body
        found: bool = module.is_run(test)
        return found

    assert not is_run(f"@pytest.mark.{mark}")
    assert is_run("@pytest.mark.slow")
    assert is_run("@pytest.mark.parametrize('a', [1])")

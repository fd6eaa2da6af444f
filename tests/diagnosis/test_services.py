"""What services call their failures: every code leads to a finding that there is."""

import importlib
import pkgutil

import pytest

from eventpost.diagnosis import catalogue, services

MODULES = [module.name for module in pkgutil.iter_modules(services.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_every_code_has_a_finding(module: str) -> None:
    """Every finding that a service's table names is in the catalogue."""
    named = set(importlib.import_module(f"{services.__name__}.{module}").FINDINGS.values())

    assert named <= set(catalogue.all_codes())


@pytest.mark.parametrize("module", MODULES)
def test_every_table_is_found(module: str) -> None:
    """A table is found by its system's name, also where that is a word of Python's."""
    table = importlib.import_module(f"{services.__name__}.{module}").FINDINGS
    system = module.removesuffix("_")

    assert all(services.finding(system, code) == finding for code, finding in table.items() if code)


@pytest.mark.parametrize("system", ["", "nobody", "../sqs", "os.path"])
def test_systems_without_a_table(system: str) -> None:
    """A system that says nothing of its codes has none of them."""
    assert services.finding(system, "AccessDenied") is None

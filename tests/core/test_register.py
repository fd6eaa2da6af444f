"""Values by name, page by page."""

from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.register import Register


def test_pages_in_order() -> None:
    """Pages follow the order of the keys, whatever came first, up to the last one."""
    register: Register[int] = Register()
    for number, key in enumerate(("c", "a", "b")):
        register[key] = number

    assert register.page("", 2) == [1, 2]
    assert register.page("b", 2) == [0]
    assert register.page("c", 2) == []


def test_a_page_behind_one_that_is_gone() -> None:
    """What was behind a key is still found when the key was deleted, or never was there."""
    register: Register[str] = Register()
    for key in "acd":
        register[key] = key
    assert register.page("a", 1) == ["c"]

    del register["c"]

    assert register.page("c", 1) == ["d"]
    assert register.page("b", 1) == ["d"]


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=2))), st.integers(1, 3))
def test_all_pages_are_all_values(changes: list[tuple[bool, str]], limit: int) -> None:
    """Whatever came and went, pages from the first to the last hold each value once, in order."""
    register: Register[str] = Register()
    for is_new, key in changes:
        if is_new and key:
            register[key] = key
        elif key in register:
            del register[key]
        register.page("", 1)

    found: list[str] = []
    while page := register.page(found[-1] if found else "", limit):
        found += page

    assert found == sorted(register)

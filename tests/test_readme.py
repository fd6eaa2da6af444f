"""A newcomer who does what the pages say gets what the pages show."""

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from tests.documentation import ROOT
from tests.walkthrough import Step, reader

PICTURE = ROOT / "docs/assets/demo.svg"
OURS = ("EVENTPOST_", "PYTHON", "UV_PROJECT", "VIRTUAL_ENV", "MAKE")
"""Variables of whoever runs the tests that a newcomer does not have."""

SONGS = (
    *("...", "genre/blues/1 {'song': 'Backwater Blues'}"),
    *("...", "genre/blues/2 {'song': 'Cross Road Blues'}", "..."),
)
"""What the README's handler prints, among the standard library's own lines."""


def environment(*folders: Path) -> dict[str, str]:
    """A newcomer's: what the machine has, and the packages that were fetched before."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    kept.setdefault("UV_CACHE_DIR", str(caches / "uv"))
    kept.setdefault("PIP_CACHE_DIR", str(caches / "pip"))
    return {**kept, "PATH": os.pathsep.join([*map(str, folders), os.environ["PATH"]])}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project as a newcomer has it: every file of it, and nothing that was made since."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: no list of what belongs to the project")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            target = tmp_path / "eventpost" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    return tmp_path / "eventpost"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_readme_works(tmp_path: Path, clone: Path) -> None:
    """Every command of the README does what it says, from a fresh clone to a traced event."""
    python = tmp_path / "bin"
    python.mkdir()
    (python / "python3").symlink_to(sys._base_executable)  # type: ignore[attr-defined]

    with reader(tmp_path, clone, environment(python)) as newcomer:
        newcomer.follow(ROOT / "README.md")

        newcomer.type(Step("cat handler.log", [*SONGS]), "the handler's terminal")


@pytest.mark.slow
def test_the_picture_shows_the_demo() -> None:
    """The recording in the README has the chapters and the end that the demo has today."""
    demo = subprocess.run(
        [sys.executable, "-P", "-m", "eventpost", "demo", "--once"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )

    drawn = re.sub(r"<[^>]+>", "", PICTURE.read_text(encoding="utf-8"))
    shown = unescape(drawn).replace("\xa0", " ")
    chapters = re.findall(r"^\d\. .+$", demo.stdout, flags=re.MULTILINE)
    assert len(chapters) > 5
    assert [chapter for chapter in chapters if chapter not in shown] == []
    assert "They balance." in shown


@pytest.mark.slow
def test_the_tutorial_works(tmp_path: Path) -> None:
    """Every command of the tutorial prints what the tutorial shows."""
    with reader(tmp_path, tmp_path, environment(Path(sys.executable).parent)) as newcomer:
        newcomer.follow(ROOT / "docs/tutorial.md")

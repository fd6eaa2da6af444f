"""A newcomer who does what the pages say gets what the pages show."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from eventpost.config import file
from tests.documentation import ROOT, blocks, pages, prose
from tests.walkthrough import Reader, Step, reader

PICTURE = ROOT / "docs/assets/demo.svg"
TUTORIAL = ROOT / "docs/tutorial.md"
SERVICE_GUIDE = ROOT / "docs/guides/service.md"
BEFORE_A_GUIDE = (
    "eventpost serve",
    "eventpost topic create song-requests",
    "echo 200 > status",
    "python3 handler.py",
)
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
def test_the_tutorial_works(newcomer: Reader) -> None:
    """Every command of the tutorial prints what the tutorial shows."""
    newcomer.follow(TUTORIAL)


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["declare", "retries", "webhooks"])
def test_the_guides_work(newcomer: Reader, guide: str) -> None:
    """What a guide shows is what it gives to a reader who has the tutorial's server, topic and
    handler; what it shows for other machines has a block of another kind."""
    handler = next(block for block in blocks(TUTORIAL) if block.text.startswith("# handler.py"))
    newcomer.save(handler)
    for command in BEFORE_A_GUIDE:
        newcomer.type(Step(command, []), "before the guide")

    newcomer.follow(ROOT / f"docs/guides/{guide}.md", languages=("console", "python", "yaml"))


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Reader]:
    """With eventpost installed."""
    with reader(tmp_path, tmp_path, environment(Path(sys.executable).parent)) as reads:
        yield reads


def test_settings_on_pages_are_understood() -> None:
    """Every settings file that a page shows is one that eventpost takes."""
    shown = [
        block
        for page in pages()
        for block in blocks(page)
        if block.language == "yaml" and "scrape_configs" not in block.text
    ]

    assert len(shown) > 3
    for block in shown:
        file.parse(block.text, name=str(block))


def test_the_unit_is_understood(tmp_path: Path) -> None:
    """systemd takes the unit of the guide, but for the program's place."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not on this machine")
    unit = next(block for block in blocks(SERVICE_GUIDE) if block.language == "ini")
    path = tmp_path / "eventpost.service"
    path.write_text(unit.text.replace("/opt/eventpost/bin/eventpost", "/bin/true"))

    checked = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_architecture_names_what_exists() -> None:
    """Every module, folder and method that ARCHITECTURE.md names is there."""
    named = re.findall(r"`([^`\n]+)`", prose(ROOT / "ARCHITECTURE.md"))
    source = ROOT / "src/eventpost"
    code = "\n".join(path.read_text(encoding="utf-8") for path in source.rglob("*.py"))

    paths = [name for name in named if re.fullmatch(r"[\w/]+(\.py|/)", name)]
    methods = [name.split(".") for name in named if re.fullmatch(r"[A-Z]\w+\.[a-z_]+", name)]
    assert len(paths) > 20
    assert len(methods) > 5
    missing = [path for path in paths if not (source / path).exists()]
    assert [path for path in missing if not (ROOT / path).exists()] == []
    for class_name, name in methods:
        assert re.search(rf"^class {class_name}\b", code, flags=re.MULTILINE), class_name
        known = rf"^    (?:async )?def {name}\b|^    {name}: |self\.{name}: "
        assert re.search(known, code, flags=re.MULTILINE), name

"""`make services` puts there what can be had, once, and names what cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documentation import ROOT

PACKAGES = ("azurite", "eventgrid-js", "elasticmq", "kafka")
PROGRAMS = ("node", "npm", "java", "javac", "mvn")
NEEDED = ("sh", "cat", "cksum", "cp", "dirname", "mkdir", "mv", "rm", "tail")
INSTALL = '#!/bin/sh\necho made >>"$PWD/../made-$(cat name)"\n'


class Copy:
    """The script in a project of its own, with packages that are quickly made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources = root / "tests/services/packages"
        self.installed = root / ".tools/services"
        self.path = root / "bin"
        (root / "scripts").mkdir()
        self.path.mkdir()
        shutil.copy(ROOT / "scripts/test-services", root / "scripts")
        for name in NEEDED:
            (self.path / name).symlink_to(shutil.which(name) or name)
        for name in PROGRAMS:
            (self.path / name).symlink_to("/bin/true")
        for name in PACKAGES:
            (self.sources / name).mkdir(parents=True)
            (self.sources / name / "name").write_text(name)
            self.write_install(name, INSTALL)

    def write_install(self, name: str, text: str) -> None:
        install = self.sources / name / "install"
        install.write_text(text)
        install.chmod(0o755)

    def run(self) -> str:
        """What it said; it always succeeds."""
        done = subprocess.run(
            [self.root / "scripts/test-services"],
            env={"PATH": str(self.path), "HOME": os.environ.get("HOME", "/")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout

    def made(self, name: str) -> int:
        made = self.installed / f"made-{name}"
        return len(made.read_text().splitlines()) if made.exists() else 0


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_each_is_made_once(copy: Copy) -> None:
    """What is there is not made again, and nothing is said."""
    told = copy.run()
    assert [told.count(f"installing {name} for tests") for name in PACKAGES] == [1, 1, 1, 1]

    assert copy.run() == ""
    assert [copy.made(name) for name in PACKAGES] == [1, 1, 1, 1]


def test_a_changed_one_is_made_again(copy: Copy) -> None:
    """Another version, or another way of making it, replaces what is there; others stay."""
    copy.run()
    (copy.sources / "kafka/pom.xml").write_text("another version")
    copy.run()

    assert [copy.made(name) for name in PACKAGES] == [1, 1, 1, 2]
    assert (copy.installed / "kafka/pom.xml").read_text() == "another version"


def test_one_that_cannot_be_made_is_named(copy: Copy) -> None:
    """A failure is told with its last lines, harms no other, and is tried again."""
    copy.write_install("elasticmq", "#!/bin/sh\necho the registry sleeps; exit 1\n")

    told = copy.run()
    assert "No elasticmq, so its tests cannot run" in told
    assert "the registry sleeps" in told.splitlines()
    assert not (copy.installed / "elasticmq").exists()
    assert copy.made("kafka") == 1

    copy.write_install("elasticmq", INSTALL)
    copy.run()
    assert copy.made("elasticmq") == 1


def test_a_missing_program_is_named(copy: Copy) -> None:
    """Without Node or Java there is nothing to try, and that is said."""
    (copy.path / "node").unlink()
    (copy.path / "mvn").unlink()

    told = copy.run()
    assert "No azurite, so its tests cannot run: there is no node on the PATH." in told
    assert "No kafka, so its tests cannot run: there is no mvn on the PATH." in told
    assert "installing" not in told

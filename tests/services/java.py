"""What services in Java have in common."""

from pathlib import Path

from tests.services.service import INSTALLED, lacks_file, lacks_program

# Small and quick to start, for machines with little memory and few cores.
OPTIONS = ("-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")


def java(package: str, main: str, *arguments: str, memory_mb_max: int) -> list[str]:
    """The command that runs the class `main` of the jars that the package brought."""
    jars = sorted(str(path) for path in _jars(package).glob("*.jar"))
    options = [*OPTIONS, f"-Xmx{memory_mb_max}m"]
    properties = [argument for argument in arguments if argument.startswith("-D")]
    rest = [argument for argument in arguments if argument not in properties]
    return ["java", *options, *properties, "-cp", ":".join(jars), main, *rest]


def lacks_java(package: str) -> str | None:
    return lacks_program("java") or lacks_file(_jars(package))


def _jars(package: str) -> Path:
    return INSTALLED / package / "libs"

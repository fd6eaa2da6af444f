"""The catalogue of findings: one Markdown file each, read when it is first asked for.

A file is named `EPnnnn-slug.md`. Its heading is the code and the title, its first paragraph says
what was seen, with placeholders for what the evidence holds, and its sections are those of
`Finding`. Numbers tell where the failure is, and a number is never given to something else:

    EP1xxx  publishing, and reaching or starting the server
    EP2xxx  delivery over HTTP
            20 name, connection, proxy   21 TLS    22 the exchange    23 to 25 the answer's status
            26 handshake                 27 rules and settings        28 held without an attempt
    EP3xxx  the store and what is written beside it; 36 bearer tokens
    EP4xxx  queues, storage, brokers, credentials    EP6xxx  what the doctor finds by itself
    EP9xxx  everything else
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from eventpost.core.errors import NotFound

CODE = re.compile(r"EP[1-9][0-9]{3}")
_HEADING = re.compile(rf"# ({CODE.pattern}): (\S.*)")
_SECTIONS = {
    "What you see": "symptoms",
    "Causes": "causes",
    "Check": "check",
    "Fix": "fix",
    "What happens to the event": "event",
    "Does it heal by itself": "heals",
    "Sources": "sources",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One explained failure. Texts are Markdown of one paragraph, without line breaks."""

    code: str
    slug: str
    title: str
    seen: str
    """What was seen, with placeholders such as `{address}`; `diagnosis.classify` fills them."""
    symptoms: str
    """Where and how a user meets it."""
    causes: tuple[str, ...]
    """The likeliest first."""
    check: str
    """What decides which cause it is."""
    fix: str
    event: str
    """What happens to the event."""
    heals: str
    """Whether it passes by itself."""
    sources: tuple[str, ...]

    @property
    def cause(self) -> str:
        """The likeliest cause."""
        return self.causes[0]


def all_codes() -> tuple[str, ...]:
    """Every code, ascending."""
    return tuple(sorted(_files()))


@cache
def get(code: str) -> Finding:
    """The finding of that code, in any case.

    Raises NotFound, with the nearest known codes in its fix. Reads one small file, once.
    """
    known = _files()
    wanted = code.strip().upper()
    if wanted not in known:
        near = _nearest(wanted)
        meant = f"did you mean {' or '.join(near)}?" if near else "see docs/findings/index.md"
        raise NotFound("FindingNotFound", f"There is no finding {code!r}.", fix=meant)
    file = known[wanted]
    return parse(file.name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Finding:
    """A finding from its file's name and text. Raises ValueError, naming what is wrong with it."""
    code, _, slug = name.removesuffix(".md").partition("-")
    head, *rest = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    heading, _, seen = head.strip().partition("\n")
    matched = _HEADING.fullmatch(heading)
    if matched is None or matched[1] != code:
        raise ValueError(f"{name}: the heading must be `# {code}: Title`, not {heading!r}")
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    if list(sections) != list(_SECTIONS):
        raise ValueError(f"{name}: the sections must be {list(_SECTIONS)}, not {list(sections)}")
    texts = {_SECTIONS[title]: body for title, body in sections.items()}
    return Finding(
        code=code,
        slug=slug,
        title=matched[2],
        seen=_paragraph(seen),
        symptoms=_paragraph(texts["symptoms"]),
        causes=_items(texts["causes"]),
        check=_paragraph(texts["check"]),
        fix=_paragraph(texts["fix"]),
        event=_paragraph(texts["event"]),
        heals=_paragraph(texts["heals"]),
        sources=_items(texts["sources"]),
    )


def _nearest(wanted: str) -> list[str]:
    """Known codes that may have been meant, those with two digits swapped before all others."""
    swapped = [code for code in all_codes() if sorted(code) == sorted(wanted)]
    return swapped or get_close_matches(wanted, all_codes(), n=3, cutoff=0.6)


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _items(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^(?:-|\d+\.) (\S.*)$", text, flags=re.MULTILINE))


@cache
def _files() -> dict[str, Path]:
    """The findings' files by code. Two files of one code are a fault of the catalogue."""
    found: dict[str, Path] = {}
    # Not by importlib.resources, which brings archives along: a pasted error is answered at once.
    for file in (Path(__file__).parent / "findings").iterdir():
        code = file.name.partition("-")[0]
        if CODE.fullmatch(code):
            assert code not in found, f"{code} is given twice"
            found[code] = file
    return found

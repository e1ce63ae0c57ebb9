"""The lines of the table: what is measured, the figure of the incumbents, and whether it is met."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

INCUMBENTS = "cert-manager 1.21.1 and Reloader 1.4.21, measured on such a node on 2026-11-28"
_WIDTHS = (46, 26, 24, 20)


@dataclass(frozen=True)
class Line:
    """One line; ``incumbent`` is empty where there is no figure, ``met`` None without a limit.

    ``figures`` has the numbers of ours, and ``note`` how they are to be read.
    """

    what: str
    incumbent: str
    ours: str
    limit: str = ""
    met: bool | None = None
    figures: Mapping[str, object] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Section:
    """What one row of the benchmark gave: its lines, and why it failed; ``took`` in seconds."""

    row: str
    took: float
    lines: Sequence[Line] = ()
    failed: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it was measured, and no limit is exceeded."""
        return not self.failed and all(line.met is not False for line in self.lines)


def within(figure: float, limit: float, unit: str = " s") -> tuple[str, bool]:
    """The limit in words, and whether the figure is not above it."""
    return f"≤ {limit:g}{unit}", figure <= limit


def head() -> str:
    """The first line of the table."""
    return _columns("", "incumbent", "certrotd", "limit", "met")


def rendered(section: Section) -> str:
    """Its lines for people."""
    shown = [f"{section.row} ({section.took:.0f} s)"]
    for line in section.lines:
        met = {True: "yes", False: "NO", None: ""}[line.met]
        words = (line.incumbent or "–", line.ours, line.limit or "–", met)
        shown.append(_columns(f"  {line.what}", *words))
        indent = " " * 6
        shown += textwrap.wrap(line.note, 110, initial_indent=indent, subsequent_indent=indent)
    if section.failed:
        shown.append(textwrap.indent(f"FAILED: {section.failed}", "  "))
    return "\n".join(shown)


def as_json(sections: Sequence[Section]) -> list[dict[str, object]]:
    """All of it, for programs."""
    return [{**asdict(section), "is_met": section.is_met} for section in sections]


def _columns(*words: str) -> str:
    """Words in columns; those that are too long push the others to the right."""
    padded = [f"{word:{width}}" for word, width in zip(words, _WIDTHS, strict=False)]
    return "  ".join([*padded, *words[len(padded) :]]).rstrip()

"""The style sheet: that it is kept, and that words can be read."""

from collections.abc import Iterator

from certrotd.daemon.http.assets import style
from tests.unit.daemon.http.page import ask, text
from tests.unit.daemon.http.stand import Stand


def test_the_style_sheet_is_kept_under_the_address_that_tells_its_content(stand: Stand) -> None:
    """After an update nobody sees the old one."""
    stand.look()
    sheet, address = style()
    assert address in text(stand)
    path, _, version = address.partition("?v=")
    found = ask(stand, path, v=version)
    assert (found.body, found.keep, found.kind) == (sheet, True, "text/css; charset=utf-8")
    assert not ask(stand, path).keep
    assert not ask(stand, path, v="other").keep
    assert "url(" not in sheet
    assert ask(stand, "/icon.svg").kind == "image/svg+xml"


def colours(sheet: str) -> Iterator[dict[str, str]]:
    """The light and the dark colours by name."""
    for part in sheet.split(":root {")[1:]:
        pairs = (line.strip().strip(";").split(": ") for line in part.split("}")[0].splitlines())
        yield {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[1].startswith("#")}


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_can_be_read_on_their_ground() -> None:
    """WCAG AA: 4.5 to 1, in both schemes."""
    schemes = list(colours(style()[0]))
    assert len(schemes) == 2
    pairs = [
        (ink, ground) for ink in ("--ink", "--soft", "--accent") for ground in ("--page", "--card")
    ]
    pairs += [(f"--{tone}-ink", f"--{tone}-soft") for tone in ("good", "work", "bad", "calm")]
    pairs += [("--bad-ink", "--card"), ("--good-ink", "--card"), ("--work-ink", "--card")]
    pairs += [("--card", "--accent")]
    for scheme in schemes:
        for ink, ground in pairs:
            light, dark = sorted((luminance(scheme[ink]), luminance(scheme[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, scheme[ink])

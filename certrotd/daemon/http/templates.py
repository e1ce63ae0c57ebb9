"""Pages from the templates beside this module: every value in them is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd import __version__
from certrotd.daemon.http.assets import style
from certrotd.daemon.http.time_format import relative, span
from certrotd.errors import NeedsOperator, printable
from certrotd.wording import count, stamp

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_TONES = {
    "ok": "good",
    "serves it": "good",
    "finished": "good",
    "due": "work",
    "in flight": "work",
    "postponed": "work",
    "missing": "work",
    "placeholder": "work",
    "expired": "bad",
    "not yet valid": "bad",
    "broken": "bad",
    "unreadable": "bad",
}


def render(template: str, **values: object) -> str:
    """The page that ``template`` makes of ``values``; raises NeedsOperator where it is missing."""
    from jinja2 import TemplateNotFound

    try:
        return environment().get_template(template).render(values)
    except TemplateNotFound as error:
        raise NeedsOperator(
            f"the template {error.name} of the status page is missing",
            hint="certrotd is installed incompletely: install it again",
        ) from error


@cache
def environment() -> Environment:
    """How templates are filled: escaped, printable, and with nothing undefined."""
    # 5 MiB that a daemon without readers, and every other command, does not spend
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(count=count, relative=relative, span=span, stamp=stamp, tone=_tone)
    made.globals.update(style=style()[1], version=__version__)
    return made


def _shown(value: object) -> object:
    """A value as text without control characters, or as it is if it is HTML already."""
    return value if hasattr(value, "__html__") else printable(str(value))


def _tone(state: str) -> str:
    return _TONES.get(state, "calm")

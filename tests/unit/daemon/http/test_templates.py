"""Templates that nobody else can write into, and that are whole."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from certrotd.daemon.http import templates
from certrotd.daemon.http.templates import environment
from certrotd.errors import NeedsOperator
from tests.unit.daemon.http.page import ask
from tests.unit.daemon.http.stand import DAY, NOW, Stand


def filled(template: str, **values: object) -> str:
    """A template that is no file, filled as those are."""
    return environment().from_string(template).render(values)


@given(st.text())
def test_a_value_never_becomes_markup(text: str) -> None:
    """Names and the words of a CA are other people's."""
    made = filled('<b title="{{ part }}">{{ part }}</b>', part=text)
    inside = made.removeprefix('<b title="').removesuffix("</b>")
    assert not set("<>'") & set(inside.replace('">', "", 1))
    assert inside.count('"') == 1
    assert made.isprintable()


def test_markup_stays_markup() -> None:
    """The control: what a template has written is not escaped twice."""
    assert filled("<p>{{ a }}{{ b }}</p>", a=Markup("<i>"), b="<i>") == "<p><i>&lt;i&gt;</p>"
    macro = "{% macro bold(words) %}<b>{{ words }}</b>{% endmacro %}{{ bold(a) }}"
    assert filled(macro, a="&") == "<b>&amp;</b>"


def test_a_template_inside_a_value_is_text() -> None:
    """A template is filled once."""
    assert filled("{{ a }}", a="{{ b }} {% if %}") == "{{ b }} {% if %}"


@pytest.mark.parametrize("template", ["{{ missing }}", "{% if missing %}{% endif %}"])
def test_a_value_that_nobody_gave_is_an_error(template: str) -> None:
    """A page with a hole would be believed."""
    with pytest.raises(UndefinedError, match="missing"):
        filled(template)
    with pytest.raises(UndefinedError, match="absent"):
        filled("{{ a.absent }}", a="text")


@pytest.mark.parametrize("way_round", ["safe", "autoescape", "<script", " style="])
def test_no_template_goes_round_escaping_or_the_policy(way_round: str) -> None:
    """Neither for a value nor for a block; and nothing is inline that browsers would refuse."""
    found = list(templates.TEMPLATES.iterdir())
    assert {path.name for path in found} > {"base.html.j2", "overview.html.j2"}
    for path in found:
        assert way_round not in path.read_text(), path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory in place of the one of the templates."""
    monkeypatch.setattr(templates, "TEMPLATES", tmp_path / "templates")
    environment.cache_clear()
    yield tmp_path / "templates"
    environment.cache_clear()


def test_a_missing_template_is_reported_with_its_name(elsewhere: Path, stand: Stand) -> None:
    """An installation that lost files says which, and what to do."""
    stand.look()
    with pytest.raises(NeedsOperator) as caught:
        ask(stand, "/")
    assert "the template overview.html.j2 of the status page is missing" in str(caught.value)
    assert "install it again" in str(caught.value)
    elsewhere.mkdir()
    (elsewhere / "overview.html.j2").write_text('{% extends "base.html.j2" %}')
    with pytest.raises(NeedsOperator, match=r"the template base\.html\.j2 of"):
        ask(stand, "/")


def test_jinja_is_loaded_when_the_first_page_is_asked_for() -> None:
    """A daemon without readers does without its memory."""
    program = (
        "import sys, certrotd.daemon.run, certrotd.daemon.http.templates as t\n"
        "assert 'jinja2' not in sys.modules; t.environment(); assert 'jinja2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_moments_are_shown_from_now_with_the_exact_one_beside() -> None:
    """For readers and for programs."""
    imported = '{% import "components.html.j2" as c with context %}'
    assert filled(imported + "{{ c.when(at) }}", at=NOW + 3 * DAY, now=NOW) == (
        '<time datetime="2026-06-04T12:00:00+00:00" title="2026-06-04 12:00Z">in 3 days</time>'
    )
    assert filled(imported + "{{ c.when(none) }}", now=NOW) == "–"
    assert ">2026-06-01 12:00Z<" in filled(imported + "{{ c.exact(now) }}", now=NOW)

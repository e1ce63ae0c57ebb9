"""The agenda: what is due comes out once, in order, and nothing is lost."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certrotd.daemon.agenda import Agenda

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

names = st.sampled_from("abcdefg")
seconds = st.integers(0, 50)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names, seconds),
        st.tuples(st.just("remove"), names, st.just(0)),
        st.tuples(st.just("due"), st.just(""), seconds),
        st.tuples(st.just("hasten"), st.just(""), seconds),
    )
)


def test_a_later_word_on_a_name_replaces_the_earlier() -> None:
    """A certificate looked at twice would be rotated twice."""
    agenda = Agenda[str]()
    agenda.put("web", NOW)
    agenda.put("web", NOW + SECOND)
    assert (agenda.due(NOW), len(agenda)) == ([], 1)
    assert (agenda.due(NOW + SECOND), len(agenda)) == (["web"], 0)


def test_what_is_removed_never_comes_up() -> None:
    """A certificate that the configuration no longer has is left alone."""
    agenda = Agenda[str]()
    agenda.put("web", NOW)
    agenda.put("mail", NOW)
    agenda.remove("web")
    agenda.remove("never there")
    assert ("web" in agenda, list(agenda)) == (False, ["mail"])
    assert agenda.due(NOW + SECOND) == ["mail"]


def test_hastened_names_are_due_in_the_order_they_would_have_come_up() -> None:
    """After a clock jump what is most urgent is still looked at first."""
    agenda = Agenda[str]()
    for name, after in (("late", 30), ("soon", 10), ("sooner", 5)):
        agenda.put(name, NOW + after * SECOND)
    agenda.hasten(NOW)
    assert (agenda.next(), agenda.due(NOW)) == (NOW, ["sooner", "soon", "late"])


def test_a_name_put_often_does_not_fill_the_memory() -> None:
    """The daemon runs for years, and looks at each certificate every day."""
    agenda = Agenda[str]()
    agenda.put("other", NOW)
    for count in range(10_000):
        agenda.put("web", NOW + count * SECOND)
    assert len(agenda._heap) < 200
    assert agenda.due(NOW + 10_000 * SECOND) == ["other", "web"]


@given(changes)
def test_it_behaves_as_a_sorted_dictionary_does(steps: list[tuple[str, str, int]]) -> None:
    """The heap is only a faster way to the same answers."""
    agenda, model, order = Agenda[str](), dict[str, tuple[datetime, int]](), 0
    for count, (what, name, after) in enumerate(steps):
        when = NOW + after * SECOND
        match what:
            case "put":
                agenda.put(name, when)
                model[name] = (when, order)
            case "remove":
                agenda.remove(name)
                model.pop(name, None)
            case "hasten":
                agenda.hasten(when)
                for each in sorted(model, key=lambda n: model[n]):
                    order += 1
                    model[each] = (when, order)
            case _:
                expected = sorted((n for n in model if model[n][0] <= when), key=lambda n: model[n])
                assert agenda.due(when) == expected
                model = {n: kept for n, kept in model.items() if n not in expected}
        order += count + 1
        assert agenda.next() == min((kept[0] for kept in model.values()), default=None)
        assert (set(agenda), len(agenda)) == (set(model), len(model))

"""The due heap: what is due comes out once, in order, and nothing is lost."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from certrotd.scheduling.due_heap import DueHeap

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
    due_heap = DueHeap[str]()
    due_heap.put("web", NOW)
    due_heap.put("web", NOW + SECOND)
    assert (due_heap.due(NOW), len(due_heap)) == ([], 1)
    assert (due_heap.due(NOW + SECOND), len(due_heap)) == (["web"], 0)


def test_a_removed_entry_never_comes_up() -> None:
    """A certificate that the configuration no longer has is left alone."""
    due_heap = DueHeap[str]()
    due_heap.put("web", NOW)
    due_heap.put("mail", NOW)
    due_heap.remove("web")
    due_heap.remove("never there")
    assert ("web" in due_heap, list(due_heap)) == (False, ["mail"])
    assert due_heap.due(NOW + SECOND) == ["mail"]


def test_hastened_names_are_due_in_the_order_they_would_have_come_up() -> None:
    """After a clock jump what is most urgent is still looked at first."""
    due_heap = DueHeap[str]()
    for name, after in (("late", 30), ("soon", 10), ("sooner", 5)):
        due_heap.put(name, NOW + after * SECOND)
    due_heap.hasten(NOW)
    assert (due_heap.next(), due_heap.due(NOW)) == (NOW, ["sooner", "soon", "late"])


def test_a_name_put_often_does_not_fill_the_memory() -> None:
    """The daemon runs for years, and looks at each certificate every day."""
    due_heap = DueHeap[str]()
    due_heap.put("other", NOW)
    for count in range(10_000):
        due_heap.put("web", NOW + count * SECOND)
    assert len(due_heap._heap) < 200
    assert due_heap.due(NOW + 10_000 * SECOND) == ["other", "web"]


@given(changes)
def test_the_heap_behaves_as_a_sorted_dictionary(steps: list[tuple[str, str, int]]) -> None:
    """The heap is only a faster way to the same answers."""
    due_heap, model, order = DueHeap[str](), dict[str, tuple[datetime, int]](), 0
    for count, (what, name, after) in enumerate(steps):
        when = NOW + after * SECOND
        match what:
            case "put":
                due_heap.put(name, when)
                model[name] = (when, order)
            case "remove":
                due_heap.remove(name)
                model.pop(name, None)
            case "hasten":
                due_heap.hasten(when)
                for each in sorted(model, key=lambda n: model[n]):
                    order += 1
                    model[each] = (when, order)
            case _:
                expected = sorted((n for n in model if model[n][0] <= when), key=lambda n: model[n])
                assert due_heap.due(when) == expected
                model = {n: kept for n, kept in model.items() if n not in expected}
        order += count + 1
        assert due_heap.next() == min((kept[0] for kept in model.values()), default=None)
        assert (set(due_heap), len(due_heap)) == (set(model), len(model))

"""What every output keeps to, whatever an application's file looks like."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.errors import NoFreeSlot, NotDeliverable, NotExpressible, OutputError
from certrotd.outputs.port import Imported, Present, difference
from tests.contract.output_cases import BEGIN, CASES, Case, applied, deliveries, delivery_of

READABLE = [case for case in CASES if case.make().traits.readable]
every = pytest.mark.parametrize("case", CASES, ids=str)
readable = pytest.mark.parametrize("case", READABLE, ids=str)
few = settings(
    max_examples=10,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # a smaller example takes minutes where YAML is read
)


def starts(case: Case) -> list[Present]:
    """What may stand before anything was rendered: nothing, or a file of the application's own."""
    return [{}, *({case.path: data} for data in case.files)]


def secrets(keys: Imported | None) -> set[tuple[str, bytes]]:
    """The keys that were read."""
    assert keys is not None
    return {(each.algorithm, each.material.reveal()) for each in keys.keys}


def delivered(delivery: Delivery) -> set[tuple[str, bytes]]:
    """The keys that were delivered."""
    return {(each.key.algorithm, each.key.material.reveal()) for each in delivery.keys}


def shows_no_key(text: str, delivery: Delivery) -> None:
    """No key is in a message, in none of the ways that keys are written."""
    for each in delivery.keys:
        secret = each.key.material.reveal()
        for form in (secret.hex(), base64.b64encode(secret).decode()[:-3], repr(secret)[2:-1]):
            assert form not in text


@readable
@few
@given(data=st.data())
def test_the_keys_that_an_output_renders_are_those_that_it_reads(
    case: Case, data: st.DataObject
) -> None:
    """And the same one encrypts: what is adopted and what is noticed rest on it."""
    output, delivery = case.make(), data.draw(deliveries(case))
    for start in starts(case):
        there = applied(start, output.render(delivery, start))
        read = output.parse(there)
        assert secrets(read) == delivered(delivery)
        assert read is not None
        assert len(read.keys) == len(delivery.keys)
        active = read.keys[read.encrypting]
        assert active.material == delivery.encrypting.key.material
        if output.traits.ids is not None:
            ids = {each.key.material: each.key.id for each in delivery.keys}
            assert {each.material: each.id for each in read.keys} == ids
        if output.traits.iv_bytes:
            assert active.iv == delivery.encrypting.key.iv
        output.check(there)
        assert difference(output, delivery, there) is None


@every
@few
@given(data=st.data())
def test_rendering_twice_changes_nothing(case: Case, data: st.DataObject) -> None:
    """A file that is right is not written, and its random parts stay."""
    output, delivery = case.make(), data.draw(deliveries(case))
    for start in starts(case):
        once = output.render(delivery, start)
        again = case.make().render(delivery, applied(start, once))
        assert {path: again[path] for path in once} == once
        assert case.make().render(delivery, start) == once


@every
@few
@given(data=st.data())
def test_what_is_not_the_keyrings_own_stays_byte_for_byte(case: Case, data: st.DataObject) -> None:
    """Through any number of rotations, and through a rollback."""
    first, second = data.draw(deliveries(case)), data.draw(deliveries(case))
    for index, start in enumerate(starts(case)[1:]):
        there = start
        for delivery in (first, second, first):
            there = applied(there, case.make().render(delivery, there))
            assert case.foreign(index).match(there[case.path] or b"")


@readable
@few
@given(data=st.data())
def test_a_file_edited_since_is_noticed(case: Case, data: st.DataObject) -> None:
    """Whether a key was put there, or another one made to encrypt."""
    output = case.make()
    ours, theirs = data.draw(deliveries(case)), data.draw(deliveries(case))
    there = applied({}, output.render(theirs, {}))
    if delivered(ours) == delivered(theirs):
        return
    assert difference(output, ours, there)
    assert difference(output, ours, {})


@readable
def test_an_application_without_keys_has_none_to_adopt(case: Case) -> None:
    """Which is no error: its first rendering writes the file."""
    assert case.make().parse({}) is None
    assert case.make().parse({case.path: None}) is None
    case.make().check({})


@every
def test_a_delivery_of_more_keys_than_places_is_refused(case: Case) -> None:
    """Before anything is written; one that fits is the control."""
    output = case.make()
    capacity = output.traits.capacity
    if capacity is None or capacity > case.most:
        return
    fitting = delivery_of(output, capacity, material=case.material, algorithms=case.algorithms)
    assert output.render(fitting, {})
    keys = [*fitting.keys]
    last = keys[-1]
    extra = DataKey(
        capacity + 1,
        last.key.algorithm,
        Material(bytes(reversed(last.key.material.reveal()))),
        "",
        last.key.iv,
    )
    keys.append(Delivered(extra, State.DECRYPT_ONLY, BEGIN))
    with pytest.raises(NoFreeSlot, match=f"delivers {capacity + 1} keys") as refused:
        output.render(Delivery("app", keys, fitting.active), {})
    assert refused.value.hint


@every
def test_a_key_of_an_algorithm_that_the_application_has_not_is_refused(case: Case) -> None:
    """A key of one algorithm is never used with another."""
    output = case.make()
    foreign = sorted(set(Algorithm) - output.traits.algorithms)
    if not foreign:
        return
    key = DataKey(1, foreign[0], Material(bytes(foreign[0].key_bytes)), "v1")
    delivery = Delivery("app", [Delivered(key, State.ACTIVE, BEGIN)], 1)
    with pytest.raises(NotDeliverable, match=foreign[0]):
        output.render(delivery, {})


@every
def test_a_secondary_key_is_refused_where_the_application_reads_none(case: Case) -> None:
    """It would be dropped, or encrypt too early."""
    output = case.make()
    if output.traits.secondary or (output.traits.capacity or 2) < 2:
        return
    delivery = delivery_of(
        output, 2, secondary=True, material=case.material, algorithms=case.algorithms
    )
    with pytest.raises(NotDeliverable, match="secondary"):
        output.render(delivery, {})


HOSTILE = [
    b"\xff\xfe\x00",
    b"\0" * 100,
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b"{" * 100_000,
    b'{"a":' * 50_000,
    b"- " * 30_000,
    b"?" * 1000,
    b"x" * (5 * 1024 * 1024),
    b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n",
    b"a: *a\n",
    b"--- a\n--- b\n",
    b"%YAML 9.9\n---\n",
    b"!!python/object/apply:os.system ['true']\n",
    b"<%= ENV['KEY'] %>\n",
    b"9" * 5000,
    b"a." * 100_000 + b"c=1",
    b'A="\n' * 100_000,
    b"[1e999]",
    b"NaN",
    b'"text"',
    b"\x1b[2J",
    b"null",
]


@readable
@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_file_is_one_typed_error(case: Case, data: bytes) -> None:
    """Or it holds no key; whichever it is, it is told within moments."""
    output, refused = case.make(), ""
    try:
        assert output.parse({case.path: data}) is None
        output.check({case.path: data})
    except NotExpressible as failure:
        refused = failure.message
    assert not refused or str(case.path) in refused
    assert len(refused) < 300


@readable
@few
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_never_shown(case: Case, data: st.DataObject) -> None:
    """Cut off, with a byte flipped, or with a part of it twice."""
    output, delivery = case.make(), data.draw(deliveries(case))
    whole = output.render(delivery, {})
    path = data.draw(st.sampled_from(sorted(path for path, text in whole.items() if text)))
    text = bytearray(whole[path] or b"")
    spot = data.draw(st.integers(0, len(text) - 1))
    match data.draw(st.sampled_from(["cut", "flip", "twice"])):
        case "cut":
            text = text[:spot]
        case "flip":
            text[spot] ^= 1 << data.draw(st.integers(0, 7))
        case _:
            text = text[:spot] + text
    damaged = {**whole, path: bytes(text)}
    for act in (output.parse, output.check, lambda p: output.render(delivery, p)):
        try:
            act(damaged)
        except OutputError as refused:
            shows_no_key(str(refused), delivery)


@every
def test_nothing_of_a_key_is_in_what_an_output_shows_of_itself(case: Case) -> None:
    """Tracebacks with locals show reprs."""
    output = case.make()
    delivery = delivery_of(output, 1, material=case.material, algorithms=case.algorithms)
    output.render(delivery, {})
    shown = [repr(output), repr(output.traits)]
    if output.traits.readable:
        shown.append(repr(output.parse(applied({}, output.render(delivery, {})))))
    shows_no_key(" ".join(shown), delivery)


def test_every_output_has_its_case() -> None:
    """A new type is tested like the others."""
    folder = Path(__file__).parents[2] / "certrotd" / "outputs"
    declared = {
        name
        for source in folder.glob("*.py")
        for name in re.findall(r"Traits\(\s*\"([a-z-]+)\"", source.read_text())
    }
    assert {case.make().traits.type for case in CASES} == declared

"""Templates of the operator's own: what they see, and what they may not do."""

import base64
from pathlib import Path

import pytest

from certrotd.keyring.delivery import Delivery
from certrotd.keyring.material import Algorithm
from certrotd.outputs.errors import NoFreeSlot, NotDeliverable, TemplateFailed
from certrotd.outputs.port import difference
from certrotd.outputs.template import MAX_SOURCE, Template
from tests.contract.output_cases import delivery_of

FILE = Path("/etc/app/keys")


def template(source: str, capacity: int | None = None, *, secondary: bool = True) -> Template:
    """A template of this source."""
    return Template(FILE, source, "keys.j2", Algorithm.AES_256_GCM, capacity, secondary)


def keys(*, secondary: bool = True) -> Delivery:
    """Three keys."""
    return delivery_of(template(""), 3, secondary=secondary)


def written(source: str) -> str:
    """What it writes of three keys, the last of which is secondary."""
    return (template(source).render(keys(), {})[FILE] or b"").decode()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for key in keys %}{{ key.version }}{{ ',' if not loop.last }}{% endfor %}", "1,2,3"),
        ("{% for key in others %}{{ key.version }} {% endfor %}", "3 1 "),
        ("{{ active.version }} {{ active.active }} {{ active.state }}", "2 True active"),
        ("{% if secondary is not none %}{{ secondary.id }}{% endif %}", "3"),
        ("{{ keyring }} {{ keys|length }} {{ active.algorithm }}", "app 3 aes-256-gcm"),
        ("{{ active.created }}\n", "2026-01-03T00:00:00Z\n"),
        ("{% for key in keys if key.secondary %}{{ key.version }}{% endfor %}", "3"),
        ("{% raw %}{{ x }}{% endraw %}{# a comment #}", "{{ x }}"),
    ],
)
def test_a_template_sees_the_keys(source: str, text: str) -> None:
    """Which of them encrypts, and which does not yet."""
    assert written(source) == text


def test_a_template_writes_keys_in_every_encoding() -> None:
    """Whatever the application reads."""
    secret = keys().encrypting.key.material.reveal()
    found = written(
        "{{ active.hex }} {{ active.base64 }} {{ active.base64url }} {{ hash }}"
    ).split()
    assert found == [
        secret.hex(),
        base64.b64encode(secret).decode(),
        base64.urlsafe_b64encode(secret).decode(),
        keys().hash,
    ]


def test_a_template_writes_the_text_of_a_passphrase() -> None:
    """The text is what the application reads; other keys are bytes, and have none."""
    source = Template(FILE, "{{ active.text }}", "keys.j2", Algorithm.PASSPHRASE)
    source.check({})
    found = delivery_of(source, 1, material=lambda _rng, _size: b"correct-horse")
    assert source.render(found, {})[FILE] == b"correct-horse"
    bytes_ = delivery_of(source, 1, material=lambda _rng, _size: b"\xff\n")
    for refused in (bytes_, keys()):
        with pytest.raises((TemplateFailed, NotDeliverable), match=r"not defined|holds no"):
            source.render(refused, {})


def test_a_template_writes_the_recipient_of_a_key_of_age() -> None:
    """What others encrypt to is no secret, and stands in files of their own."""
    text = "{{ active.recipient }} {{ active.identity }}"
    source = Template(FILE, text, "keys.j2", Algorithm.AGE_X25519)
    source.check({})
    rendered = source.render(delivery_of(source, 1, material=lambda _rng, _size: b"\1" * 32), {})
    assert rendered[FILE] == (
        b"age15nsf9y4k28p83wth93tf7hafhvfajp45d2mge80ems45gz0c5gys3me64l "
        b"AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZ9K4CN"
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ nope }}", "line 1: it uses a name that is not defined"),
        ("a\n\n{{ keys[0].nope }}", "line 3: it uses a name that is not defined"),
        ("{{ active[active.hex] }}", "line 1: it uses a name that is not defined"),
        ("{{ keys.__class__ }}", "line 1: it uses what a template may not"),
        ("{{ keys[0]['__class__'] }}", "line 1: it uses what a template may not"),
        ("\n{{ active.version|first }}", "line 2: it raises TypeError"),
        ("{{", "line 1: unexpected 'end of template'"),
        ("{{ 'a' * 999 }}", "does not use Mul here"),
        ("{{ active.hex + active.hex }}", "does not use Add here"),
        ("{% set x = 1 %}", "does not use Assign here"),
        ("{% with x = 1 %}{% endwith %}", "does not use With here"),
        ("{{ keys() }}", "does not use Call here"),
        ("{{ range(10) }}", "does not use Call here"),
        ("{% include '/etc/passwd' %}", "does not use Include here"),
        ("{% macro a() %}{% endmacro %}", "does not use Macro here"),
        ("{{ active.hex|indent }}", "indent is not one of first, join"),
        ("{{ active.hex is string }}", "string is not one of"),
        ("{{ keys|join(active.hex) }}", "a filter takes plain values only"),
        ("{{ keys|tojson(1000000000) }}", "a number is none from 0 to 1000"),
        ("{% for x in [1, 2] %}{% endfor %}", "a loop goes over keys or others"),
        ("{% for x in keys recursive %}{% endfor %}", "a loop goes over keys or others"),
        ("{{" + "(" * 4000 + "1" + ")" * 4000 + "}}", "it is nested too deeply"),
        ("x" * (MAX_SOURCE + 1), "it has more than 16384 characters"),
        (
            "{% for a in active.hex %}{% for b in active.hex %}{% for c in active.hex %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "its loops take more than 10000 rounds",
        ),
        (
            "{% for a in active.hex %}{% for b in active.hex %}"
            + "x" * 1000
            + "{% endfor %}{% endfor %}",
            "it writes more than 1048576 bytes",
        ),
    ],
)
def test_a_template_that_fails_is_one_clear_line_without_a_key(source: str, words: str) -> None:
    """Nothing is written then."""
    with pytest.raises(TemplateFailed, match=words) as failed:
        written(source)
    assert failed.value.message.startswith("keys.j2")
    assert failed.value.hint == "correct the template"
    for each in keys().keys:
        assert each.key.material.reveal().hex()[:16] not in str(failed.value)


def test_a_preflight_finds_a_template_that_is_none() -> None:
    """Before a key is made."""
    template("{{ active.hex }}").check({})
    with pytest.raises(TemplateFailed, match="does not use Call"):
        template("{{ lipsum() }}").check({})
    with pytest.raises(TemplateFailed, match="line 1: it uses a name that is not defined"):
        template("{{ actve.hex }}").check({})
    template("{{ secondary.hex }}", 2).check({})
    with pytest.raises(TemplateFailed, match="not defined"):
        template("{{ secondary.hex }}", 1).check({})


def test_no_keys_are_read_from_what_a_template_wrote() -> None:
    """An edit is told by the bytes alone."""
    output = template("{{ active.hex }}\n")
    assert not output.traits.readable
    assert output.paths({}) == (FILE,)
    there = output.render(keys(), {})
    assert output.parse(there) is None
    assert difference(output, keys(), there) is None
    assert difference(output, keys(), {FILE: b"edited"}) == f"{FILE} is not what certrotd wrote"
    assert difference(output, keys(), {}) == f"{FILE} is not what certrotd wrote"


def test_the_operator_tells_how_many_keys_there_is_room_for() -> None:
    """And whether a secondary one is read."""
    for capacity in (None, 1, 2, 3):
        assert template("", capacity).traits.capacity == capacity
    with pytest.raises(NoFreeSlot):
        template("", 2).render(keys(), {})
    with pytest.raises(NotDeliverable, match="secondary"):
        template("", secondary=False).render(keys(), {})
    assert not template("", 1).traits.secondary

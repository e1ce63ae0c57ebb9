"""The pages about outputs: what they show is what certrotd reads and writes."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from certrotd.config.base import Entry
from certrotd.config.outputs import OutputEntry, TemplateEntry
from certrotd.keyring.delivery import Delivered, Delivery
from certrotd.keyring.material import Algorithm, DataKey, Material
from certrotd.keyring.states import State
from certrotd.outputs.build import Chance, output_of
from certrotd.outputs.port import Output
from certrotd.outputs.template import Template

PAGES = Path(__file__).parents[3] / "docs" / "keys" / "outputs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRIES: TypeAdapter[list[OutputEntry]] = TypeAdapter(list[OutputEntry])
ALGORITHMS = {
    "age-identities": Algorithm.AGE_X25519,
    "tink": Algorithm.AES_256_GCM,
    "json-keystore": Algorithm.AES_256_GCM,
    "dotenv": Algorithm.XSALSA20_POLY1305,
    "toml": Algorithm.AES_256_GCM,
    "yaml-ciphers": Algorithm.AES_256_CBC,
    "fernet-list": Algorithm.FERNET,
    "key-list": Algorithm.PASSPHRASE,
    "json-key": Algorithm.PASSPHRASE,
    "kubernetes-encryption-configuration": Algorithm.XSALSA20_POLY1305,
    "template": Algorithm.AES_256_GCM,
}


def blocks(page: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page: kind and text."""
    found = BLOCK.findall((PAGES / page).read_text())
    return [(kind, text) for kind, text in found]


def examples() -> Iterator[tuple[str, OutputEntry, str, str]]:
    """Page, entry, template if there is one, and what the page says is rendered."""
    for name in sorted(ALGORITHMS):
        entry: OutputEntry | None = None
        template = ""
        for kind, text in blocks(f"{name}.md"):
            if kind == "yaml":
                (entry,) = ENTRIES.validate_python(yaml.safe_load(text))
            elif kind == "template":
                template = text
            else:
                assert kind == "rendered"
                assert entry is not None
                yield name, entry, template, text


def delivery_of(output: Output) -> Delivery:
    """Version 1 active and version 2 secondary, of bytes that are no real key."""
    algorithm = ALGORITHMS[output.traits.type]
    keys: list[Delivered] = []
    for number, state in ((1, State.ACTIVE), (2, State.SECONDARY)):
        byte = (b"k" if output.traits.printable else b"\0")[0] + number
        secret = bytes([byte]) * algorithm.key_bytes
        material, key_id = Material(secret), ""
        if output.traits.ids is not None:
            live = [each.key.id for each in keys]
            key_id = output.traits.ids.pick(live, ())
        iv = bytes([number + 16]) * output.traits.iv_bytes
        key = DataKey(number, algorithm, material, key_id, iv)
        keys.append(Delivered(key, state, datetime(2026, 3, number, 4, 0, tzinfo=UTC)))
    return Delivery("app", keys, 1)


def rendered(entry: OutputEntry, template: str) -> str:
    """What the first file of an example is."""
    ids = iter((1_111_111_110, 2_222_222_221))
    chance = Chance(lambda _: next(ids), lambda count: b"\xaa" * count)
    if isinstance(entry, TemplateEntry):
        output: Output = Template(entry.place, template, "t", ALGORITHMS["template"])
    else:
        output = output_of(entry, algorithm=ALGORITHMS[entry.type], chance=chance)
    assert output.traits.capacity == entry.rooms, "what config check says of it is so"
    held = sorted(map(str, output.traits.algorithms))
    assert sorted(entry.algorithms or [ALGORITHMS[entry.type]]) == held, "and this, too"
    delivery = delivery_of(output)
    given = delivery.only_encrypting if output.traits.capacity == 1 else delivery
    data = output.render(given, {})[entry.place]
    assert data is not None
    text = data.decode()
    return text if text.endswith("\n") else text + "\n"


@pytest.mark.parametrize(
    ("page", "entry", "template", "text"),
    list(examples()),
    ids=[f"{page}-{n}" for n, (page, *_) in enumerate(examples())],
)
def test_a_page_shows_what_its_entry_renders(
    page: str, entry: OutputEntry, template: str, text: str
) -> None:
    """An operator compares it with what stands in his file."""
    assert rendered(entry, template) == text


def test_every_type_has_a_page_with_an_example_that_the_index_names() -> None:
    """What a page leaves out, nobody finds."""
    index = (PAGES / "index.md").read_text()
    pages = {path.stem for path in PAGES.glob("*.md")} - {"index"}
    assert pages == set(ALGORITHMS) == {page for page, *_ in examples()}
    for name in pages:
        assert f"({name}.md)" in index
        page = (PAGES / f"{name}.md").read_text()
        for words in ("**Secondary key:**", "**Restart:**", "Traps:"):
            assert words in page, name


def entry_types() -> tuple[type[Entry], ...]:
    """The classes of the union."""
    return get_args(get_args(OutputEntry)[0])


def test_every_type_of_the_configuration_is_in_the_pages() -> None:
    """A new type gets its page."""
    types = {get_args(each.model_fields["type"].annotation)[0] for each in entry_types()}
    assert types == set(ALGORITHMS)


def test_every_setting_is_described() -> None:
    """The descriptions are what an editor shows."""
    for each in entry_types():
        for name, setting in each.model_fields.items():
            assert (setting.description or "").endswith("."), f"{each.__name__}.{name}"

"""The page for operators about data keys: its examples load, and its commands and options exist."""

import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import typer.main
import yaml

from certrotd.cli.app import app
from certrotd.config.acknowledgements import (
    ApiServerAcknowledgement,
    CommandAcknowledgement,
    FileAcknowledgement,
    HeartbeatAcknowledgement,
    HttpAcknowledgement,
)
from certrotd.config.cluster import ClusterEntry
from certrotd.config.keyrings import PERIODS, KeyringEntry, RotateEntry
from certrotd.config.load import load
from certrotd.consumers.apiserver import METRIC
from certrotd.kube.api import SECRETS
from certrotd.kube.collections import Collection, Resource
from certrotd.kube.stamps import RESTARTED_FOR
from certrotd.outputs.secret_entries import NEEDED
from tests.unit.config.written import write

KEYS = Path(__file__).parents[3] / "docs" / "keys"
PAGE = (KEYS / "README.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CLUSTER = (KEYS / "kubernetes.md").read_text()
OF_CLUSTER = re.findall(r"```yaml\n(.*?)```", CLUSTER, re.DOTALL)
README = (Path(__file__).parents[3] / "README.md").read_text()
OF_README = [
    each for each in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "keyrings:" in each
]
WHOLE = [*EXAMPLES, *OF_README, *OF_CLUSTER]
WITH_COMMANDS = {each.name: each.read_text() for each in KEYS.glob("*.md")} | {"/": README}
COMMAND = re.compile(r"`(certrotd [^`\n]*)`|^ *(certrotd [^\n]*)", re.MULTILINE)
COMMAND_LINE = typer.main.get_command(app)


@pytest.mark.parametrize("example", WHOLE, ids=range(len(WHOLE)))
def test_an_example_of_the_page_is_valid(tmp_path: Path, example: str) -> None:
    """Whoever copies it copies what works; beside what other examples say of the KEKs."""
    found = load(write(tmp_path, example))
    assert [each.path for each in found.warnings] == ([] if "keks:" in example else ["keks"])
    assert "shop" in yaml.safe_load(example)["keyrings"]


def test_the_first_example_is_whole() -> None:
    """It needs no other file: a KEK, a target, an output, and a consumer that confirms."""
    shop = KeyringEntry.model_validate(yaml.safe_load(EXAMPLES[0])["keyrings"]["shop"])
    assert shop.outputs
    [consumer] = shop.consumers.values()
    assert consumer.target
    assert consumer.acknowledge
    assert len(OF_README) == 1


def test_the_rights_in_a_cluster_are_those_that_are_asked_for() -> None:
    """And one more, which keeping something aside takes; the KEK is mounted as the page says."""
    [role] = re.findall(r"```role\n(.*?)```", CLUSTER, re.DOTALL)
    first, second = yaml.safe_load(role)["rules"]
    assert (first["resourceNames"], first["verbs"]) == (["app-keys"], list(NEEDED))
    assert second["verbs"] == ["create"]
    [pod] = re.findall(r"```pod\n(.*?)```", CLUSTER, re.DOTALL)
    [volume] = yaml.safe_load(pod)["volumes"]
    assert volume["secret"]["defaultMode"] == 0o400
    [role] = re.findall(r"```clusterrole\n(.*?)```", CLUSTER, re.DOTALL)
    [rule] = yaml.safe_load(role)["rules"]
    secrets = Collection(Resource("secrets", SECRETS, namespaced=True))
    assert rule["verbs"] == [each.verb for each in secrets.rights()]
    assert RESTARTED_FOR in CLUSTER
    assert METRIC in CLUSTER
    fields = {*ClusterEntry.model_fields, "name", "key"}
    table = CLUSTER.partition("| `secret:` |")[2].partition("\n\n")[0]
    cells = (line.split("|")[1] for line in table.splitlines()[2:])
    assert {name for cell in cells for name in re.findall("`([^`]*)`", cell)} == fields


def written() -> Iterator[tuple[str, str]]:
    """Each command of the pages, with the page."""
    for page, text in WITH_COMMANDS.items():
        shown = r"```(yaml|template|rendered|python|role|pod).*?```"
        prose = re.sub(shown, "", text, flags=re.DOTALL).replace("\\\n", "")
        for span, line in COMMAND.findall(prose):
            if span or _is_command(line):
                words = shlex.split((span or line).replace("…", ""), comments=True)
                yield page, shlex.join(words)


def _is_command(line: str) -> bool:
    """Whether a line that begins with certrotd is one to type, and not a sentence."""
    commands = COMMAND_LINE.commands  # type: ignore[attr-defined]
    return line.split()[1] in commands and not line.endswith((".", ","))


@pytest.mark.parametrize(("page", "line"), sorted(set(written())), ids=str)
def test_a_command_of_the_page_exists_with_its_options(page: str, line: str) -> None:
    """As it is typed, or as far as a sentence names it."""
    command = COMMAND_LINE
    words = shlex.split(line)[1:]
    if words[:1] == ["-c"]:
        words = words[2:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, page
        command = command.commands[words.pop(0)]
    options = {name: each for each in command.params for name in each.opts}
    plain: list[str] = []
    while words:
        word = words.pop(0)
        if word.startswith("-") and word != "-":
            assert word in options, page
            del words[: 0 if getattr(options[word], "is_flag", False) else 1]
        else:
            plain.append(word)
    taken = [each.nargs for each in command.params if each.param_type_name == "argument"]
    assert len(plain) <= len(taken) or -1 in taken, page


def test_the_commands_of_the_pages_are_found() -> None:
    """The control of the test above."""
    found = [line for _, line in written()]
    assert "certrotd keys plan shop" in found
    assert "certrotd keys compromise shop 3 --reason 'laptop lost'" in found
    assert len(found) > 15


def rows(heading: str) -> list[str]:
    """The first cell of each row of the table with that heading."""
    table = PAGE.partition(f"| `{heading}` |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]*)`", table, re.MULTILINE)


def test_the_tables_have_every_option() -> None:
    """What rotates a key, and how an application confirms."""
    fields = {*RotateEntry.model_fields, "custodians"}
    assert set(rows("rotate:")) == {*fields, "certrotd keys rotate NAME --reason …"}
    assert "custodians" in KeyringEntry.model_fields
    forms = {
        next(name for name, field in each.model_fields.items() if field.is_required())
        for each in (
            FileAcknowledgement,
            HttpAcknowledgement,
            CommandAcknowledgement,
            HeartbeatAcknowledgement,
            ApiServerAcknowledgement,
        )
    }
    assert {row.partition(":")[0] for row in rows("acknowledge:")} == forms


def test_the_cryptoperiods_of_the_page_are_the_schemas() -> None:
    """They are what an assessor asks for."""
    told = re.search(r"by `classification`: ([^;]*);", PAGE)
    assert told
    assert told[1] == ", ".join(f"{name} {span.days}d" for name, span in PERIODS.items())
    assert PERIODS["restricted"] == timedelta(days=7)


@pytest.mark.parametrize("page", sorted(KEYS.glob("*.md")), ids=lambda path: path.name)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    """A section may have been renamed, or a page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, section = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.exists(), target
        if section:
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            known = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert section in known, target

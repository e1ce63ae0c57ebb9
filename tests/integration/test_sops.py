"""A repository of SOPS, rotated as the page on files says, until the old key is proven gone."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest
import yaml

from certrotd.datasets.sops_metadata import metadata_of
from certrotd.keyring.age_keys import material_of, recipient_of
from certrotd.keyring.material import Algorithm, DataKey
from tests.parts.pages import blocks, files
from tests.parts.process import wait_until
from tests.parts.runbook import Host
from tests.parts.sops import Sops

pytestmark = pytest.mark.integration
FILES = 8
KILLED = (4, 5, 6)
"""In which run of SOPS: it has three for a file, which decrypt, rotate and decrypt again."""
PAGE, CONFIG = "files.md", "/etc/certrotd/conf.d/gitops.yaml"

_KILLS = """\
if [ -e {0} ]; then
  left=$(($(cat {0}) - 1))
  echo $left >{0}
  [ $left -gt 0 ] || {{ rm {0}; kill -9 $PPID; exit 1; }}
fi"""
"""Ends certrotd in the run that a file counts down to."""


class Repository:
    """What the page describes, with the identity of an operator who had no certrotd yet."""

    def __init__(self, place: Path) -> None:
        self.host = Host(place, {})
        self.killing = place / "killing"
        self.host.program("sops", f'{_KILLS.format(self.killing)}\nexec {Sops.program()} "$@"')
        self.identities = self.host.at("/etc/sops/age/keys.txt")
        self.mine, self.colleague = (new_key(number) for number in (1, 2))
        self.host.write("/etc/sops/age/keys.txt", f"# the team's\n{self.mine[1]}\n")
        self.root = self.host.at("/srv/gitops/secrets")
        self.root.mkdir(parents=True)
        self.host.install(PAGE)

    def configure(self, **more: Any) -> None:
        """What the page has, and more for its keyring."""
        config = yaml.safe_load(self.host.here(files(PAGE)[CONFIG]))
        config["keyrings"]["gitops"].update(more)
        self.host.write(CONFIG, yaml.safe_dump(config))

    def script(self, of: str) -> str:
        """The script of the page that has some words."""
        [found] = [each for each in blocks(PAGE, "sh") if of in each]
        return found

    def fill(self) -> None:
        """Some for the team and a colleague, and some for the team alone."""
        for number in range(FILES):
            path = self.root / f"{number}.yaml"
            path.write_text(f"# the {number}th\nsecret: {number}\n")
            to = [self.mine[0], self.colleague[0]][: 1 + number % 2]
            Sops().encrypt(path, to)

    def delivered(self) -> list[DataKey]:
        """Those of the identities file, the active one first."""
        lines = self.identities.read_text().splitlines()
        secrets = [each for each in lines if each and not each.startswith("#")]
        every = enumerate(map(material_of, secrets), 1)
        return [DataKey(n, Algorithm.AGE_X25519, each) for n, each in every]

    def under(self, recipient: str) -> int:
        """How many files name a recipient; each is whole, and holds what it held."""
        found = 0
        for number in range(FILES):
            path = self.root / f"{number}.yaml"
            said = metadata_of(path.read_bytes())
            assert said is not None
            found += recipient in {each.recipient for each in said.stanzas}
        return found

    def whole(self, *keys: DataKey) -> None:
        """Every file decrypts, with some keys alone, to what it held."""
        sops = Sops(*keys)
        for number in range(FILES):
            text = f"# the {number}th\nsecret: {number}\n"
            assert sops("decrypt", self.root / f"{number}.yaml").decode() == text

    def json(self, command: str, *, code: int = 0) -> Any:
        """What a command of certrotd prints."""
        return yaml.safe_load(self.host.shell(f"certrotd {command} --json", code=code))

    def lacking(self) -> set[str]:
        """The codes of what keeps version 1."""
        [first, *_] = self.json("keys show gitops")["versions"]
        return {each["code"] for each in first["lacking"]}

    def until(self, state: str) -> None:
        """What is due is done until version 1 is in that state."""

        def is_there() -> bool:
            self.host.shell("certrotd rotate key/gitops")
            [first, *_] = self.json("keys show gitops")["versions"]
            return bool(first["state"] == state)

        wait_until(is_there, what=f"version 1 is {state}")


def new_key(version: int) -> tuple[DataKey, str]:
    """A key, and its line in an identities file."""
    identity = str(pyrage.x25519.Identity.generate())
    return DataKey(version, Algorithm.AGE_X25519, material_of(identity)), identity


def test_a_repository_is_rotated_as_the_page_says_and_the_old_key_is_proven_gone(
    tmp_path: Path,
) -> None:
    """Killed in each run of SOPS: it reads every file at each moment with the keys there are."""
    repository, backup = Repository(tmp_path), new_key(9)
    host = repository.host
    folder = {"directory": str(tmp_path / "backups"), "recipients": [recipient_of(backup[0])]}
    repository.configure(backup=folder, drains={"clones": "1s"}, grace="0s", watch="0s")
    repository.fill()
    host.shell(repository.script("keys adopt gitops"))
    assert [each.material for each in repository.delivered()] == [repository.mine[0].material]
    rotate, count, reencrypt, show = repository.script("keys rotate gitops").splitlines()
    host.shell(rotate)
    new, old = repository.delivered()
    assert old.material == repository.mine[0].material
    assert repository.identities.read_text().startswith("# the team's\n")
    rule = host.at("/srv/gitops/.sops.yaml").read_text()
    assert yaml.safe_load(rule) == {"creation_rules": [{"age": recipient_of(new)}]}
    secrets = "cd /srv/gitops/secrets; export SOPS_AGE_KEY_FILE=/etc/sops/age/keys.txt"
    host.shell(f"{secrets}; echo a: 1 >later.yaml; sops encrypt -i later.yaml")
    shown = host.shell(f"{secrets}; sops decrypt 0.yaml; sops decrypt later.yaml")
    assert shown == "# the 0th\nsecret: 0\na: 1\n"
    later = repository.root / "later.yaml"
    assert Sops(new).opens(later), "what is new needs no old key"
    later.unlink()
    assert f"{FILES}" in host.shell(count)
    for done, run in enumerate(KILLED, 1):
        repository.killing.write_text(f"{run}")
        host.shell(f"exec {reencrypt}", code=-signal.SIGKILL)
        assert repository.under(recipient_of(new)) == done, (
            "the file that was worked on is as before"
        )
    repository.whole(old, new)
    lost = repository.root / "lost.yaml"
    lost.write_text("a: 1\n")
    Sops().encrypt(lost, [repository.colleague[0]])
    host.shell(reencrypt, code=1)
    assert "lost.yaml" in host.shell(count, code=1)
    assert (repository.under(recipient_of(old)), repository.under(recipient_of(new))) == (0, FILES)
    repository.whole(new)
    assert {each.name for each in repository.root.iterdir()} == {
        "lost.yaml",
        *(f"{number}.yaml" for number in range(FILES)),
    }, "no temporary file is left"
    assert "quarantined" in repository.lacking()
    assert "lost.yaml: no key of the keyring opens it" in host.shell(show)
    lost.unlink()
    host.shell("certrotd keys rehearse gitops")
    host.write("/media/backup.identity", backup[1])
    host.shell("certrotd keys drill gitops --identity /media/backup.identity")
    host.shell("certrotd keys scan gitops")
    repository.until("destroyed")
    proof = repository.json("keys prove gitops 1")
    assert proof["proven"]
    [told] = proof["proof"]["census"].values()
    assert (told["left"], told["method"]) == (0, "by opening every value")
    assert [each.material for each in repository.delivered()] == [new.material]
    repository.whole(new)
    assert Sops(repository.colleague[0]).opens(repository.root / "1.yaml")

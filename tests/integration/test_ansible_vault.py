"""A keyring whose keys are the passwords of Ansible Vault, rotated as the page on files says."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
from pathlib import Path

import pytest

from certrotd.codecs.ansible_vault import AnsibleVault
from certrotd.codecs.errors import WrongKey
from certrotd.datasets.vault_documents import VaultDocument
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.parts import locate
from tests.parts.process import wait_until
from tests.parts.site import Site

pytestmark = pytest.mark.integration
PAGE = (Path(__file__).parents[2] / "docs" / "keys" / "files.md").read_text()
FILES, KILLS = 80, 2
VAULT = AnsibleVault()


class Playbooks:
    """Files with values under the passwords of a keyring, and Ansible, which has both."""

    def __init__(self, site: Site) -> None:
        self.site, self.root = site, site.directory / "playbooks"
        self.root.mkdir()
        self.passwords = [site.directory / "vault.pass", site.directory / "other.pass"]
        outputs = []
        for path in self.passwords:
            [template] = re.findall(rf"`{path.name}\.j2` is\s+`([^`]*)`", PAGE)
            source = path.with_suffix(".j2")
            source.write_text(template)
            outputs.append({"type": "template", "path": str(path), "template": str(source)})
        dataset = {"type": "files", "roots": [str(self.root)], "codec": "ansible-vault"}
        site.config["keyrings"] = {
            "playbooks": {
                "algorithm": "passphrase",
                "outputs": outputs,
                "datasets": {"vars": dataset},
            }
        }

    def password(self, which: int = 0) -> DataKey:
        """What Ansible reads from a file."""
        text = self.passwords[which].read_bytes().strip()
        return DataKey(1, Algorithm.PASSPHRASE, Material(text))

    def ansible(self, *arguments: str, stdin: str = "") -> str:
        """What ansible-vault says with the two passwords."""
        argv = [str(locate.require("ansible-vault")), *arguments]
        ids = [f"--vault-id=now@{self.passwords[0]}", f"--vault-id=other@{self.passwords[1]}"]
        home = {"HOME": str(self.site.directory), "ANSIBLE_LOCAL_TEMP": str(self.site.directory)}
        ran = subprocess.run([*argv, *ids], input=stdin, capture_output=True, text=True,
                             check=False, env={**os.environ, **home})  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def fill(self) -> None:
        """One value and a half in each file, some of the file alone."""
        for number in range(FILES):
            value = VAULT.encrypt(b"secret %d" % number, self.password()).decode()
            block = "\n    ".join(["", *value.split("\n")])
            text = f"plain: {number}\nsecret: !vault |{block}\nafter: yes\n"
            (self.root / f"{number}.yml").write_text(value if number % 3 == 0 else text)
        whole = self.root / "whole.yml"
        whole.write_text("word: from ansible\n")
        self.ansible("encrypt", "--encrypt-vault-id=now", str(whole))
        inline = self.ansible("encrypt_string", "--encrypt-vault-id=now", "--name=word", "inline")
        (self.root / "inline.yml").write_text(inline)

    def inodes(self) -> set[tuple[str, int]]:
        """A file that was rewritten has another, which may have been another file's."""
        return {(each.name, each.stat().st_ino) for each in self.root.glob("[0-9]*.yml")}

    def under(self, which: int) -> int:
        """How many files are under a password; each opens, and holds what it held."""
        found = 0
        for number in range(FILES):
            data = (self.root / f"{number}.yml").read_bytes()
            [place] = VaultDocument().places(data)
            value = str(place.value).encode()
            opened = []
            for each in (0, 1):
                try:
                    opened.append((each, VAULT.decrypt(value, self.password(each))))
                except WrongKey:
                    continue
            assert {held for _, held in opened} == {b"secret %d" % number}
            found += which in {each for each, _ in opened}
            assert (b"after: yes\n" in data) is (number % 3 != 0)
        return found


def test_vaults_come_under_a_new_password_however_often_it_is_killed(site: Site) -> None:
    """Ansible reads all of it before, meanwhile and afterwards; the old one is not needed then."""
    books, chance = Playbooks(site), random.Random(3)
    assert site.run("rotate", "key/playbooks").code == 0
    books.fill()
    assert books.under(0) == FILES
    assert site.run("keys", "rotate", "playbooks", "--reason", "test").code == 0
    assert books.under(0) == 0
    for _ in range(KILLS):
        before, more = books.inodes(), chance.randrange(2, 9)
        started = site.start("keys", "reencrypt", "playbooks")
        wait_until(lambda: started.is_over or len(books.inodes() - before) >= more)  # noqa: B023
        started.signal(signal.SIGKILL)
        started.end()
    assert 0 < books.under(1) < FILES
    assert books.ansible("view", str(books.root / "whole.yml")) == "word: from ansible\n"
    assert site.run("keys", "reencrypt", "playbooks").code == 0
    assert (books.under(0), books.under(1)) == (FILES, 0)
    assert {e.suffix for e in books.root.iterdir()} == {".yml"}, "no temporary file is left"
    [told] = site.run("keys", "reencrypt", "playbooks", "--dry-run", "--json").json
    counts = {each["version"]: each["count"] for each in told["values"]}
    assert counts == {1: 0, 2: FILES + 2}
    books.passwords[1].write_bytes(books.passwords[0].read_bytes())  # the old one is not needed
    assert books.ansible("view", str(books.root / "whole.yml")) == "word: from ansible\n"
    inline = (books.root / "inline.yml").read_bytes()
    [place] = VaultDocument().places(inline)
    assert VAULT.decrypt(str(place.value).encode(), books.password()) == b"inline"

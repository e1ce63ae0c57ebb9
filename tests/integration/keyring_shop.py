"""A keyring with two shell-sized applications, for tests that break it with the real program."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.parts.site import Run, Site

APPLICATIONS = ("worker", "web")


class Shop:
    """The keyring ``orders`` of a site: a Tink keyset at ``keys``, wrapped by the file ``kek``.

    Each application reads the keyset into a copy of its own when its target is applied, and
    acknowledges what it has read. While the file NAME.deaf is there it reads nothing.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.folder = site.directory
        self.keys = self.folder / "app" / "keys.json"
        self.keys.parent.mkdir()
        self.kek = self.folder / "kek"
        self.document = site.state / "keyrings" / "orders.json"
        consumers: dict[str, Any] = {}
        for wave, name in enumerate(APPLICATIONS, 1):
            consumers[name] = self.application(name, wave=wave)
        site.config["keks"] = {"local": {"type": "file", "path": str(self.kek)}}
        site.config["keyrings"] = {
            "orders": {
                "classification": "confidential",
                "outputs": [{"type": "tink", "path": str(self.keys)}],
                "consumers": consumers,
            }
        }

    @property
    def entry(self) -> dict[str, Any]:
        """The configuration of the keyring."""
        entry: dict[str, Any] = self.site.config["keyrings"]["orders"]
        return entry

    def application(self, name: str, *, wave: int = 1) -> dict[str, Any]:
        """A consumer of that name, with its target."""
        own, said = self.own(name), self.folder / f"{name}.ack"
        self.site.command(
            name,
            f"[ ! -e {self.deaf(name)} ] || exit 0\n"
            f"cp {self.keys} {own}.new && mv {own}.new {own}\n"
            f"sha256sum < {own} > {said}.new && mv {said}.new {said}",
        )
        return {"target": name, "wave": wave, "acknowledge": {"file": str(said)}}

    def own(self, name: str) -> Path:
        """What an application has read."""
        return self.folder / f"{name}.json"

    def deaf(self, name: str) -> Path:
        """While it is there, the application reads nothing."""
        return self.folder / f"{name}.deaf"

    def acknowledged(self, name: str) -> Path:
        """What an application says."""
        return self.folder / f"{name}.ack"

    def run(self, *arguments: str) -> Run:
        """The program; it never ends with a traceback."""
        ran = self.site.run(*arguments)
        assert "Traceback" not in ran.stderr + ran.stdout, ran
        return ran

    def rotate(self, *, code: int | None = 0) -> Run:
        """``keys rotate`` by hand."""
        ran = self.run("keys", "rotate", "orders", "--reason", "test")
        assert code is None or ran.code == code, ran
        return ran

    def versions(self) -> dict[int, str]:
        """The state of each version."""
        ran = self.run("keys", "list", "--json")
        [row] = [each for each in json.loads(ran.stdout) if each["name"] == "orders"]
        return {each["version"]: each["state"] for each in row["versions"]}

    def is_whole(self) -> dict[int, str]:
        """The invariant, and the state of each version: the keyring is whole, too."""
        self.have_each_others_keys()
        return self.versions() if self.document.exists() else {}

    def have_each_others_keys(self) -> None:
        """The output is whole, and every application reads what any other writes."""
        if self.keys.exists():
            assert keyset(self.keys)[0] in keyset(self.keys)[1]
        has = {name: keyset(self.own(name)) for name in APPLICATIONS if self.own(name).exists()}
        for name, (encrypts, _) in has.items():
            for other, (_, reads) in has.items():
                assert encrypts in reads, f"{name} encrypts with what {other} lacks: {has}"


def keyset(path: Path) -> tuple[int, Mapping[int, bytes]]:
    """The id of the primary key of a Tink keyset, and every key by its id."""
    told = json.loads(path.read_bytes())
    keys = {each["keyId"]: base64.b64decode(each["keyData"]["value"])[2:] for each in told["key"]}
    return told["primaryKeyId"], keys


def tink(*keys: bytes) -> bytes:
    """A keyset of AES-GCM keys, of which the last one encrypts."""
    entries = []
    for key in keys:
        value = base64.b64encode(b"\x1a\x20" + key).decode()
        data = {"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "value": value}
        data["keyMaterialType"] = "SYMMETRIC"
        number = int.from_bytes(hashlib.sha256(key).digest()[:4], "big") | 1
        entry = {"keyData": data, "status": "ENABLED", "keyId": number, "outputPrefixType": "TINK"}
        entries.append(entry)
    return json.dumps({"primaryKeyId": entries[-1]["keyId"], "key": entries}).encode()


def secret() -> bytes:
    """A key of nobody's."""
    return secrets.token_bytes(32)

"""What an output renders, the implementation that owns the format reads, and encrypts rightly."""

from __future__ import annotations

import base64
import json
import random
import shlex
import subprocess
import tomllib
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet, MultiFernet
from dotenv import dotenv_values

from certrotd.codecs.fernet import FernetTokens
from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.tink import Tink
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.material import DataKey
from certrotd.outputs.fernet_list import FernetList
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.port import Output
from certrotd.outputs.tink import TinkKeyset
from certrotd.outputs.yaml_ciphers import YamlCiphers
from tests.contract.output_cases import CASES, FILE, Case, bits, delivery_of, letters
from tests.parts import locate

VECTORS = Path(__file__).parents[1] / "vectors"


def rendered(output: Output, delivery: Delivery) -> bytes:
    """The first file of a delivery."""
    data = output.render(delivery, {})[output.paths({})[0]]
    assert data is not None
    return data


def case(name: str) -> Case:
    """The case of that name."""
    return next(each for each in CASES if each.name == name)


def over(name: str, index: int, delivery: Delivery) -> bytes:
    """What becomes of an application's file."""
    known = case(name)
    data = known.make().render(delivery, {known.path: known.files[index]})[known.path]
    assert data is not None
    return data


def ran(program: str, *arguments: str) -> Any:
    """What a program prints as JSON."""
    command = [str(locate.require(program)), *arguments]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)


def texts(delivery: Delivery) -> list[str]:
    """The keys in base64, that which encrypts first, then from the newest."""
    return [base64.b64encode(key.material.reveal()).decode() for key in delivery.key_set]


def versions(delivery: Delivery) -> list[DataKey]:
    """The keys, oldest first."""
    return [each.key for each in delivery.keys]


def node(store: Path, *calls: tuple[str, str]) -> list[str]:
    """What an application with this keystore answers."""
    program = str(locate.require("node"))
    script = Path(__file__).with_name("keystore.js")
    lines = "".join(json.dumps({"op": op, "value": value}) + "\n" for op, value in calls)
    done = subprocess.run(
        [program, str(script), str(store)],
        input=lines,
        text=True,
        capture_output=True,
        timeout=120,
        check=True,
    )
    return [str(json.loads(line)) for line in done.stdout.splitlines()]


class TestTink:
    OUTPUT = TinkKeyset(FILE, random.Random(3).randrange)

    def test_tink_reads_a_secondary_key_and_does_not_encrypt_with_it(self) -> None:
        """And encrypts with it once it is active."""
        import tink
        from tink import aead, secret_key_access

        aead.register()
        # ChaCha20Poly1305Key is not in tink-py's registry
        usable = sorted(self.OUTPUT.traits.algorithms)[:4]
        for secondary in (True, False):
            delivery = delivery_of(self.OUTPUT, 3, secondary=secondary, algorithms=usable, seed=4)
            keyset = rendered(self.OUTPUT, delivery).decode()
            handle = tink.json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
            peer = handle.primitive(aead.Aead)
            active = delivery.encrypting.key
            assert Tink().key_id_of(peer.encrypt(b"x", b"")) == active.id
            for key in versions(delivery):
                assert peer.decrypt(Tink().encrypt(b"x", key, b"ad"), b"ad") == b"x"

    def test_a_keyset_that_tink_wrote_is_read(self) -> None:
        """With the key it made."""
        import tink
        from tink import aead, secret_key_access

        aead.register()
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        text = tink.json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN)
        read = self.OUTPUT.parse({FILE: text.encode()})
        assert read is not None
        key = DataKey(1, read.keys[0].algorithm, read.keys[0].material, read.keys[0].id)
        written = handle.primitive(aead.Aead).encrypt(b"x", b"ad")
        assert Tink().decrypt(written, key, b"ad") == b"x"

    @pytest.mark.parametrize("name", ["keyset_secondary", "keyset_active"])
    def test_a_known_keyset_is_read(self, name: str) -> None:
        """Known answers of Tink itself."""
        known = json.loads((VECTORS / "tink.json").read_text())
        read = self.OUTPUT.parse({FILE: json.dumps(known[name]).encode()})
        assert read is not None
        assert [each.id for each in read.keys] == ["1", "2"]
        assert read.keys[read.encrypting].id == str(known[name]["primaryKeyId"])


class TestNode:
    OUTPUT = JsonKeystore(FILE)

    def test_node_reads_a_secondary_key_and_does_not_encrypt_with_it(self, tmp_path: Path) -> None:
        """The number of a secondary key is higher than currentVersion."""
        store = tmp_path / "keystore.json"
        for secondary in (True, False):
            delivery = delivery_of(self.OUTPUT, 3, secondary=secondary)
            store.write_bytes(rendered(self.OUTPUT, delivery))
            values = [NodeJson().encrypt(b"x", key).decode() for key in versions(delivery)]
            *texts, written = node(store, *(("decrypt", v) for v in values), ("encrypt", "y"))
            assert texts == ["x"] * 3
            active = delivery.encrypting.key
            assert NodeJson().key_id_of(written.encode()) == str(active.version)
            assert NodeJson().decrypt(written.encode(), active) == b"y"

    def test_node_refuses_what_is_under_a_key_that_is_not_delivered(self, tmp_path: Path) -> None:
        """The control."""
        store = tmp_path / "keystore.json"
        store.write_bytes(rendered(self.OUTPUT, delivery_of(self.OUTPUT, 1)))
        withheld = versions(delivery_of(self.OUTPUT, 2))[1]
        value = NodeJson().encrypt(b"x", withheld).decode()
        assert node(store, ("decrypt", value)) == ["refused: no key 2"]

    def test_a_known_keystore_is_read_with_its_retired_key(self) -> None:
        """As one that the application refuses: adoption takes it as one that only decrypts."""
        data = (VECTORS / "node" / "keystore.json").read_bytes()
        read = self.OUTPUT.parse({FILE: data})
        assert read is not None
        assert [(each.id, each.retired) for each in read.keys] == [
            ("1", True),
            ("2", False),
            ("3", False),
        ]
        assert read.encrypting == 2
        assert read.keys[0].created is not None


class TestEnvironmentFiles:
    @pytest.mark.parametrize("index", range(3))
    def test_python_dotenv_reads_the_slots(self, index: int) -> None:
        """And the variables of others as before."""
        known = case("dotenv-slots")
        before = dotenv_values(stream=StringIO(known.files[index].decode()))
        for secondary, version in ((True, "v1"), (False, "v2")):
            delivery = delivery_of(known.make(), 2, secondary=secondary)
            read = dotenv_values(stream=StringIO(over("dotenv-slots", index, delivery).decode()))
            slots = {each.key.id: each.key.material.reveal() for each in delivery.keys}
            assert read["PSAP_KEY_VERSION"] == version
            for name in ("v1", "v2"):
                text = read[f"PSAP_KEY_{name.upper()}"]
                assert base64.b64decode(text or "") == slots[name]
            assert {name: read[name] for name in before if "PSAP" not in name} == {
                name: value for name, value in before.items() if "PSAP" not in name
            }

    def test_php_reads_the_keys_of_laravel(self, tmp_path: Path) -> None:
        """By the parser that PHP itself has."""
        known = case("dotenv-list")
        file = tmp_path / "env"
        for secondary in (True, False):
            delivery = delivery_of(known.make(), 3, secondary=secondary)
            file.write_bytes(b'APP_NAME="My App"\n' + rendered(known.make(), delivery))
            script = str(Path(__file__).with_name("env_file.php"))
            read = ran("php", script, str(file))
            found = [read["APP_KEY"], *read["APP_PREVIOUS_KEYS"].split(",")]
            assert found == [f"base64:{text}" for text in texts(delivery)]
            assert read["APP_NAME"] == "My App"

    def test_a_shell_reads_the_variables(self, tmp_path: Path) -> None:
        """Where a start script sources the file."""
        known = case("fernet-variable")
        delivery = delivery_of(known.make(), 2)
        file = tmp_path / "env"
        file.write_bytes(over("fernet-variable", 0, delivery))
        command = f'. {shlex.quote(str(file))}; printf %s "$AIRFLOW__CORE__FERNET_KEY"'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout.split(",") == [
            base64.urlsafe_b64encode(key.material.reveal()).decode() for key in delivery.key_set
        ]


class TestFernet:
    @pytest.mark.parametrize("separator", [",", "\n"])
    def test_multifernet_encrypts_with_the_active_key_and_reads_the_secondary_one(
        self, separator: str
    ) -> None:
        """As Airflow builds it of its list."""
        output = FernetList(FILE, separator)
        for secondary in (True, False):
            delivery = delivery_of(output, 3, secondary=secondary)
            lines = rendered(output, delivery).decode().strip().split(separator)
            peer = MultiFernet([Fernet(line) for line in lines])
            assert FernetTokens().decrypt(peer.encrypt(b"x"), delivery.encrypting.key) == b"x"
            for key in versions(delivery):
                assert peer.decrypt(FernetTokens().encrypt(b"x", key)) == b"x"


class TestToml:
    @pytest.mark.parametrize("index", range(4))
    def test_tomllib_reads_both_keys(self, index: int) -> None:
        """WSO2 takes 48 and 64 characters for hexadecimal, and others for the key itself."""
        known = case("toml")
        for secondary in (True, False):
            delivery = delivery_of(known.make(), 2, secondary=secondary, material=letters)
            table = tomllib.loads(over("toml", index, delivery).decode())["encryption"]
            found = [table["key"], table["old_key"]]
            for text, key in zip(found, delivery.key_set, strict=True):
                characters = text.encode()
                secret = bytes.fromhex(text) if len(text) in (48, 64) else characters
                assert secret == key.material.reveal()


class TestRuby:
    def test_ruby_reads_the_ciphers(self, tmp_path: Path) -> None:
        """The YAML with its binaries, and the key files that it decrypts with OpenSSL."""
        keys = tmp_path / "keys"
        keys.mkdir()
        output = YamlCiphers(tmp_path / "enc.yml", "production", keys, "app", bits())
        usable = [each for each in sorted(output.traits.algorithms) if each.endswith("256-cbc")]
        script = str(Path(__file__).with_name("ciphers.rb"))
        for secondary in (True, False):
            delivery = delivery_of(output, 3, secondary=secondary, algorithms=usable)
            self._write(output.render(delivery, {}))
            read = ran("ruby", script, str(output.path), "production")
            assert read == [
                {
                    "version": int(key.id),
                    "cipher": str(key.algorithm),
                    "iv": key.iv.hex(),
                    "key": key.material.reveal().hex(),
                }
                for key in delivery.key_set
            ]

    @staticmethod
    def _write(contents: Mapping[Path, bytes | None]) -> None:
        for path, data in contents.items():
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
                path.chmod(0o600)

    def test_the_keystore_that_the_gem_made_is_read_and_kept(self) -> None:
        """With what wraps its keys, byte for byte."""
        folder = VECTORS / "symmetric_encryption" / "keystore"
        keys = Path("/etc/app/keys")
        text = (folder / "symmetric-encryption-rolling.yml").read_text()
        production = "production:" + text.split("production:")[1].replace("KEYDIR", str(keys))
        output = YamlCiphers(FILE, "production", keys, "my_app_production", bits())
        present: dict[Path, bytes | None] = {FILE: production.encode()}
        for path in output.paths(present)[1:5]:
            present[path] = (folder / path.name).read_bytes()
        read = output.parse(present)
        assert read is not None
        known = json.loads((folder / "resolved.json").read_text())
        found = {each.id: (each.material.reveal().hex(), each.iv.hex()) for each in read.keys}
        assert found == {str(k["version"]): (k["key_hex"], k["iv_hex"]) for k in known}
        assert read.keys[read.encrypting].id == "1"
        imported = [
            DataKey(n, each.algorithm, each.material, each.id, each.iv)
            for n, each in enumerate(read.keys, 1)
        ]
        delivery = delivery_of(output, 2)
        delivery = Delivery(
            "app",
            [
                type(each)(key, each.state, each.created)
                for each, key in zip(delivery.keys, imported, strict=True)
            ],
            delivery.active,
        )
        written = output.render(delivery, present)
        assert {p: d for p, d in written.items() if p != FILE} == {
            p: d for p, d in present.items() if p != FILE
        }
        before, after = (
            yaml.load(d or b"", Binaries)["production"] for d in (production, written[FILE])
        )
        assert after == before

    def test_rails_encrypts_with_the_last_key(self, tmp_path: Path) -> None:
        """So a secondary key stands before it."""
        known, file = case("key-list"), tmp_path / "credentials.yml"
        script = str(Path(__file__).with_name("key_list.rb"))
        for index in range(len(known.files)):
            for secondary in (True, False):
                delivery = delivery_of(known.make(), 3, secondary=secondary, material=letters)
                file.write_bytes(over("key-list", index, delivery))
                read = ran("ruby", script, str(file))
                assert read["encrypts"] == delivery.encrypting.key.material.reveal().decode()
                assert sorted(read["keys"]) == sorted(
                    key.material.reveal().decode() for key in versions(delivery)
                )


class Binaries(yaml.SafeLoader):
    """Reads Ruby's local tag, too."""


def _binary(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> bytes:
    return base64.b64decode(str(loader.construct_scalar(node)))


Binaries.add_constructor("!binary", _binary)


class TestYaml:
    @pytest.mark.parametrize("index", range(4))
    def test_pyyaml_reads_the_keys_of_an_api_server(self, index: int) -> None:
        """By name, the one that writes first; the other rules are as before."""
        known = case("kubernetes")
        before = yaml.safe_load(known.files[index])
        for secondary in (True, False):
            delivery = delivery_of(known.make(), 3, secondary=secondary)
            after = yaml.safe_load(over("kubernetes", index, delivery))
            provider = after["resources"][1]["providers"][0]["secretbox"]
            assert [base64.b64decode(k["secret"]) for k in provider["keys"]] == [
                key.material.reveal() for key in delivery.key_set
            ]
            assert provider["keys"][0]["name"] == delivery.encrypting.key.id
            provider["keys"] = before["resources"][1]["providers"][0]["secretbox"]["keys"]
            assert after == before

    def test_a_new_configuration_of_an_api_server_reads_what_is_not_encrypted(self) -> None:
        """By the identity, which comes last."""
        known = case("kubernetes-cbc")
        document = yaml.safe_load(rendered(known.make(), delivery_of(known.make(), 2)))
        (rule,) = document["resources"]
        assert rule["resources"] == ["secrets", "configmaps"]
        assert [list(provider) for provider in rule["providers"]] == [["aescbc"], ["identity"]]

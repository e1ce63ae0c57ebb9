"""What an output renders, the implementation that owns the format reads, and encrypts rightly."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from certrotd.codecs.node_json import NodeJson
from certrotd.codecs.tink import Tink
from certrotd.keyring.delivery import Delivery
from certrotd.keyring.material import DataKey
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.port import Output
from certrotd.outputs.tink import TinkKeyset
from tests.contract.output_cases import FILE, delivery_of
from tests.parts import locate

VECTORS = Path(__file__).parents[1] / "vectors"


def rendered(output: Output, delivery: Delivery) -> bytes:
    """The first file of a delivery."""
    data = output.render(delivery, {})[output.paths({})[0]]
    assert data is not None
    return data


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
        assert read.secondary is None
        assert read.keys[0].created is not None

"""Keyrings that are written into the entries of a Secret, by a real API server."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.material import Algorithm
from certrotd.kube.api import SECRETS
from certrotd.outputs.errors import NotDeliverable, NotExpressible
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.port import Present
from certrotd.outputs.secret_entries import KEPT_OF, MAX_SIZE, SecretEntries
from certrotd.outputs.yaml_ciphers import YamlCiphers
from tests.contract.output_cases import bits, delivery_of
from tests.integration.keyring_shop import tink
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.key_secrets import NAME, KeyNamespace
from tests.parts.kubernetes.lossy import LossyWay
from tests.parts.site import Run, Site

KEYSTORE = JsonKeystore(Path("secrets/app", NAME, "keys.json"))


def keystore(count: int, present: Present | None = None) -> dict[Path, bytes | None]:
    """Of so many keys."""
    return dict(KEYSTORE.render(delivery_of(KEYSTORE, count), present or {}))


def raises(entries: SecretEntries) -> list[str]:
    """What keeps it from being written."""
    return [str(each) for each in entries.problems()]


@pytest.fixture
def app(control_plane: ControlPlane) -> KeyNamespace:
    """A namespace without the Secret."""
    return KeyNamespace.made(control_plane)


class TestEntries:
    """What is written, over what."""

    def test_the_secret_is_made_and_other_entries_stay(self, app: KeyNamespace) -> None:
        """By a field manager of the entry's own."""
        entries = app.entries(KEYSTORE, "keys.json")
        assert raises(entries) == []
        entries.write(keystore(1), over=entries.present())
        assert app.data() == {"keys.json": keystore(1)[KEYSTORE.path]}
        assert app.secret()["type"] == "Opaque"
        app.put({"colour": b"blue"})
        entries.write(keystore(2), over=entries.present())
        assert app.data() == {"keys.json": keystore(2)[KEYSTORE.path], "colour": b"blue"}
        managers = {each["manager"] for each in app.secret()["metadata"]["managedFields"]}
        assert "certrotd/key/orders/keys.json" in managers

    def test_outputs_that_share_a_secret_leave_each_other_alone(self, app: KeyNamespace) -> None:
        """Each has a manager of its own: what one does not apply, the other keeps."""
        second = JsonKeystore(Path("secrets/app", NAME, "more.json"))
        one, two = app.entries(KEYSTORE, "keys.json"), app.entries(second, "more.json")
        other = second.render(delivery_of(second, 3), {})
        one.write(keystore(1), over=one.present())
        two.write(other, over=two.present())
        one.write(keystore(2), over=one.present())
        assert app.data() == {
            "keys.json": keystore(2)[KEYSTORE.path],
            "more.json": other[second.path],
        }

    def test_several_files_are_one_write_and_what_is_gone_goes(self, app: KeyNamespace) -> None:
        """Also an entry that somebody else had made as well."""
        folder = Path("/etc/app")
        output = YamlCiphers(Path("secrets", NAME, "enc.yml"), "production", folder, "app", bits())
        deliveries = [
            delivery_of(output, count, algorithms=[Algorithm.AES_256_CBC]) for count in (2, 1)
        ]
        entries = app.entries(output, "enc.yml")
        app.make({"app_v2.kekek": b"from elsewhere"})
        writes: list[int] = []
        for delivery in deliveries:
            before = len(app.plane.audit_log.read_text().splitlines())
            present = entries.present()
            entries.write(output.render(delivery, present), over=present)
            said = app.plane.audit_log.read_text().splitlines()[before:]
            writes.append(sum('"verb":"patch"' in each for each in said))
            there = entries.present()
            assert there == {**there, **output.render(delivery, there)}
        assert set(app.data()) == {"enc.yml", "app_v1.encrypted_key", "app_v1.kekek"}
        assert b"/etc/app/app_v1.encrypted_key" in app.data()["enc.yml"]
        assert writes[0] == 1

    def test_a_change_beside_its_entries_is_no_conflict(self, app: KeyNamespace) -> None:
        """Though the Secret is another than was read."""
        entries = app.entries(KEYSTORE, "keys.json")
        entries.write(keystore(1), over=entries.present())
        present = entries.present()
        app.put({"colour": b"blue"})
        entries.write(keystore(2), over=present)
        assert app.data() == {"keys.json": keystore(2)[KEYSTORE.path], "colour": b"blue"}

    def test_what_somebody_writes_meanwhile_is_not_overwritten(self, app: KeyNamespace) -> None:
        """Into its own entry, also where there was none; a Secret that is gone is made anew."""
        entries = app.entries(KEYSTORE, "keys.json")
        absent = entries.present()
        app.make({"keys.json": b"theirs"})
        with pytest.raises(Transient, match="was changed by something else just now"):
            entries.write(keystore(1), over=absent)
        present = entries.present()
        app.put({"keys.json": b"theirs again"})
        with pytest.raises(Transient, match="was changed by something else just now"):
            entries.write(keystore(1), over=present)
        assert app.data() == {"keys.json": b"theirs again"}
        present = entries.present()
        app.plane.api.delete(app.path)
        entries.write(keystore(1), over=present)
        assert app.data() == {"keys.json": keystore(1)[KEYSTORE.path]}

    def test_an_answer_that_is_lost_is_no_second_write(self, app: KeyNamespace) -> None:
        """What was carried out is found."""
        port = int(app.plane.url.rpartition(":")[2])
        with LossyWay(("127.0.0.1", port)) as way:
            api = app.api(server=f"https://127.0.0.1:{way.port}")
            entries = app.entries(KEYSTORE, "keys.json", api=api)
            present = entries.present()
            way.lose_answers()
            timer = threading.Timer(2.0, way.pass_answers)
            timer.start()
            entries.write(keystore(1), over=present)
            timer.join()
        assert way.lost
        assert app.data() == {"keys.json": keystore(1)[KEYSTORE.path]}

    def test_more_than_a_secret_holds_is_refused_before_anything_is_written(
        self, app: KeyNamespace
    ) -> None:
        """With what others have in it."""
        app.make({"theirs": b"x" * (MAX_SIZE - 100)})
        entries = app.entries(KEYSTORE, "keys.json")
        with pytest.raises(NotDeliverable, match="and a Secret holds 1,048,576"):
            entries.write(keystore(2), over=entries.present())
        assert set(app.data()) == {"theirs"}

    def test_two_files_that_would_be_one_entry_are_refused(self, app: KeyNamespace) -> None:
        """The stem of key files and the entry's own name are chosen by hand."""
        entries = app.entries(KEYSTORE, "keys.json")
        both = {**keystore(1), Path("/other/keys.json"): b"x"}
        with pytest.raises(NotExpressible, match="would be one entry"):
            entries.write(both, over=entries.present())


class TestKeptAside:
    """What is in the way of a keyring."""

    @pytest.fixture
    def app(self, control_plane: ControlPlane) -> KeyNamespace:
        """In which certrotd may do that."""
        app = KeyNamespace.made(control_plane, may_keep_aside=True)
        app.make({"keys.json": b"theirs", "colour": b"blue"})
        return app

    def test_it_is_moved_to_a_secret_of_its_own(self, app: KeyNamespace) -> None:
        """Other entries stay, and what was kept before is not overwritten."""
        entries = app.entries(KEYSTORE, "keys.json")
        for data, name in ((b"theirs", "t000000z"), (b"newer", "t000000z-2")):
            app.put({"keys.json": data})
            [path] = entries.set_aside("20270101T000000Z")
            assert app.data() == {"colour": b"blue"}
            assert path == Path("secrets", app.namespace, f"{NAME}-20270101{name}", "keys.json")
            [kept] = [e for e in app.others() if e["metadata"]["name"] == path.parent.name]
            assert base64.b64decode(kept["data"]["keys.json"]) == data
            assert kept["metadata"]["annotations"] == {KEPT_OF: NAME}
        assert entries.set_aside("20270101T000000Z") == []

    def test_where_it_may_not_be_kept_nothing_is_removed(self, app: KeyNamespace) -> None:
        """The right to make Secrets is not among those that a rotation needs."""
        rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME]}
        app.plane.allow(app.namespace, "certrotd", {**rule, "verbs": ["get", "create", "patch"]})
        with pytest.raises(NeedsOperator, match="forbidden"):
            app.entries(KEYSTORE, "keys.json").set_aside("20270101T000000Z")
        assert app.data()["keys.json"] == b"theirs"


class TestProblems:
    """Before anything is begun."""

    def test_each_right_that_is_missing_is_named(self, control_plane: ControlPlane) -> None:
        """With the Secret's name."""
        app = KeyNamespace.made(control_plane)
        control_plane.allow(app.namespace, "certrotd")
        where = f"secrets/{NAME} in the namespace {app.namespace}"
        found = raises(app.entries(KEYSTORE, "keys.json"))
        assert [each.partition(" (")[0] for each in found] == [
            f"the account may not {verb} {where}" for verb in ("get", "create", "patch")
        ]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"immutable": True}, "is immutable"),
            (
                {"type": "kubernetes.io/basic-auth", "stringData": {"username": "a"}},
                "is of type kubernetes.io/basic-auth, which is for something else",
            ),
            ({"type": "helm.sh/release.v1"}, "is of type helm.sh/release.v1"),
        ],
    )
    def test_a_secret_that_cannot_be_written_is_refused(
        self, app: KeyNamespace, given: dict[str, Any], words: str
    ) -> None:
        """In words, and by a write as well."""
        app.make(**given)
        entries = app.entries(KEYSTORE, "keys.json")
        [problem] = entries.problems()
        assert isinstance(problem, NeedsOperator)
        assert words in problem.message
        with pytest.raises(NeedsOperator, match="secrets/app-keys in the namespace"):
            entries.write(keystore(1), over=entries.present())

    def test_a_secret_that_something_else_keeps_is_refused(self, app: KeyNamespace) -> None:
        """An operator would put its own content back."""
        app.make()
        owner = {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "app"}
        owner |= {"uid": "1", "controller": True}  # type: ignore[dict-item]

        def kept(found: dict[str, Any]) -> None:
            found["metadata"]["ownerReferences"] = [owner]

        app.change(kept)
        [words] = raises(app.entries(KEYSTORE, "keys.json"))
        assert "is kept by ExternalSecret app, which would put its own content back" in words

    def test_what_it_cannot_express_is_refused(self, app: KeyNamespace) -> None:
        """As in a file."""
        app.make({"keys.json": b"{}"})
        [words] = raises(app.entries(KEYSTORE, "keys.json"))
        assert "keys.json" in words

    def test_a_namespace_that_is_not_there_is_named(self, app: KeyNamespace) -> None:
        """Whoever may write into any cannot be told by its rights."""
        admin = KeyNamespace(app.plane, "nowhere", app.who)
        token = app.plane.service_account(app.namespace, "mighty")
        binding = {
            "metadata": {"name": f"mighty-{app.namespace}"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "mighty", "namespace": app.namespace}],
        }
        app.plane.api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        mighty = KeyNamespace(admin.plane, admin.namespace, token)
        [words] = raises(mighty.entries(KEYSTORE, "keys.json"))
        assert words == "there is no namespace nowhere (create it)"


class TestProgram:
    """certrotd itself, as users run it."""

    @pytest.fixture
    def app(self, control_plane: ControlPlane) -> KeyNamespace:
        """Of which it may keep something aside as well."""
        return KeyNamespace.made(control_plane, may_keep_aside=True)

    @pytest.fixture
    def orders(self, app: KeyNamespace, site: Site) -> dict[str, Any]:
        """A keyring whose only output is the entry keyset.json."""
        secret = app.place("keyset.json", site.directory / "kubeconfig")
        site.config["keks"] = {"local": {"type": "file", "path": str(site.directory / "kek")}}
        entry: dict[str, Any] = {"outputs": [{"type": "tink", "secret": secret}]}
        site.config["keyrings"] = {"orders": entry}
        return entry

    def rotate(self, site: Site, *, code: int = 0) -> Run:
        """By hand."""
        ran = site.run("keys", "rotate", "orders", "--reason", "test")
        assert ran.code == code, ran
        return ran

    def keys(self, app: KeyNamespace) -> dict[int, bytes]:
        """Those in the Secret by their ids."""
        told = json.loads(app.data()["keyset.json"])
        return {each["keyId"]: base64.b64decode(each["keyData"]["value"]) for each in told["key"]}

    def test_a_keyring_is_rotated_rolled_back_and_noticed_in_its_secret(
        self, app: KeyNamespace, site: Site, orders: dict[str, Any]
    ) -> None:
        """What somebody else writes there is reported, kept, and not overwritten unasked."""
        self.rotate(site)
        first = self.keys(app)
        self.rotate(site)
        both = app.data()["keyset.json"]
        assert first.items() < self.keys(app).items()
        assert site.run("keys", "rollback", "orders").code == 0
        assert json.loads(app.data()["keyset.json"])["primaryKeyId"] in first
        assert site.run("keys", "activate", "orders").code == 0
        assert json.loads(app.data()["keyset.json"]) == json.loads(both)
        strange = tink(b"s" * 32)
        app.put({"keyset.json": strange})
        refused = self.rotate(site, code=1)
        assert f"tink secrets@kubeconfig/{app.namespace}/{NAME}/keyset.json" in refused.stderr
        assert "it has a key that the keyring never had" in refused.stderr + refused.stdout
        assert app.data()["keyset.json"] == strange
        over = site.run("keys", "deliver", "orders", "--overwrite")
        assert over.code == 0, over
        [aside] = [
            each for each in app.others() if KEPT_OF in each["metadata"].get("annotations", {})
        ]
        assert base64.b64decode(aside["data"]["keyset.json"]) == strange
        assert aside["immutable"]
        assert json.loads(app.data()["keyset.json"]) == json.loads(both)

    def test_what_an_application_has_is_adopted_from_its_secret(
        self, app: KeyNamespace, site: Site, orders: dict[str, Any]
    ) -> None:
        """Nothing that it reads changes, and unasked no key is made beside its own."""
        own = tink(b"o" * 32)
        app.make({"keyset.json": own, "colour": b"blue"})
        before = app.secret()
        assert "adopt" in (refused := self.rotate(site, code=1)).stderr + refused.stdout
        place = f"secrets@kubeconfig/{app.namespace}/{NAME}/keyset.json"
        adopted = site.run("keys", "adopt", "orders", "--from", place, "--output", "tink")
        assert adopted.code == 0, adopted
        assert app.secret() == before
        self.rotate(site)
        assert len(self.keys(app)) == 2
        assert app.data()["colour"] == b"blue"

    def test_a_sealed_keyring_is_read_by_the_client_library(
        self, app: KeyNamespace, site: Site, orders: dict[str, Any], tmp_path: Path
    ) -> None:
        """From where the kubelet would have put it."""
        from certrotd.client import Keyring

        orders["outputs"][0]["type"] = "keyring"
        self.rotate(site)
        mounted = tmp_path / "mounted"
        mounted.write_bytes(app.data()["keyset.json"])
        with Keyring.open(mounted, kek=site.directory / "kek") as keyring:
            sealed = keyring.encrypt(b"hello", associated_data=b"")
        self.rotate(site)
        mounted.write_bytes(app.data()["keyset.json"])
        with Keyring.open(mounted, kek=site.directory / "kek") as keyring:
            assert keyring.decrypt(sealed, associated_data=b"") == b"hello"
            assert keyring.needs_reencryption(sealed)


def test_its_secret_is_no_place_for_certrotds_own_state(control_plane: ControlPlane) -> None:
    """It has a label by which it is known, whatever its type is."""
    app = KeyNamespace.made(control_plane)
    secret = {
        "metadata": {"name": NAME, "labels": {"certrotd.io/state": "certrotd"}},
        "type": "certrotd.io/state",
    }
    control_plane.api.create(SECRETS.path(app.namespace), secret)
    assert "which is for something else" in raises(app.entries(KEYSTORE, "keys.json"))[0]

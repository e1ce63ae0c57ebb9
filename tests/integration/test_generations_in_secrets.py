"""Generations and state in Secrets of certrotd's own: what is lost is made again, if it can."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from certrotd.certs.ports import Sealing
from certrotd.errors import NeedsOperator
from certrotd.kube.api import SECRETS
from certrotd.pki.generation import CertificateState
from certrotd.pki.verify import KeyMismatch
from certrotd.stores.kubernetes import KubernetesStore
from certrotd.stores.own_secrets import RECORD
from tests.builders import META, OTHER_PAIR, PAIR, seal
from tests.integration.live_secrets import EXPIRED, damage, live_at_1, serves
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.secrets import Shop, rules


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """Two namespaces for the certificate web."""
    return Shop.made(control_plane, "web")


@pytest.fixture
def store(shop: Shop) -> KubernetesStore:
    """Of which generation 1 is live."""
    return live_at_1(shop)


class TestOwnSecrets:
    """What certrotd keeps beside the live one."""

    def own(self, shop: Shop, part: str) -> str:
        return SECRETS.path(shop.own, f"certrotd-store.web.{part}")

    def test_a_generation_is_immutable_and_labelled(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """Nobody changes it by mistake, and kubectl finds it."""
        found = shop.plane.api.get(self.own(shop, "000001"))
        assert found["immutable"]
        assert isinstance(store, Sealing)
        assert store.sealed_secret("web", 1) == found["metadata"]["name"]
        assert found["metadata"]["labels"] == {
            "app.kubernetes.io/managed-by": "certrotd",
            "certrotd.io/certificate": "web",
            "certrotd.io/kind": "generation",
            "certrotd.io/part": "store",
            "certrotd.io/state": "certrotd",
        }

    def test_a_generation_that_was_deleted_is_made_of_the_live_one(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """As long as that is there."""
        shop.plane.api.delete(self.own(shop, "000001"))
        assert "certrotd-store.web.000001" in str(damage(store))
        assert store.sealed("web", 1)
        store.rebuild("web", 1)
        assert damage(store) is None
        assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)

    def test_without_both_there_is_none(self, shop: Shop, store: KubernetesStore) -> None:
        """And a look says so."""
        shop.plane.api.delete(self.own(shop, "000001"))
        shop.fill(OTHER_PAIR, key=PAIR.key_pem)
        live = store.look("web").live
        assert live is not None
        assert live.facts is None
        assert "is gone" in str(live.broken)
        shop.plane.api.delete(shop.path())
        assert store.generation("web", 1).facts is None
        assert not store.sealed("web", 1)
        with pytest.raises(NeedsOperator, match="does not exist"):
            store.switch("web", 1)

    def test_a_generation_that_was_made_anew_is_sealed_again(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """What it says of itself is gone; its pair is one."""
        path = self.own(shop, "000001")
        shop.plane.api.merge(path, {"metadata": {"annotations": {RECORD: "{}"}}})
        assert "is not as certrotd sealed it" in str(damage(store))
        store.rebuild("web", 1)
        assert damage(store) is None

    def spoil(self, shop: Shop, part: str) -> None:
        """Somebody puts an immutable one in the place of a generation that has no key."""
        path = self.own(shop, part)
        found = shop.plane.api.get(path)
        shop.plane.api.delete(path)
        found["data"]["tls.key"] = "eA=="
        found["metadata"].pop("resourceVersion")
        shop.plane.api.create(SECRETS.path(shop.own), found)

    def test_a_generation_that_holds_no_pair_is_made_of_the_live_one(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """If that holds just what it should hold: no pod has to go back to an older one."""
        self.spoil(shop, "000001")
        live = store.look("web", thorough=True).live
        assert live is not None
        assert live.meta == META
        assert live.broken is None
        assert "certrotd-store.web.000001 in the namespace" in str(live.damaged)
        store.rebuild("web", 1)
        after = shop.plane.api.get(self.own(shop, "000001"))
        assert after["immutable"]
        assert damage(store) is None
        assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)
        assert serves(shop, PAIR)

    def test_a_generation_that_holds_no_pair_is_broken(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """Somebody else's pair is live instead: an earlier one can take its place."""
        seal(store, 2, OTHER_PAIR)
        store.switch("web", 2)
        self.spoil(shop, "000002")
        shop.fill(PAIR)
        standing = store.look("web", thorough=True)
        assert standing.live is not None
        assert standing.live.facts is None
        assert [each.number for each in standing.earlier] == [1]
        with pytest.raises(NeedsOperator, match="cannot be used"):
            store.read("web", 2)
        with pytest.raises(NeedsOperator, match="cannot be used"):
            store.switch("web", 2)

    @pytest.mark.parametrize(
        ("given", "words"),
        [({"immutable": True}, "is immutable"), ({"type": "Opaque"}, "is of type Opaque")],
        ids=["immutable", "opaque"],
    )
    def test_a_state_that_nobody_can_replace_is_said_before_an_order(
        self, shop: Shop, store: KubernetesStore, given: dict[str, Any], words: str
    ) -> None:
        """After the swap it would be too late: neither the record nor its undo could be written."""
        store.record("web", CertificateState())
        store.check("web")
        path = self.own(shop, "state")
        found = {**shop.plane.api.get(path), **given}
        shop.plane.api.delete(path)
        found["metadata"].pop("resourceVersion")
        shop.plane.api.create(SECRETS.path(shop.own), found)
        with pytest.raises(NeedsOperator, match=words):
            store.check("web")
        with pytest.raises(NeedsOperator, match="immutable") as refused:
            store.record("web", CertificateState(withdrawn=(1,)))
        assert "make it anew" in refused.value.hint

    def test_what_is_sealed_is_neither_staged_over_nor_discarded(
        self, store: KubernetesStore
    ) -> None:
        """It has the place that was staged in, and the API server lets nobody change it."""
        with pytest.raises(NeedsOperator, match="immutable"):
            store.stage_key("web", 1, OTHER_PAIR.key_pem)
        store.discard("web", 1)
        assert store.read("web", 1) == (PAIR.key_pem, PAIR.fullchain_pem)

    def test_a_chain_without_its_key_is_not_staged(self, shop: Shop) -> None:
        """The key would be lost."""
        with pytest.raises(NeedsOperator, match="is gone, and its key"):
            shop.store().stage_chain("web", 1, PAIR.fullchain_pem)

    def test_a_state_that_is_none_is_put_aside(self, shop: Shop, store: KubernetesStore) -> None:
        """The generation that is live is known by the live Secret."""
        store.record("web", CertificateState(withdrawn=(9,)))
        path = self.own(shop, "state")
        shop.plane.api.merge(path, {"metadata": {"annotations": {RECORD: "nothing"}}})
        standing = store.look("web")
        assert "is not a state that certrotd wrote" in str(standing.damaged)
        assert standing.live is not None
        aside = store.mend("web", CertificateState(), now=datetime.now(UTC))
        assert "certrotd-store.web.unreadable" in aside
        shop.put(PAIR)
        assert store.look("web").damaged is None
        assert store.live("web") == 1

    def test_what_others_have_labelled_so_is_passed_over(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """It is no generation."""
        found = shop.plane.api.get(self.own(shop, "000001"))
        for name, whose in (("a", "mail/000009"), ("b", "web/nothing")):
            annotations = {"certrotd.io/name": whose}
            metadata = {"name": name, "labels": found["metadata"]["labels"]}
            made = {**found, "metadata": {**metadata, "annotations": annotations}}
            shop.plane.api.create(SECRETS.path(shop.own), made)
        newest = store.look("web").newest
        assert newest is not None
        assert newest.number == 1

    def test_a_name_that_is_no_label_is_found_still(self, shop: Shop) -> None:
        """Names of certificates may be longer than labels."""
        name = f"{'w' * 62}.-"
        shop.allow_live(rules("web")[1])
        store = shop.store(name, secret="web")
        seal(store, 1, name=name)
        store.switch(name, 1)
        assert store.look(name).live is not None
        assert store.names() == [name]

    def test_a_mismatched_pair_is_not_sealed(self, shop: Shop) -> None:
        """What is remembered of a generation is believed."""
        store = shop.store()
        store.stage_key("web", 1, OTHER_PAIR.key_pem)
        store.stage_chain("web", 1, PAIR.fullchain_pem)
        with pytest.raises(KeyMismatch):
            store.seal("web", 1, META)

    def test_a_certificate_without_a_place_is_said(self, shop: Shop) -> None:
        """It is in no entry."""
        with pytest.raises(NeedsOperator, match="no Secret for 'mail'"):
            shop.store().look("mail")


def test_the_state_goes_on_beside_what_was_restored(shop: Shop) -> None:
    """One document has both, and each is written without losing the other."""
    store = live_at_1(shop)
    state = CertificateState(withdrawn=(9,))
    store.record("web", state)
    shop.fill(EXPIRED)
    store.switch("web", 1)
    assert store.look("web").state == state
    store.record("web", replace(state, withdrawn=()))
    for _ in range(2):
        shop.fill(EXPIRED)
        store.switch("web", 1)
    shop.fill(EXPIRED)
    assert store.look("web").foreign is not None

"""Certificates in Secrets on bad days: what somebody else does there, and what the account may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from certrotd.certs.ports import Sealing
from certrotd.clock import SystemClock
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.files.disktrouble import DiskTrouble
from certrotd.kube.api import SECRETS, Denied
from certrotd.pki.generation import CertificateState, Standing
from certrotd.pki.verify import KeyMismatch
from certrotd.state.ports import Conflict
from certrotd.stores.kubernetes import KubernetesStore
from certrotd.stores.live_secret import LIVE, NEEDED_LIVE, NEEDED_OWN
from certrotd.stores.own_secrets import RECORD
from certrotd.stores.tls_secret import Shapes
from tests.builders import CA, META, NAME, OTHER_PAIR, PAIR, seal
from tests.parts import Parts, pki
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.lossy import LossyWay
from tests.parts.kubernetes.secrets import Shop, rules, tls_secret

EXPIRED = pki.make_leaf(
    CA,
    NAME,
    lifetime=timedelta(hours=1),
    not_before=datetime.now(UTC) - timedelta(hours=3),
)


class Shifted(SystemClock):
    """The machine's clock, set forward ``by``."""

    by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """Two namespaces for the certificate web."""
    return Shop.made(control_plane, "web")


@pytest.fixture
def store(shop: Shop) -> KubernetesStore:
    """Of which generation 1 is live."""
    return live_at_1(shop)


def live_at_1(shop: Shop, **given: Any) -> KubernetesStore:
    """A store of which generation 1 is live."""
    store = shop.store(**given)
    seal(store, 1)
    store.switch("web", 1)
    return store


def serves(shop: Shop, pair: pki.Pair) -> bool:
    """Whether the live Secret holds a pair."""
    data = shop.data()
    return (data["tls.key"], data["tls.crt"]) == (pair.key_pem, pair.fullchain_pem)


def damage(store: KubernetesStore) -> str | None:
    """What a look says of the live generation."""
    live = store.look("web").live
    assert live is not None
    return live.damaged


class TestTheLiveSecret:
    """What pods read."""

    def test_it_is_replaced_whole_and_names_its_generation(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """The manager of its fields is certrotd, by server-side apply."""
        assert serves(shop, PAIR)
        found = shop.secret()
        assert found["type"] == "kubernetes.io/tls"
        assert found["metadata"]["annotations"][LIVE] == "1"
        [manager] = found["metadata"]["managedFields"]
        assert (manager["manager"], manager["operation"]) == ("certrotd", "Apply")
        assert store.place("web") == f"secrets/web in the namespace {shop.workloads}"

    def test_what_others_have_in_it_stays(self, shop: Shop, store: KubernetesStore) -> None:
        """certrotd has its own fields alone."""
        extra = {"data": {"extra": "eA=="}, "metadata": {"labels": {"team": "shop"}}}
        shop.plane.api.merge(shop.path(), extra)
        seal(store, 2, OTHER_PAIR)
        store.switch("web", 2)
        assert serves(shop, OTHER_PAIR)
        assert shop.data()["extra"] == b"x"
        assert shop.secret()["metadata"]["labels"] == {"team": "shop"}

    def test_it_has_the_other_shapes_that_are_asked_for(self, shop: Shop) -> None:
        """For Java, HAProxy, and clients that need the CA."""
        keys = ("ca.crt", "combined.pem", "keystore.p12")
        live_at_1(shop, shapes=Shapes("web", keys, lambda: b"word"))
        data = shop.data()
        assert data["combined.pem"] == PAIR.key_pem + PAIR.fullchain_pem
        assert data["ca.crt"] in PAIR.fullchain_pem
        assert data["ca.crt"] != PAIR.fullchain_pem
        key, leaf, _ = pkcs12.load_key_and_certificates(data["keystore.p12"], b"word")
        assert key is not None
        assert leaf == PAIR.certificate
        fewer = shop.store(shapes=Shapes("web", ("ca.crt",)))
        assert damage(fewer) is None
        seal(fewer, 2, OTHER_PAIR)
        fewer.switch("web", 2)
        assert set(shop.data()) == {"tls.crt", "tls.key", "ca.crt"}

    def test_a_shape_that_is_asked_for_later_is_put_there(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """Without an order: it is made of the pair that is there."""
        more = shop.store(shapes=Shapes("web", ("combined.pem",)))
        assert "combined.pem is missing" in str(damage(more))
        more.rebuild("web", 1)
        assert damage(more) is None
        assert "combined.pem" in shop.data()
        shop.plane.api.merge(shop.path(), {"data": {"combined.pem": "eA=="}})
        assert "combined.pem is not of this pair" in str(damage(more))


class TestTakingOver:
    """A Secret that somebody else made is taken over if that is asked for, else left alone."""

    def test_to_adopt_changes_nothing_that_anybody_reads(self, shop: Shop) -> None:
        """Its bytes stay as they are, and generation 1 is made of them."""
        shop.put(PAIR, metadata={"name": "web", "labels": {"team": "shop"}})
        before = shop.secret()
        store = shop.store(adopt=True)
        assert store.look("web") == Standing()
        pair = store.adoptable("web")
        assert pair == (PAIR.key_pem, PAIR.fullchain_pem)
        seal(store, 1)
        store.check("web")
        store.switch("web", 1)
        after = shop.secret()
        assert (after["data"], after["type"]) == (before["data"], before["type"])
        assert after["metadata"]["labels"] == {"team": "shop"}
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert store.live("web") == 1
        assert store.adoptable("web") is None, "it is certrotd's now"

    def test_a_chain_in_another_order_is_adopted_leaf_first(self, shop: Shop) -> None:
        """Some servers do not mind it."""
        blocks = PAIR.fullchain_pem.split(b"-----BEGIN CERTIFICATE-----")[1:]
        turned = b"".join(b"-----BEGIN CERTIFICATE-----" + each for each in reversed(blocks))
        secret = tls_secret("web", PAIR.key_pem, turned)
        shop.plane.api.create(SECRETS.path(shop.workloads), secret)
        assert shop.store(adopt=True).adoptable("web") == (PAIR.key_pem, PAIR.fullchain_pem)

    def test_nothing_is_adopted_unasked(self, shop: Shop) -> None:
        """Nor what is not there, nor half a pair."""
        assert shop.store(adopt=True).adoptable("web") is None
        shop.put(PAIR)
        assert shop.store().adoptable("web") is None
        shop.plane.api.merge(shop.path(), {"data": {"tls.key": ""}})
        assert shop.store(adopt=True).adoptable("web") is None

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({}, "is there and not certrotd's .*adopt: true"),
            ({"immutable": True}, "is immutable"),
            ({"type": "Opaque"}, r"is of type Opaque, not kubernetes\.io/tls"),
        ],
        ids=["foreign", "immutable", "opaque"],
    )
    def test_what_cannot_be_replaced_is_said_before_an_order(
        self, shop: Shop, given: dict[str, Any], words: str
    ) -> None:
        """And it is as it was; the control is one that may be adopted."""
        shop.put(PAIR, **given)
        before = shop.secret()
        store = shop.store(adopt=bool(given))
        seal(store, 1, OTHER_PAIR)
        acts: list[Callable[[], None]] = [
            lambda: store.check("web"),
            lambda: store.switch("web", 1),
        ]
        if given:  # before the pair is anything of certrotd's
            acts.append(lambda: store.adoptable("web") and None)
        for act in acts:
            with pytest.raises(NeedsOperator, match=words):
                act()
        assert shop.secret() == before

    def test_the_secret_of_another_certrotd_is_left_alone(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """Two would replace each other's for ever."""
        other = shop.store(instance="other", adopt=True)
        assert other.live("web") is None
        with pytest.raises(NeedsOperator, match="is that of certificate web of certrotd"):
            other.check("web")
        assert damage(store) is None


class TestForeignChanges:
    """Somebody else writes the live Secret."""

    def test_a_valid_pair_is_reported_and_stays(self, shop: Shop, store: KubernetesStore) -> None:
        """Until the next generation comes."""
        shop.fill(OTHER_PAIR)
        standing = store.look("web", thorough=True)
        assert standing.foreign is not None
        assert not standing.foreign.broken
        assert "somebody else put certificate" in standing.foreign.words
        assert standing.live is not None
        assert standing.live.damaged is None
        store.switch("web", 1)
        store.rebuild("web", 1)
        assert serves(shop, OTHER_PAIR)
        seal(store, 2)
        store.switch("web", 2)
        assert serves(shop, PAIR)
        assert store.look("web").foreign is None

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda shop: shop.fill(OTHER_PAIR, key=PAIR.key_pem), "does not belong"),
            (lambda shop: shop.fill(EXPIRED), "its certificate expired at"),
            (lambda shop: shop.fill(PAIR, key=b"no key"), "tls.key"),
            (
                lambda shop: shop.plane.api.merge(shop.path(), {"data": {"tls.crt": ""}}),
                "tls.crt is missing",
            ),
            (lambda shop: shop.plane.api.delete(shop.path()), "was deleted"),
            (lambda shop: shop.put(EXPIRED), "its certificate expired at"),
        ],
        ids=["mismatched", "expired", "no-key", "no-chain", "deleted", "without-our-name"],
    )
    def test_what_is_broken_is_put_right(
        self, shop: Shop, store: KubernetesStore, change: Callable[[Shop], object], words: str
    ) -> None:
        """By the last good generation."""
        change(shop)
        assert words in str(damage(store))
        assert store.look("web").foreign is None
        store.rebuild("web", 1)
        assert serves(shop, PAIR)
        assert damage(store) is None
        assert store.live("web") == 1

    def test_a_pair_that_expires_there_is_put_right_then(self, shop: Shop) -> None:
        """It was valid when it was put there."""
        clock = Shifted()
        store = live_at_1(shop, api=shop.api(clock=clock))
        shop.fill(pki.make_leaf(CA, NAME, lifetime=timedelta(hours=2)))
        assert damage(store) is None
        clock.by = timedelta(hours=3)
        assert "expired" in str(damage(store))

    def test_ten_foreign_writes_are_not_answered_ten_times(self, shop: Shop) -> None:
        """Each answer restarts every workload; after an hour it is tried again."""
        clock = Shifted()
        store = live_at_1(shop, api=shop.api(clock=clock))
        restored = 0
        for _ in range(10):
            shop.fill(EXPIRED)
            if damage(store) is not None:
                store.switch("web", 1)
                restored += serves(shop, PAIR)
        assert restored == 3
        foreign = store.look("web").foreign
        assert foreign is not None
        assert foreign.broken
        assert "put it right too often and leaves it until" in foreign.words
        with pytest.raises(Transient, match="stop whoever writes it"):
            store.switch("web", 1)
        assert not serves(shop, PAIR)
        clock.by = timedelta(minutes=61)
        assert damage(store) is not None
        store.switch("web", 1)
        assert serves(shop, PAIR)

    def test_a_new_generation_comes_however_often_it_was_put_right(self, shop: Shop) -> None:
        """A renewal is no answer to anybody."""
        store = live_at_1(shop)
        for _ in range(3):
            shop.fill(EXPIRED)
            store.switch("web", 1)
        shop.fill(EXPIRED)
        seal(store, 2, OTHER_PAIR)
        store.switch("web", 2)
        assert serves(shop, OTHER_PAIR)

    def test_a_name_that_was_taken_off_is_put_back(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """kubectl replace drops annotations: the generation is known still."""
        shop.put(PAIR)
        assert LIVE not in shop.secret()["metadata"].get("annotations", {})
        standing = store.look("web")
        assert standing.live is not None
        assert (standing.live.number, standing.live.damaged, standing.foreign) == (1, None, None)
        store.check("web")
        store.switch("web", 1)
        assert shop.secret()["metadata"]["annotations"][LIVE] == "1"

    def test_an_immutable_one_in_its_place_is_said(
        self, shop: Shop, store: KubernetesStore
    ) -> None:
        """Nobody can change it, certrotd neither."""
        shop.plane.api.merge(shop.path(), {"immutable": True})
        seal(store, 2, OTHER_PAIR)
        with pytest.raises(NeedsOperator, match="is immutable"):
            store.switch("web", 2)


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


class TestOthersAtTheSameTime:
    """Somebody else writes between a look and the write after it."""

    @pytest.mark.parametrize("change", [EXPIRED, OTHER_PAIR], ids=["broken", "valid"])
    def test_a_change_in_between_is_looked_at_first(self, shop: Shop, change: pki.Pair) -> None:
        """It is not written over unseen: one that can be used stays."""
        api = shop.api()
        store = live_at_1(shop, api=api)
        shop.fill(EXPIRED)
        apply = api.apply

        def interrupted(path: str, content: Any, **how: Any) -> Any:
            api.apply = apply  # type: ignore[method-assign]
            shop.fill(change)
            return apply(path, content, **how)

        api.apply = interrupted  # type: ignore[method-assign]
        store.switch("web", 1)
        assert serves(shop, PAIR if change is EXPIRED else OTHER_PAIR)

    def test_whoever_never_stops_is_said(self, shop: Shop) -> None:
        """After some tries the rotation fails, and is tried again later."""
        api = shop.api()
        store = live_at_1(shop, api=api)
        seal(store, 2, OTHER_PAIR)
        apply, tries = api.apply, 0

        def interrupted(path: str, content: Any, **how: Any) -> Any:
            nonlocal tries
            tries += 1
            shop.plane.api.merge(shop.path(), {"metadata": {"labels": {"n": str(tries)}}})
            return apply(path, content, **how)

        api.apply = interrupted  # type: ignore[method-assign]
        with pytest.raises(Conflict):
            store.switch("web", 2)
        assert tries == 5
        assert serves(shop, PAIR)

    def test_one_that_is_made_in_between_is_not_taken(self, shop: Shop) -> None:
        """It was not there when it was looked for."""
        api = shop.api()
        store = shop.store(api=api)
        seal(store, 1)
        apply = api.apply

        def interrupted(path: str, content: Any, **how: Any) -> Any:
            api.apply = apply  # type: ignore[method-assign]
            shop.put(OTHER_PAIR)
            return apply(path, content, **how)

        api.apply = interrupted  # type: ignore[method-assign]
        with pytest.raises(NeedsOperator, match="is there and not certrotd's"):
            store.switch("web", 1)
        assert serves(shop, OTHER_PAIR)

    def test_answers_that_are_lost_change_nothing(self, shop: Shop) -> None:
        """What was written is known by its word, and written once."""
        with LossyWay(("127.0.0.1", int(shop.plane.url.rpartition(":")[2]))) as way:
            api = shop.api(server=f"https://127.0.0.1:{way.port}", timeout=2.0)
            store = shop.store(api=api)
            acts: list[Callable[[], object]] = [
                lambda: store.stage_key("web", 1, PAIR.key_pem),
                lambda: store.stage_chain("web", 1, PAIR.fullchain_pem),
                lambda: store.seal("web", 1, META),
                lambda: store.switch("web", 1),
                lambda: store.record("web", CertificateState(withdrawn=(9,))),
            ]
            for act in acts:
                before = way.lost
                way.lose_answers()
                passing = threading.Timer(0.3, way.pass_answers)
                passing.start()
                act()
                passing.join()
                assert way.lost > before, "the control: an answer was lost"
        whole = shop.store()
        assert serves(shop, PAIR)
        assert whole.live("web") == 1
        assert whole.look("web").state.withdrawn == (9,)

    def test_an_apply_whose_answer_is_lost_is_known_again(self, shop: Shop) -> None:
        """It would conflict with itself otherwise, over the revision that it came from."""
        with LossyWay(("127.0.0.1", int(shop.plane.url.rpartition(":")[2]))) as way:
            api = shop.api(server=f"https://127.0.0.1:{way.port}", timeout=2.0)
            store = live_at_1(shop, api=api)
            seal(store, 2, OTHER_PAIR)
            apply, tries = api.apply, 0

            def losing(path: str, content: Any, **how: Any) -> Any:
                nonlocal tries
                tries += 1
                if tries > 1:
                    return apply(path, content, **how)
                way.lose_answers()
                try:
                    return apply(path, content, **how)
                finally:
                    way.pass_answers()

            api.apply = losing  # type: ignore[method-assign]
            store.switch("web", 2)
            assert tries == 2
        assert serves(shop, OTHER_PAIR)

    def test_a_server_that_is_away_is_said(self, module_parts: Parts) -> None:
        """As trouble that may pass, in one line."""
        shop = Shop.made(module_parts.start(ControlPlane), "web")
        store = live_at_1(shop)
        hasty = shop.store(api=shop.api(timeout=0.5), patience=1.0)
        shop.plane.pause()
        try:
            with pytest.raises(DiskTrouble, match="cannot read secrets/web in the namespace"):
                hasty.live("web")
        finally:
            shop.plane.resume()
        assert store.live("web") == 1


class TestRights:
    """The account needs little, and what it lacks is said before an order."""

    def test_the_secrets_of_a_namespace_of_workloads_are_never_listed(self, shop: Shop) -> None:
        """It may not, and it never tries."""
        store = live_at_1(shop)
        store.look("web", thorough=True)
        store.check("web")
        store.prune("web", 1, ())
        store.sweep("web")
        listed = [each for each in shop.calls() if each.startswith("list ")]
        assert listed
        assert all(f"/namespaces/{shop.own}/" in each for each in listed)
        with pytest.raises(Denied):
            shop.api().get(SECRETS.path(shop.workloads))
        with pytest.raises(Denied):
            shop.api().get(SECRETS.path(shop.workloads, "other"))

    def test_a_look_takes_two_requests(self, shop: Shop) -> None:
        """Whatever the number of generations is."""
        store = live_at_1(shop)
        before = len(shop.calls())
        store.look("web")
        assert [each.split()[0] for each in shop.calls()[before:]] == ["get", "list"]

    @pytest.mark.parametrize("verb", NEEDED_LIVE)
    def test_each_right_to_the_live_secret_that_is_missing_is_said(
        self, shop: Shop, verb: str
    ) -> None:
        """By SelfSubjectAccessReview; the control has all of them."""
        shop.store().check("web")
        [rule] = rules("web")[1:]
        shop.allow_live({**rule, "verbs": [each for each in NEEDED_LIVE if each != verb]})
        with pytest.raises(NeedsOperator, match=f"may not {verb} secrets/web in the namespace"):
            shop.store().check("web")

    @pytest.mark.parametrize("verb", NEEDED_OWN)
    def test_each_right_to_the_generations_that_is_missing_is_said(
        self, shop: Shop, verb: str
    ) -> None:
        """It is needed in one namespace alone."""
        [rule, _] = rules("web")
        others = [each for each in NEEDED_OWN if each != verb]
        shop.plane.allow(shop.own, "certrotd", {**rule, "verbs": others})
        with pytest.raises(NeedsOperator, match=f"may not {verb} secrets in the namespace"):
            shop.store().check("web")

    def test_rights_are_asked_for_once_an_hour(self, shop: Shop) -> None:
        """Each is a request, and a certificate is looked at often."""
        store = shop.store()
        store.check("web")
        before = len(shop.calls())
        store.check("web", dry=True)
        assert not [each for each in shop.calls()[before:] if "selfsubject" in each]

    def test_a_namespace_that_is_not_there_is_said(self, shop: Shop) -> None:
        """Rights may be had in one that is not."""
        shop.plane.api.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"generateName": "test-"},
                "roleRef": {
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                    "apiGroup": "rbac.authorization.k8s.io",
                },
                "subjects": [{"kind": "ServiceAccount", "name": "certrotd", "namespace": shop.own}],
            },
        )
        for store in (shop.store(namespace="nowhere"), shop.store(generations="nowhere")):
            with pytest.raises(NeedsOperator, match="there is no namespace nowhere"):
                store.check("web", dry=True)
        store = shop.store(generations="nowhere")
        store.check("web")
        # which comes next, before anything is ordered
        with pytest.raises(NeedsOperator, match="there is no namespace nowhere"):
            store.stage_key("web", 1, PAIR.key_pem)
        store = shop.store(namespace="nowhere")
        seal(store, 1)
        with pytest.raises(NeedsOperator, match="there is no namespace nowhere"):
            store.switch("web", 1)

    def test_without_a_namespace_it_is_that_of_the_account(self, shop: Shop) -> None:
        """And the generations are beside the live Secret."""
        store = shop.store(namespace=None, generations=None)
        seal(store, 1)
        assert shop.own in store.place("web")

    def test_no_failure_shows_a_key(self, shop: Shop) -> None:
        """The API server's own messages are passed on."""
        store = live_at_1(shop)
        shop.fill(PAIR, key=b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
        said = str(damage(store))
        assert "c2VjcmV0" not in said
        assert "secret" not in said.replace("secrets/web", "")
        shop.allow_live()
        with pytest.raises(Failure) as caught:
            store.switch("web", 1)
        assert "PRIVATE" not in str(caught.value)


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

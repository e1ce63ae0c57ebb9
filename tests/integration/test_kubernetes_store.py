"""Certificates in Secrets on bad days: what somebody else does there, and what the account may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.kube.api import SECRETS, Denied
from certrotd.pki.generation import Standing
from certrotd.stores.kubernetes import KubernetesStore
from certrotd.stores.live_secret import LIVE, NEEDED_LIVE, NEEDED_OWN
from certrotd.stores.tls_secret import Shapes
from tests.builders import CA, NAME, OTHER_PAIR, PAIR, seal
from tests.integration.live_secrets import EXPIRED, Shifted, damage, live_at_1, serves
from tests.parts import pki
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.secrets import Shop, rules, tls_secret


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """Two namespaces for the certificate web."""
    return Shop.made(control_plane, "web")


@pytest.fixture
def store(shop: Shop) -> KubernetesStore:
    """Of which generation 1 is live."""
    return live_at_1(shop)


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

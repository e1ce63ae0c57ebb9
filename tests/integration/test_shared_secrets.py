"""A Secret that others write at the same time, and an API server that loses answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from certrotd.errors import NeedsOperator
from certrotd.files.disktrouble import DiskTrouble
from certrotd.pki.generation import CertificateState
from certrotd.state.ports import Conflict
from certrotd.stores.kubernetes import KubernetesStore
from tests.builders import META, OTHER_PAIR, PAIR, seal
from tests.integration.live_secrets import EXPIRED, live_at_1, serves
from tests.parts import Parts, pki
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.lossy import LossyWay
from tests.parts.kubernetes.secrets import Shop


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """Two namespaces for the certificate web."""
    return Shop.made(control_plane, "web")


@pytest.fixture
def store(shop: Shop) -> KubernetesStore:
    """Of which generation 1 is live."""
    return live_at_1(shop)


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

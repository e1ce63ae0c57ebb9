"""Workloads that use a Secret: of a certificate, of a generation, or of data keys."""

from __future__ import annotations

import copy

import pytest

from certrotd.errors import NeedsOperator, Transient
from certrotd.kube.workloads import KINDS, Reference
from certrotd.targets.kubernetes import KubernetesTarget
from tests.unit.kube.memory_api import MemoryApi
from tests.unit.targets.kubernetes_shop import DB, WEB, live, patched, shop, target, told, using


class TestMounting:
    """Workloads are found by what their pods get at."""

    def made(self, api: MemoryApi, *named: Reference, **secrets: str) -> KubernetesTarget:
        """A target of certificates in Secrets."""
        return target(api, *named, secrets=secrets, mounting=True)

    def test_each_certificate_restarts_those_that_use_its_own_secret(self) -> None:
        """They come after those that are named, which are told of all."""
        api = shop()
        using(api, db="a-tls", edge="b-tls", proxy="a-tls")
        made = self.made(api, WEB, a="a-tls", b="b-tls")
        made.check()
        certificates = [live("a", "aa"), live("b", "bb")]
        made.apply_for(certificates)
        assert patched(api) == ["web", "proxy", "db", "edge"]
        assert told(api) == {"web": "a=aa b=bb", "proxy": "a=aa", "db": "a=aa", "edge": "b=bb"}
        api.log.clear()
        made.revert_for([live("a", "old")], {})
        assert patched(api) == ["db", "proxy", "web"]

    def test_told_for_none_in_particular_all_are_restarted(self) -> None:
        """As by a target that is told again."""
        api = shop()
        using(api, db="a-tls", edge="b-tls")
        self.made(api, a="a-tls", b="b-tls").apply()
        assert patched(api) == ["db", "edge"]

    def test_the_right_to_list_is_needed(self) -> None:
        """Of all three kinds."""
        api = shop()
        using(api, db="a-tls")
        self.made(api, a="a-tls").check()
        assert api.reviews[:3] == [f"list apps/{kind}s" for kind in KINDS]

    def test_a_secret_that_nothing_uses_is_refused(self) -> None:
        """A misspelt name must not mean that nothing is restarted."""
        api = shop()
        using(api, db="a-tls")
        with pytest.raises(NeedsOperator, match="no workload in the namespace shop uses the Secr"):
            self.made(api, a="a-tls", b="b-tls").check()
        with pytest.raises(NeedsOperator, match="none of the certificates is in a Secret of the"):
            self.made(api).check()

    def test_what_does_not_use_the_secret_is_warned_of(self) -> None:
        """It was named, and is restarted for nothing."""
        api = shop()
        using(api, web="a-tls")
        lines = target(api, WEB, DB, secrets={"a": "a-tls"}).look().warnings
        assert [line for line in lines if "Secret" in line] == [
            "statefulset/db does not use the Secret a-tls: nothing changes there"
        ]


class TestKeys:
    """What it is told of a keyring, and shows of it."""

    OLD, NEW = {"key/app": "old"}, {"key/app": "new"}

    def test_workloads_are_restarted_once_for_each_delivery(self) -> None:
        """Beside what they were restarted for otherwise."""
        api = shop()
        made = target(api, WEB)
        made.apply_for([live("app", "aa")])
        made.apply_of(self.OLD)
        made.apply_of(self.OLD)
        assert told(api) == {"web": "app=aa key/app=old"}
        assert patched(api) == ["web", "web"]

    def test_it_shows_which_workload_lacks_them(self) -> None:
        """Untouched, told of others, and not whole."""
        api = shop()
        made = target(api, WEB)
        assert made.lacks(self.OLD) == "deployment/web was not restarted for them"
        made.apply_of(self.OLD)
        assert made.lacks(self.OLD) is None
        assert made.lacks(self.NEW) == "deployment/web was not restarted for them"
        next(iter(api.objects.values()))["status"]["availableReplicas"] = 1
        assert "deployment/web is not whole: 3 of 3 pods" in str(made.lacks(self.OLD))

    def test_a_selector_without_workloads_has_nothing(self) -> None:
        """Keys that nobody runs with are not confirmed; going back there is nothing to do."""
        made = target(shop(), labels="tier=egde")
        words = "no workload in the namespace shop has the labels tier=egde"
        assert made.lacks(self.OLD) == words
        with pytest.raises(Transient, match=words):
            made.apply_of(self.OLD)
        with pytest.raises(Transient, match=words):
            made.apply_for([live("a", "aa")])
        made.revert_to(self.OLD)
        made.revert_for([live("a", "aa")], {})
        found = target(shop(), labels="tier=edge")
        found.apply_of(self.OLD)
        assert found.lacks(self.OLD) is None

    @pytest.mark.parametrize("act", ["get", "list"])
    def test_to_look_does_not_wait_for_the_api_server(self, act: str) -> None:
        """Whoever asks will ask again in a few seconds."""
        api = shop()

        def away(what: str, _path: str) -> None:
            if what == act:
                raise Transient("away")

        api.then = away
        with pytest.raises(Transient, match="away"):
            target(api, WEB, labels="tier=edge").lacks(self.OLD)
        assert api.clock.monotonic() == 0

    def test_going_back_puts_the_former_template_back(self) -> None:
        """So that the old pods are kept; twice is once."""
        api = shop()
        made = target(api, WEB, DB)
        made.apply_of(self.OLD)
        before = copy.deepcopy(list(api.objects.values()))
        target(api, WEB).apply_of(self.NEW)
        made.revert_to(self.OLD)
        made.revert_to(self.OLD)
        assert made.lacks(self.OLD) is None
        after = list(api.objects.values())
        templates = [[each["spec"]["template"] for each in every] for every in (before, after)]
        assert templates[0] == templates[1]
        assert patched(api) == ["web", "db", "web", "web"]

    def test_a_former_template_of_other_keys_is_restarted_once_more(self) -> None:
        """A restart for something else came between."""
        api = shop()
        made = target(api, WEB)
        made.apply_of(self.NEW)
        made.apply_for([live("app", "aa")])
        made.revert_to(self.OLD)
        assert made.lacks(self.OLD) is None


class TestVersions:
    """Pods mount the Secret of a generation."""

    def mounted(self, api: MemoryApi) -> dict[str, str]:
        """Which Secret each workload mounts."""
        specs = {
            each["metadata"]["name"]: each["spec"]["template"]["spec"]
            for each in api.objects.values()
        }
        return {
            name: spec["volumes"][0]["secret"]["secretName"]
            for name, spec in specs.items()
            if spec.get("volumes")
        }

    def test_found_workloads_are_found_again_and_again(self) -> None:
        """By the Secret that they mount now."""
        api = shop()
        using(api, web="a-tls", db="b-tls")
        secrets = {"a": "a-tls", "b": "b-tls"}
        made = target(api, mounting=True, versioned=True, secrets=secrets)
        made.apply_for([live("a", "1", "a.1"), live("b", "1", "b.1")])
        assert self.mounted(api) == {"web": "a.1", "db": "b.1"}
        made.check()
        assert not [line for line in made.look().warnings if "does not use" in line]
        made.apply_for([live("a", "2", "a.2")])
        assert self.mounted(api) == {"web": "a.2", "db": "b.1"}
        made.revert_for([live("a", "1", "a.1")], {})
        assert self.mounted(api) == {"web": "a.1", "db": "b.1"}
        plain = target(api, mounting=True, secrets=secrets)
        plain.apply_for([live("a", "3", "a.3")])
        assert self.mounted(api) == {"web": "a-tls", "db": "b.1"}

    def test_generations_elsewhere_are_refused_and_never_mounted(self) -> None:
        """The pods would not start."""
        api = shop()
        using(api, web="a-tls")
        secrets = {"a": "a-tls"}
        made = target(api, WEB, versioned=True, secrets=secrets, elsewhere=("a",))
        with pytest.raises(NeedsOperator, match="generations of the certificate a are not in the"):
            made.check()
        made.apply_for([live("a", "1", "a.1")])
        assert self.mounted(api) == {"web": "a-tls"}

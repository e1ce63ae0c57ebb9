"""What a target ``kubernetes`` looks at before a rotation, and which workloads it tells."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certrotd.errors import NeedsOperator, ProofFailed, Transient
from certrotd.kube.workloads import Reference
from certrotd.pki.generation import LiveCertificate
from tests.unit.kube.memory_api import budget, replica
from tests.unit.targets.kubernetes_shop import (
    DB,
    WEB,
    live,
    patched,
    probe,
    shop,
    target,
    told,
    using,
)


class TestCheck:
    """Before an order is spent."""

    def test_what_can_be_restarted_is_content(self) -> None:
        """Nothing is changed, and no more is asked than what will be needed."""
        api = shop()
        target(api, WEB).check()
        assert api.reviews == [
            "get apps/deployments web",
            "watch apps/deployments web",
            "patch apps/deployments web",
            "list /pods",
            "watch /pods",
            "list policy/poddisruptionbudgets",
            "create /events",
        ]
        assert not patched(api)

    def test_pods_are_deleted_for_statefulsets_alone(self) -> None:
        """So that only they need the right."""
        api = shop()
        target(api, DB).check()
        assert "delete /pods" in api.reviews

    def test_pods_that_are_looked_at_may_have_to_be_deleted(self) -> None:
        """After an undo, whatever their kind."""
        api = shop()
        target(api, WEB, probes=[probe()]).check()
        assert "delete /pods" in api.reviews

    def test_a_selector_needs_the_right_to_list(self) -> None:
        """Of all three kinds."""
        api = shop()
        target(api, labels="tier=edge").check()
        assert api.reviews[:3] == [
            "list apps/deployments",
            "list apps/statefulsets",
            "list apps/daemonsets",
        ]

    @pytest.mark.parametrize(
        ("denied", "words"),
        [
            ("get apps/statefulsets db", "may not get statefulsets/db"),
            ("patch apps/statefulsets db", "may not patch statefulsets/db"),
            ("list /pods", "may not list pods in"),
            ("list policy/poddisruptionbudgets", "may not list poddisruptionbudgets in"),
            ("delete /pods", "may not delete pods in"),
            ("create /events", "may not create events in"),
            ("list apps/daemonsets", "may not list daemonsets in"),
        ],
    )
    def test_each_right_that_is_missing_is_named(self, denied: str, words: str) -> None:
        """With the namespace."""
        api = shop()
        api.denied = {denied}
        [problem] = target(api, DB, labels="tier=edge").look().problems
        assert isinstance(problem, NeedsOperator)
        assert words in problem.message
        assert "namespace shop" in problem.message
        with pytest.raises(NeedsOperator, match=words):
            target(api, DB, labels="tier=edge").check()

    def test_a_workload_that_is_not_there_is_named(self) -> None:
        """A misspelt name must not mean that nothing is restarted."""
        with pytest.raises(NeedsOperator, match="there is no deployment/wbe in the namespace shop"):
            target(shop(), Reference("deployment", "wbe")).check()

    def test_a_selector_that_finds_nothing_is_refused(self) -> None:
        """For the same reason."""
        with pytest.raises(NeedsOperator, match=r"no workload in .* shop has the labels tier=egde"):
            target(shop(), labels="tier=egde").check()

    def test_a_paused_workload_is_refused(self) -> None:
        """Nothing would restart its pods until it is resumed."""
        api = shop()
        next(iter(api.objects.values()))["spec"]["paused"] = True
        [problem] = target(api, WEB).look().problems
        assert str(problem) == (
            "deployment/web in the namespace shop is paused (kubectl rollout resume deployment/web)"
        )

    def test_a_rollout_that_is_broken_or_goes_on_is_not_touched(self) -> None:
        """It may be over at the next try."""
        api = shop()
        next(iter(api.objects.values()))["status"]["availableReplicas"] = 1
        [problem] = target(api, WEB, DB).look().problems
        assert isinstance(problem, Transient)
        assert (
            "deployment/web in the namespace shop is not whole: 3 of 3 pods updated, 1 avail"
            in (problem.message)
        )

    def test_an_api_server_that_is_away_is_a_problem_at_once(self) -> None:
        """Nothing has begun that it should be waited for."""
        api = shop()

        def away(_what: str, _path: str) -> None:
            raise Transient("away")

        api.then = away
        with pytest.raises(Transient, match="away"):
            target(api, WEB).check()
        assert api.clock.monotonic() == 0

    def test_warnings_name_the_workload(self) -> None:
        """A rotation goes on all the same."""
        api = shop()
        next(iter(api.objects.values()))["spec"]["replicas"] = 1
        lines = target(api, WEB, DB).look().warnings
        assert [line.partition(":")[0] for line in lines] == ["deployment/web has one replica"]

    def test_a_port_that_takes_no_connection_is_refused(self) -> None:
        """Else the proof, and the proof of the undo, would fail after the swap."""
        api, asked = shop(), list[str]()
        api.pods = [replica(name, ready=True) for name in "abc"]

        def reach(address: str) -> None:
            asked.append(address)
            raise ConnectionRefusedError(111, "Connection refused")

        [problem] = target(api, WEB, probes=[probe(reach=reach)]).look().problems
        assert isinstance(problem, NeedsOperator)
        assert str(problem) == (
            "the pod a of deployment/web cannot be looked at: 10.0.0.a takes no connection: "
            "Connection refused (correct the port of pod_probe; or a NetworkPolicy keeps certrotd "
            "out)"
        )
        assert asked == ["10.0.0.a"]
        api.pods.clear()
        target(api, WEB, probes=[probe(reach=reach)]).check()

    def test_what_the_pods_show_is_told_for_the_undo(self) -> None:
        """Of the live certificate; a workload of another's Secret is not asked for it."""
        api = shop()
        api.pods = [replica(name, ready=True) for name in "abc"]
        api.pods += [replica(f"{name}2", of="proxy", ready=True) for name in "ab"]
        using(api, web="a-tls", proxy="b-tls")

        def look(certificate: LiveCertificate, address: str) -> None:
            assert certificate.fingerprint == "aa"
            if address == "10.0.0.b":
                raise ProofFailed("another one")

        made = target(
            api, mounting=True, probes=[probe(look)], secrets={"a": "a-tls", "b": "b-tls"}
        )
        found = made.checked_for([live("a", "aa")])
        assert found.shown == {"deployment/web": ["b"]}
        assert not [line for line in found.warnings if "pod_probe" in line]
        assert not made.checked_for([live("a", "")]).shown
        assert not made.checked_for(()).shown

    def test_a_budget_that_never_allows_anything_is_warned_of(self) -> None:
        """Nobody waits for it."""
        api = shop()
        api.budgets = [budget(healthy=3)]
        lines = [line for line in target(api, WEB, DB).look().warnings if "Budget" in line]
        assert lines == [
            "deployment/web is under the PodDisruptionBudget one, which never allows a disruption: "
            "its restart does not wait for it"
        ]


class TestApply:
    """Which workloads, in which order, are told of what."""

    def test_those_that_are_named_come_first_and_each_once(self) -> None:
        """The rest by kind and name."""
        api = shop()
        proxy = Reference("deployment", "proxy")
        target(api, proxy, WEB, labels="tier=edge").apply()
        assert patched(api) == ["proxy", "web", "api", "edge"]
        assert told(api) == dict.fromkeys(("web", "proxy", "api", "edge"), "")

    def test_a_restart_begins_with_what_was_looked_at_before(self) -> None:
        """Budgets are read again after ten seconds, and the workload if it has changed since."""
        api, path = shop(), "/apis/apps/v1/namespaces/shop/deployments/web"
        web = target(api, WEB)

        def asked(fingerprint: str) -> list[str]:
            api.log = []
            web.apply_for([live("a", fingerprint)])
            assert told(api) == {"web": f"a={fingerprint}"}
            return [each for each in api.log if each.split()[0] in ("get", "list", "patch")]

        budgets, patch = "list poddisruptionbudgets?", "patch web"
        read = ["get web", budgets, patch, "get web"]  # the last, for nobody may watch
        assert asked("aa") == read, "the control: nobody has looked"
        web.check()
        assert asked("bb") == [patch, "get web"]
        web.check()
        api.clock.advance(timedelta(seconds=11))
        assert asked("cc") == [budgets, patch, "get web"]
        web.check()
        api.clock.advance(timedelta(seconds=61))
        assert asked("dd") == read
        web.check()
        api.objects[path]["metadata"]["resourceVersion"] = "99"
        assert asked("ee") == [patch, "get web", patch, "get web"]
        web.check()
        api.budgets = [budget(healthy=2)]
        api.clock.advance(timedelta(seconds=11))
        with pytest.raises(Transient, match="the PodDisruptionBudget one has allowed no"):
            web.apply_for([live("a", "ff")])

    def test_several_certificates_are_one_restart(self) -> None:
        """One without a live generation has no fingerprint to note."""
        api = shop()
        certificates = (live("b", "bb"), live("a", "aa"), live("c", ""))
        target(api, WEB).apply_for(certificates)
        assert told(api) == {"web": "a=aa b=bb"}
        target(api, WEB).apply_for(certificates)
        assert patched(api) == ["web"]

    def test_going_back_is_for_the_same_workloads(self) -> None:
        """From the last one to the first."""
        api = shop()
        made = target(api, WEB, labels="tier=edge")
        made.apply_for([live("a", "new")])
        api.log.clear()
        made.revert_for([live("a", "old")], {})
        assert patched(api) == ["edge", "proxy", "api", "web"]
        assert told(api) == {}

    @pytest.mark.parametrize("failures", [2, 1000])
    def test_the_api_server_is_waited_for_where_workloads_are_looked_for(
        self, failures: int
    ) -> None:
        """Until the deadline."""
        api, left = shop(), [Transient("away")] * failures

        def away(what: str, _path: str) -> None:
            if what == "list" and left:
                raise left.pop()

        api.then = away
        if failures == 2:
            target(api, labels="tier=edge").apply()
            assert len(told(api)) == 3
            return
        with pytest.raises(Transient, match="away"):
            target(api, labels="tier=edge").apply()
        assert api.clock.monotonic() == 30

    def test_each_certificate_is_proven_on_each_pod(self) -> None:
        """One without a live generation has nothing to be proven by; nor has apply()."""
        api, proven = shop(), set()
        api.pods = [replica(name, ready=True) for name in "abc"]

        def prove(certificate: LiveCertificate, address: str) -> None:
            proven.add((certificate.certificate, address))

        made = target(api, WEB, probes=[probe(prove)])
        made.apply()
        assert not proven
        made.apply_for([live("b", "bb"), live("a", "aa"), live("c", "")])
        both = {(name, f"10.0.0.{pod}") for name in "ab" for pod in "abc"}
        assert proven == both
        proven.clear()
        made.revert_for([live("a", "old"), live("b", "old")], {"deployment/web": []})
        assert proven == both
        proven.clear()
        made.revert_for([live("a", "old")], {"deployment/web": ["a"]})
        assert proven == {("a", f"10.0.0.{pod}") for pod in "bc"}
        proven.clear()
        made.revert_for([live("a", "old")], {})
        assert not proven

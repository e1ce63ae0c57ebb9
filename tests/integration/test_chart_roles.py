"""The Roles of the Helm chart are what the documentation says, and what the code asks for."""

from __future__ import annotations

import pytest
import yaml

from certrotd.kube.state import NEEDED
from certrotd.outputs.secret_entries import NEEDED as NEEDED_OUTPUT
from certrotd.stores.live_secret import NEEDED_LIVE, NEEDED_OWN
from tests.parts.kubernetes.api import Object
from tests.parts.kubernetes.chart import (
    CHART,
    MODES,
    HelmRefused,
    changed,
    example,
    one,
    rewriting,
    template,
)
from tests.unit.targets.kubernetes_page import role, rules

ROOT = CHART.parents[2]
RELOADS = {
    "type": "kubernetes",
    "namespace": "shop",
    "workloads": ["deployment/web"],
    "mode": "exec",
    "command": ["nginx", "-s", "reload"],
    "files": ["/tls/tls.crt"],
    "pod_probe": [{"port": 8443}],
}


def triples(rules: list[Object]) -> set[tuple[str, str, str]]:
    """Group, resource and verb of each right that rules give, whatever its names."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def triples_of(*kinds: str) -> set[tuple[str, str, str]]:
    """Those that a page gives for all kinds of workloads."""
    return {("apps", kind, verb) for kind in kinds for verb in ("get", "watch", "patch")}


def blocks(page: str) -> list[Object]:
    """The YAML of a page."""
    texts = (text.partition("```")[0] for text in page.split("```yaml\n")[1:])
    return [each for text in texts for each in yaml.safe_load_all(text) if isinstance(each, dict)]


def lists(page: str) -> list[list[Object]]:
    """The lists in the YAML of a page."""
    texts = (text.partition("```")[0] for text in page.split("```yaml\n")[1:])
    return [each for text in texts for each in yaml.safe_load_all(text) if isinstance(each, list)]


class TestRights:
    """What the Roles say is what the documentation says, and what the code asks for."""

    def test_of_the_state_and_the_generations(self) -> None:
        """In the release's namespace."""
        found = one(template(example("deployment")), "Role", namespace="certrotd")["rules"]
        given = {rule["resources"][0]: tuple(rule["verbs"]) for rule in found}
        assert given == {kind.plural: verbs for kind, verbs in NEEDED.items()}
        assert set(given["secrets"]) >= set(NEEDED_OWN)
        page = (ROOT / "docs" / "cluster-state.md").read_text()
        [shown] = [each for each in blocks(page) if each.get("kind") == "Role"]
        assert found == shown["rules"]

    def test_where_the_workloads_are(self) -> None:
        """By their names; pods are deleted because there is a StatefulSet."""
        secrets, *found = one(template(example("deployment")), "Role", namespace="shop")["rules"]
        assert tuple(secrets["verbs"]) == NEEDED_LIVE
        assert secrets["resourceNames"] == ["shop-tls"]
        named = {rule["resources"][0]: rule.get("resourceNames") for rule in found}
        assert named.pop("deployments") == ["canary", "web"]
        assert named.pop("statefulsets") == ["queue"]
        assert not any(named.values())
        assert triples(found) == triples(role()) - triples_of("daemonsets")

    def test_where_programs_are_run(self) -> None:
        """Nothing is patched nor deleted, but anything may be run: only if that is asked for."""
        values = changed("deployment", "config.targets.shop", RELOADS)
        with pytest.raises(HelmRefused, match=r"target shop has mode exec: .* set rbac.podsExec"):
            template(values)
        values["rbac"] = {"podsExec": True}
        _, *found = one(template(values), "Role", namespace="shop")["rules"]
        assert triples(found) == triples(role(execs=True)) - triples_of(
            "statefulsets", "daemonsets"
        )

    def test_of_a_mode_that_only_looks(self) -> None:
        """Beside a target that restarts another workload, and one that finds all."""
        watched: Object = {"type": "kubernetes", "namespace": "shop", "mode": "none"}
        watched["pod_probe"] = [{"port": 8443}]
        values = changed(
            "deployment", "config.targets.own", watched | {"workloads": ["daemonset/a"]}
        )
        found = one(template(values), "Role", namespace="shop")["rules"]
        [daemonsets] = [rule for rule in found if rule["resources"] == ["daemonsets"]]
        assert (daemonsets["resourceNames"], daemonsets["verbs"]) == (["a"], ["get", "watch"])
        values["config"]["targets"]["own"] = watched | {"selector": "tier=edge"}
        found = one(template(values), "Role", namespace="shop")["rules"]
        [listed] = [rule for rule in found if "daemonsets" in rule["resources"]]
        assert listed["verbs"] == ["get", "list", "watch"]
        [named] = [rule for rule in found if rule["resources"] == ["deployments"]]
        assert named["verbs"] == ["get", "watch", "patch"]

    @pytest.mark.parametrize("found", [{"selector": "tier=edge"}, {"mounting": True}])
    def test_of_what_is_found(self, found: Object) -> None:
        """Names cannot narrow a list."""
        target = {"type": "kubernetes", "namespace": "shop", **found}
        values = changed("deployment", "config.targets", {"shop": target})
        given = one(template(values), "Role", namespace="shop")["rules"]
        *_, listing = rules()
        assert listing in given
        assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]} in given

    def test_pods_are_not_deleted_without_a_statefulset(self) -> None:
        """The control."""
        values = changed("deployment", "config.targets.shop.workloads", ["daemonset/edge"])
        found = one(template(values), "Role", namespace="shop")["rules"]
        assert {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]} in found
        assert not any("delete" in rule["verbs"] for rule in found)
        assert [r["resourceNames"] for r in found if r["resources"] == ["daemonsets"]] == [["edge"]]

    def test_pods_are_deleted_where_each_is_probed(self) -> None:
        """Those that still serve a certificate that was undone."""
        values = changed("deployment", "config.targets.shop.workloads", ["deployment/web"])
        values["config"]["targets"]["shop"]["pod_probe"] = [{"port": 8443}]
        found = one(template(values), "Role", namespace="shop")["rules"]
        assert {
            "apiGroups": [""],
            "resources": ["pods"],
            "verbs": ["list", "watch", "delete"],
        } in found

    def test_of_a_keyring_in_secrets(self) -> None:
        """By their names, as for certificates; in the release's namespace, if none is named."""
        outputs = [
            {"type": "tink", "secret": {"name": "keys", "key": "a", "namespace": "shop"}},
            {"type": "tink", "secret": {"name": "own", "key": "a"}},
            {"type": "tink", "path": "/keys/file"},
        ]
        values = changed("deployment", "config.keyrings", {"payments": {"outputs": outputs}})
        objects = template(values)
        secrets = one(objects, "Role", namespace="shop")["rules"][0]
        assert secrets["resourceNames"] == ["keys", "shop-tls"]
        assert tuple(secrets["verbs"]) == NEEDED_OUTPUT
        own = [e for e in objects if e["kind"] == "Role" and e["metadata"]["namespace"] != "shop"]
        assert [e["rules"][0].get("resourceNames") for e in own] == [None, ["own"]]

    def test_of_an_application_that_is_cut_over(self) -> None:
        """As docs/keys/cut-over.md has it, by the names of the workloads, and nothing more."""
        dataset = {"url": "postgresql://c@db/l", "table": "e", "columns": ["b"], "codec": "fernet"}
        keyring = {
            "algorithm": "fernet",
            "outputs": [{"type": "dotenv", "secret": {"name": "k", "key": "env"}, "key": "K"}],
            "datasets": {"entries": {"type": "sql", **dataset}},
            "cutover": {
                "scale": {"namespace": "books", "workloads": ["deployment/tickets"]},
                "probe": {"command": ["/bin/true"]},
            },
        }
        objects = template(changed("deployment", "config.keyrings", {"tickets": keyring}))
        given = triples(one(objects, "Role", namespace="books")["rules"])
        page = (ROOT / "docs" / "keys" / "cut-over.md").read_text()
        [shown] = [each for each in lists(page) if "apiGroups" in each[0]]
        assert triples(shown) <= given
        assert given - triples(shown) == {
            ("apps", "deployments", "watch"),
            ("", "pods", "watch"),
        }, "what every target has"

    def test_of_objects_that_are_written_anew(self) -> None:
        """As docs/keys/kubernetes.md has it, in all namespaces: only if that is asked for."""
        values = rewriting()
        objects = template(values)
        page = (ROOT / "docs" / "keys" / "kubernetes.md").read_text()
        shown = yaml.safe_load(page.partition("```clusterrole\n")[2].partition("```")[0])
        given = one(objects, "ClusterRole")
        assert triples(given["rules"]) == triples(shown["rules"])
        binding = one(objects, "ClusterRoleBinding")
        assert binding["roleRef"]["name"] == given["metadata"]["name"] == "certrotd.certrotd"
        assert not {"namespace"} & {*given["metadata"], *binding["metadata"]}
        del values["rbac"]
        with pytest.raises(HelmRefused, match=r"dataset objects .* set rbac\.rewriteObjects=true"):
            template(values)
        values["rbac"] = {"create": False}
        assert not [each for each in template(values) if "Role" in each["kind"]]

    def test_of_objects_that_are_written_anew_in_some_namespaces(self) -> None:
        """In these alone, beside what else is needed there; of groups of others as well."""
        resources = ["secrets", "widgets.example.com", "leases.coordination.k8s.io"]
        objects = template(rewriting(namespaces=["shop", "books"], resources=resources))
        assert not [each for each in objects if each["kind"].startswith("Cluster")]
        books = one(objects, "Role", namespace="books")["rules"]
        assert triples(books) == {
            (group, plural, verb)
            for plural, _, group in (each.partition(".") for each in resources)
            for verb in ("list", "patch")
        }
        shop = one(objects, "Role", namespace="shop")["rules"]
        assert all(rule in shop for rule in books)
        assert shop[0]["resourceNames"] == ["shop-tls"], "what its certificate needs"

    def test_that_others_have_are_added_by_hand(self) -> None:
        """In any namespace."""
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}
        values = changed("deployment", "rbac.extraRules", {"shop": [rule], "other": [rule]})
        objects = template(values)
        assert rule in one(objects, "Role", namespace="shop")["rules"]
        assert one(objects, "Role", namespace="other")["rules"] == [rule]

    def test_are_none_in_a_sidecar_nor_for_another_cluster(self) -> None:
        """What has a kubeconfig is not asked of this API server."""
        assert not {"Role", "RoleBinding"} & {e["kind"] for e in template(example("sidecar"))}
        values = example("deployment")
        values["config"]["targets"]["shop"]["kubeconfig"] = "/run/secrets/certrotd/kubeconfig"
        values["config"]["certificates"][0]["store"]["kubeconfig"] = "/run/secrets/certrotd/k"
        keyrings = rewriting(kubeconfig="/run/secrets/certrotd/k")["config"]["keyrings"]
        values["config"]["keyrings"] = keyrings
        objects = template(values)
        assert [e["metadata"]["namespace"] for e in objects if "Role" in e["kind"]] == [
            "certrotd",
            "certrotd",
        ], "a Role and its binding"

    def test_are_never_cluster_wide(self) -> None:
        """In any mode."""
        for mode in MODES:
            assert not [e for e in template(example(mode)) if e["kind"].startswith("Cluster")]

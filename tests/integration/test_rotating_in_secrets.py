"""Certificates that are kept in a cluster, rotated by the program as users run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import OTHER_PAIR, PAIR
from tests.integration.live_secrets import EXPIRED
from tests.parts.kubernetes import ControlPlane
from tests.parts.kubernetes.secrets import Shop, rules, tls_secret
from tests.parts.pki import make_leaf, make_root
from tests.parts.site import Site

HOST = "web.example.test"
MOST_CALLS = 12
"""For a rotation by a process of its own, its state in files; two of them are for its rights."""


@pytest.fixture
def shop(control_plane: ControlPlane) -> Shop:
    """Two namespaces for the certificate web."""
    return Shop.made(control_plane, "web")


@pytest.fixture
def entry(shop: Shop, site: Site) -> dict[str, Any]:
    """The certificate's entry ``store:``, in a configuration with an authority of its own."""
    config = shop.who.write_kubeconfig(site.directory / "kubeconfig", shop.own)
    store: dict[str, Any] = {
        "type": "kubernetes",
        "secret": "web",
        "namespace": shop.workloads,
        "generations": shop.own,
        "kubeconfig": str(config),
    }
    site.internal()
    site.certificate("web", HOST, store=store, keep=1)
    return store


def files(site: Site) -> list[str]:
    """What `watch` finds wrong with the certificate."""
    [row] = [
        each for each in site.run("watch", "--json").json if each["key"].startswith("files of")
    ]
    return [each["kind"] for each in row["findings"]]


def applied(shop: Shop) -> int:
    """How often the account has changed the live Secret."""
    return sum(each.startswith("patch") and "dryRun" not in each for each in shop.calls())


def own(shop: Shop) -> list[str]:
    """The names of certrotd's own Secrets."""
    found = shop.plane.api.get(f"/api/v1/namespaces/{shop.own}/secrets")["items"]
    return sorted(each["metadata"]["name"] for each in found)


def test_a_certificate_is_rotated_in_its_secret(
    shop: Shop, site: Site, entry: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """With few requests; earlier generations are pruned, and one is gone back to."""
    site.rotate("web")
    first = shop.data()
    assert site.status("web")["generation"] == 1
    for number in (2, 3):
        before = len(shop.calls())
        site.rotate("web", "--force")
        calls = shop.calls()[before:]
        assert site.status("web")["generation"] == number
    reviews = [each for each in calls if "selfsubject" in each]
    with capsys.disabled():
        print(f"\n{len(calls)} requests for a rotation, {len(reviews)} for rights")  # noqa: T201
    assert len(calls) <= MOST_CALLS
    assert shop.data()["tls.crt"] != first["tls.crt"]
    generations = [each for each in own(shop) if each.rpartition(".")[2].isdigit()]
    assert generations == ["certrotd-store.web.000002", "certrotd-store.web.000003"]
    second = shop.plane.api.get(f"/api/v1/namespaces/{shop.own}/secrets/{generations[0]}")
    assert site.run("rollback", "web").code == 0
    assert shop.secret()["data"] == second["data"]
    assert not any("staging" in each for each in own(shop))
    assert not list(site.store.glob("web/generations/*")), "nothing of it is kept in files"


def test_a_secret_is_adopted_with_the_pair_in_it(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """Unasked it is refused, before an order; asked, nothing changes in it."""
    pair = make_leaf(make_root(), HOST)
    shop.put(pair)
    refused = site.rotate("web", expect=1)
    assert "is there and not certrotd's" in refused.stdout
    assert shop.data()["tls.crt"] == pair.fullchain_pem
    entry["adopt"] = True
    site.rotate("web")
    found = site.status("web")
    assert found["generation"] == 1
    assert shop.data() == {"tls.crt": pair.fullchain_pem, "tls.key": pair.key_pem}
    assert "certrotd-store.web.000001" in own(shop)


def test_where_there_is_nothing_to_adopt_a_certificate_is_ordered(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """As for files; an expired pair is none to adopt."""
    entry["adopt"] = True
    shop.put(EXPIRED)
    site.rotate("web")
    assert shop.data()["tls.crt"] != EXPIRED.fullchain_pem
    assert site.status("web")["generation"] == 1


def test_a_foreign_change_is_found_or_put_right(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """A valid one is a finding, a broken one is repaired by the next run."""
    site.rotate("web")
    good = shop.data()
    assert files(site) == []
    shop.fill(OTHER_PAIR)
    assert files(site) == ["foreign_change"]
    site.rotate("web")
    assert shop.data()["tls.crt"] == OTHER_PAIR.fullchain_pem
    shop.fill(OTHER_PAIR, key=PAIR.key_pem)
    assert files(site) == ["damaged"]
    site.rotate("web")
    assert shop.data() == good
    for _ in range(9):
        shop.fill(EXPIRED)
        site.rotate("web")
    assert shop.data()["tls.crt"] == EXPIRED.fullchain_pem
    assert files(site) == ["foreign_change"]
    assert "put it right too often" in site.run("plan", "web").stdout
    site.rotate("web", "--force")
    assert files(site) == []


def test_a_missing_right_is_said_before_an_order(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """Nothing is begun; with the right it goes on."""
    shop.allow_live({**rules("web")[1], "verbs": ["get", "create"]})
    run = site.rotate("web", expect=1)
    assert "the account may not patch secrets/web in the namespace" in run.stdout
    assert own(shop) == []
    shop.allow_live(rules("web")[1])
    site.rotate("web")
    assert site.status("web")["generation"] == 1


def test_a_placeholder_stands_in_until_there_is_a_certificate(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """Pods that mount the Secret can start."""
    site.config["certificates"][0]["bootstrap"] = "self-signed"
    site.rotate("web")
    assert site.status("web")["generation"] == 2
    assert "certrotd-store.web.000001" in own(shop)


def test_one_secret_that_is_refused_holds_up_no_other(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """Each certificate is on its own, and a look says what is the matter."""
    site.certificate("files", "files.example.test")
    site.rotate("files")
    site.certificate(
        "lost",
        "lost.example.test",
        store={**entry, "secret": "lost", "kubeconfig": str(site.directory / "none")},
    )
    run = site.rotate(expect=1)
    assert "cannot be used as a kubeconfig" in run.stdout
    assert shop.data()["tls.crt"]


def test_the_secret_of_somebody_else_is_named_when_it_is_immutable(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """Nobody can replace it."""
    entry["adopt"] = True
    secret = tls_secret("web", PAIR.key_pem, PAIR.fullchain_pem, immutable=True)
    shop.plane.api.create(f"/api/v1/namespaces/{shop.workloads}/secrets", secret)
    run = site.rotate("web", expect=1)
    assert "is immutable" in run.stdout
    assert shop.data()["tls.crt"] == PAIR.fullchain_pem


def test_a_kubeconfig_that_is_not_there_is_found_by_a_check(
    site: Site, entry: dict[str, Any], tmp_path: Path
) -> None:
    """By its place in the configuration."""
    assert site.run("config", "check").code == 0
    entry["kubeconfig"] = str(tmp_path / "none")
    run = site.run("config", "check")
    assert run.code != 0
    assert "certificates[web].store.kubeconfig" in run.stdout + run.stderr


def test_a_certificate_of_an_untrusted_issuer_never_reaches_the_secret(
    shop: Shop, site: Site, entry: dict[str, Any]
) -> None:
    """The roots that the proof would go by are asked before; the control trusts the issuer."""
    site.rotate("web")
    good = shop.data()
    other = make_root("another").write(site.directory / "other", "other")[0]
    site.command("pods", "true", probe=[{"address": "127.0.0.1:1", "sni": HOST}])
    [probe] = site.config["targets"]["pods"]["probe"]
    probe |= {"roots": str(other), "deadline": "1s"}
    site.config["certificates"][0]["targets"] = ["pods"]
    run = site.rotate("web", "--force", expect=1)
    assert "would not be trusted with it" in run.stdout
    assert shop.data() == good
    assert applied(shop) == 1, "that of the first rotation"
    del probe["roots"]
    run = site.rotate("web", "--force", expect=1)
    assert "would not be trusted" not in run.stdout
    assert applied(shop) > 1

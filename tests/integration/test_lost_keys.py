"""Keys that only certrotd has, and that are gone: nothing is made anew without a word."""

from __future__ import annotations

import shutil

import pytest

from tests.parts import Pebble
from tests.parts.site import Site, exposed_keys, snapshot, why_failed


class TestAPrivateCA:
    """``internal/NAME``, root and key."""

    @pytest.fixture
    def lab(self, site: Site) -> Site:
        """A certificate of a private CA."""
        site.internal("lab")
        site.certificate("web", "web.example.test", issuer="lab")
        site.rotate()
        return site

    def test_a_lost_root_is_not_made_anew_by_itself(self, lab: Site) -> None:
        """Every client would refuse what it signs, and nobody would know why."""
        before = lab.tree()
        kept = lab.directory / "backup"
        shutil.move(lab.state / "internal/lab", kept)
        for arguments in (("--force",), ("web", "--force")):
            why = why_failed(lab.rotate(*arguments, expect=1), "web")
            assert "the root of the CA lab is gone" in why
            assert "web is live of it" in why
            assert "restore" in why
            assert "certrotd internal init lab" in why
        assert not (lab.state / "internal/lab").exists()
        assert lab.generation("web") == 1

        shutil.move(kept, lab.state / "internal/lab")
        lab.rotate("--force")
        after = lab.tree()
        assert all(before[each] == after[each] for each in before if "lab/root" in each)

    def test_init_makes_another_root_and_says_where(self, lab: Site) -> None:
        """The way out where there is no backup."""
        old = (lab.state / "internal/lab/root.pem").read_bytes()
        shutil.rmtree(lab.state / "internal/lab")
        run = lab.run("internal", "init", "lab")
        assert run.code == 0, run.stderr
        path = lab.state / "internal/lab/root.pem"
        assert f"the root of the CA lab is {path}" in run.stdout
        assert path.read_bytes() != old
        assert "certrotd rotate web --force issues its certificates again now" in run.stderr
        assert exposed_keys(lab.directory) == []
        lab.rotate("--force")
        assert lab.live("web").joinpath("chain.pem").read_bytes() == path.read_bytes()
        events = [each["event"] for each in lab.run("audit", "show", "--json").json]
        assert events.count("root.made") == 2

    def test_init_leaves_a_root_that_is_there(self, lab: Site) -> None:
        """Also half of one: somebody has to look first."""
        before = snapshot(lab.state / "internal/lab")
        run = lab.run("internal", "init", "lab")
        assert run.code == 1
        assert "has a root" in run.stderr
        assert snapshot(lab.state / "internal/lab") == before
        (lab.state / "internal/lab/root.key").unlink()
        run = lab.run("internal", "init", "lab")
        assert run.code == 1
        assert "has a root.pem and no root.key" in run.stderr

    def test_init_before_the_first_certificate(self, site: Site) -> None:
        """So that clients can be given the root before anything is served."""
        site.internal("lab")
        run = site.run("internal", "init", "lab")
        assert run.code == 0
        assert "rotate" not in run.stderr  # there is nothing to issue anew
        root = (site.state / "internal/lab/root.pem").read_bytes()
        site.certificate("web", "web.example.test", issuer="lab")
        site.rotate()
        assert site.live("web").joinpath("chain.pem").read_bytes() == root

    def test_init_of_what_is_no_private_ca(self, lab: Site) -> None:
        """A mistake in usage."""
        run = lab.run("internal", "init", "lap")
        assert run.code == 2
        assert "there is no issuer 'lap' of type internal" in run.stderr
        assert 'did you mean "lab"?' in run.stderr

    def test_certificates_of_another_ca_of_that_name_do_not_block_a_new_root(
        self, lab: Site
    ) -> None:
        """The negative control: a certificate of somebody else needs no root of ours."""
        shutil.rmtree(lab.state / "internal/lab")
        shutil.rmtree(lab.store / "web")
        lab.rotate()
        assert lab.generation("web") == 1


def test_a_lost_account_is_registered_again_aloud(acme_site: Site, ca: Pebble) -> None:
    """It is said at the shell, and stays in the audit log."""
    site = acme_site
    site.certificate("web", "www.example.test", issuer="ca")
    site.rotate()
    shutil.rmtree(site.state / "accounts/ca")
    run = site.rotate("--force")
    said = "issuer ca: a new account is registered"
    [line] = [line for line in run.lines if said in line]
    assert "the one before is lost here; it issued web" in line
    records = [
        each
        for each in site.run("audit", "show", "--json").json
        if each["event"] == "account.registered"
    ]
    assert [each["subject"] for each in records] == ["issuer:ca"] * 2
    assert records[1]["details"]["url"] != records[0]["details"]["url"]
    assert records[1]["details"]["directory"] == ca.directory_url


def test_a_lost_account_key_is_refused_until_somebody_decides(acme_site: Site) -> None:
    """The file beside it says that there was one."""
    site = acme_site
    site.certificate("web", "www.example.test", issuer="ca")
    site.rotate()
    (site.state / "accounts/ca/account.key").unlink()
    why = why_failed(site.rotate("--force", expect=1), "web")
    assert "account.key is gone" in why
    assert "restore the key from a backup" in why
    assert "order" not in why
    (site.state / "accounts/ca/account.json").unlink()
    site.rotate("--force")
    assert site.generation("web") == 2

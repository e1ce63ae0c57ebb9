"""What fails after the swap is undone by itself, proven, and tried again without a new order."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from tests.parts import Nginx, Parts, Pebble, pki
from tests.parts.site import Site, orders, probe, serves, why_failed

HOST = "example.test"


class Frozen:
    """An nginx whose files are copies of the live ones: whatever is renewed, it serves the old."""

    def __init__(self, site: Site, parts: Parts, name: str = "web") -> None:
        self._site, self._name = site, name
        self._folder = site.directory / "frozen"
        self._folder.mkdir()
        for path in site.files(name):
            shutil.copy(path.resolve(), self._folder / path.name)
        chain, key = (self._folder / path.name for path in site.files(name))
        self.nginx: Nginx = parts.start(Nginx, {HOST: (chain, key)})

    def thaw(self) -> None:
        """Makes it read the live files, as its operator would mend it."""
        for path in self._site.files(self._name):
            copy = self._folder / path.name
            copy.unlink()
            copy.symlink_to(path)
        self._site.config["certificates"][0]["targets"][0]["probe"] = [probe(self.nginx, HOST)]


def serving_a_stale_copy(parts: Parts, site: Site, **options: object) -> Frozen:
    """A certificate that was issued, and an nginx that will never show another one."""
    entry = site.certificate("web", HOST, **options)
    site.rotate()
    frozen = Frozen(site, parts)
    site.nginx(frozen.nginx)
    entry["targets"] = [{"target": "nginx", "probe": [probe(frozen.nginx, HOST)]}]
    site.rotate()
    entry["targets"][0]["probe"] = [hasty(frozen, "2s")]
    return frozen


def hasty(frozen: Frozen, deadline: str) -> dict[str, object]:
    """A proof that soon fails, and on the way back takes a handshake: all of them are the same."""
    return {**probe(frozen.nginx, HOST, deadline), "consecutive": 1}


def test_a_reload_that_changes_nothing_is_undone_and_tried_again_without_an_order(
    parts: Parts, acme_site: Site, ca: Pebble
) -> None:
    """The reload "succeeds", the old certificate is served: what operators find weeks later."""
    site = acme_site
    frozen = serving_a_stale_copy(parts, site)
    old = site.leaf("web")
    spent = orders(ca)

    run = site.rotate("--force", expect=1)

    assert f"does not serve certificate {site.leaf('web', 2).fingerprint(SHA256()).hex()[:16]}" in (
        why_failed(run, "web")
    )
    assert (site.generation("web"), site.generations("web")) == (1, [1, 2])
    assert serves(frozen.nginx, HOST, site.leaf("web"))
    assert site.leaf("web") == old
    assert site.leftovers() == []
    assert orders(ca) == spent + 1

    again = site.rotate(expect=1)
    assert again.row("web")["decision"] == "deploy"
    seen = site.status("web")
    assert (seen["failures"], seen["newest_generation"], seen["generation"]) == (2, 2, 1)
    assert "does not serve" in seen["last_failure"]

    frozen.thaw()
    mended = site.rotate()
    assert mended.row("web")["result"] == "done"
    assert serves(frozen.nginx, HOST, site.leaf("web"))
    assert site.leaf("web") != old
    assert (site.generation("web"), orders(ca)) == (2, spent + 1)
    assert site.status("web")["failures"] == 0


@pytest.mark.parametrize("trouble", ["stopped", "broken"])
def test_an_nginx_that_cannot_reload_costs_no_order(
    parts: Parts, acme_site: Site, ca: Pebble, trouble: str
) -> None:
    """Rate limits are not spent on what is bound to fail."""
    site = acme_site
    site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    spent = orders(ca)
    if trouble == "stopped":
        nginx.stop()
    else:
        nginx.break_config()

    run = site.rotate("--force", expect=1)

    why = why_failed(run, "web")
    assert why.startswith("preflight: ")
    assert ("start nginx" if trouble == "stopped" else "no_such_directive") in why
    assert "nothing was changed" in why
    assert (orders(ca), site.generations("web"), site.leftovers()) == (spent, [1], [])

    nginx.start() if trouble == "stopped" else nginx.mend_config()
    site.rotate("--force")
    assert serves(nginx, HOST, site.leaf("web", 2))


def test_a_configuration_broken_after_the_checks_is_never_loaded(parts: Parts, site: Site) -> None:
    """Between the check and the reload somebody saves a mistake: nginx keeps what it has."""
    site.internal()
    entry = site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"}, wave=1)
    site.rotate()
    old = site.leaf("web")
    site.command("saboteur", f"echo 'no_such_directive on;' >> {nginx.config_path}")
    entry["targets"].append("saboteur")

    run = site.rotate("--force", expect=1)

    assert "no_such_directive" in why_failed(run, "web")
    assert why_failed(run, "web").startswith("apply: ")
    assert serves(nginx, HOST, site.leaf("web"))
    assert site.leaf("web") == old
    assert (site.generation("web"), site.leftovers()) == (1, [])
    assert nginx.is_running


def test_a_failing_second_wave_undoes_the_first(parts: Parts, site: Site) -> None:
    """Half a fleet on a new certificate that the other half refuses is nobody's wish."""
    site.internal()
    entry = site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    old = site.leaf("web")
    seen = site.directory / "seen-by-the-second-wave.pem"
    look = f"openssl s_client -connect 127.0.0.1:{nginx.port} -servername {HOST} </dev/null"
    entry["targets"][0]["probe"][0]["consecutive"] = 15  # no old worker is left to answer
    site.command("second", f"{look} 2>/dev/null | openssl x509 >> {seen}\nexit 3", wave=1)
    entry["targets"].append("second")

    run = site.rotate("--force", expect=1)

    assert "exited with 3" in why_failed(run, "web")
    assert serves(nginx, HOST, site.leaf("web"))
    assert site.leaf("web") == old
    assert (site.generation("web"), site.generations("web")) == (1, [1, 2])
    # told when the first wave was proven, and told again when the old files were back
    assert loaded(seen) == [site.leaf("web", 2), old]


def test_a_second_wave_waits_for_the_first_to_be_proven(parts: Parts, site: Site) -> None:
    """The other side of the test above: where the first fails, the second is not bothered."""
    site.internal()
    frozen = serving_a_stale_copy(parts, site)
    told = site.directory / "told"
    site.command("second", f"echo told >> {told}", wave=1)
    site.config["certificates"][0]["targets"].append("second")
    site.rotate("--force", expect=1)
    assert not told.exists()
    frozen.thaw()
    site.rotate()
    assert told.read_text() == "told\n"


def test_an_undo_that_fails_is_reported_and_tried_again(parts: Parts, site: Site) -> None:
    """A service that cannot be told of the old files either may still have loaded the new ones."""
    site.internal()
    entry = site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    old, mended = site.leaf("web"), site.directory / "mended"
    site.command("blind", f"test -e {mended}", wave=1)
    entry["targets"].append("blind")

    run = site.rotate("--force", expect=1)

    assert run.row("web")["result"] == "stuck"
    assert "the undo of baseline failed" in why_failed(run, "web")
    assert serves(nginx, HOST, site.leaf("web"))
    assert site.leaf("web") == old  # as far as it could be undone, it was
    assert site.status("web")["in_flight"]
    again = site.rotate(expect=1)
    assert (again.row("web")["result"], again.row("web")["recovered"]) == ("stuck", "stuck")

    mended.touch()
    assert site.rotate(expect=1).row("web")["recovered"] == "failed"  # undone at last, as it failed
    site.rotate()
    assert serves(nginx, HOST, site.leaf("web"))
    assert site.leaf("web") == site.leaf("web", 2)
    assert (site.generations("web"), site.leftovers()) == ([1, 2], [])


def test_an_expired_certificate_never_comes_back(parts: Parts, site: Site) -> None:
    """Where the only way back is expired, the new pair stays and the report says why."""
    site.internal()
    serving_a_stale_copy(parts, site)
    expire(site, 1)

    run = site.rotate(expect=1)

    assert run.row("web")["reason"].startswith("it expired at ")
    said = f"generation 2 stays in place at {site.store}/web/live: generation 1 cannot be used"
    assert said in why_failed(run, "web")
    assert site.generation("web") == 2
    assert site.leaf("web").not_valid_after_utc > datetime.now(UTC) + timedelta(days=29)


class TestByHand:
    """``certrotd rollback``."""

    def test_a_rollback_by_hand_stays_until_force_renews(self, parts: Parts, site: Site) -> None:
        """After an operator went back, no timer may undo that within the day."""
        site.internal()
        entry = site.certificate("web", HOST)
        nginx = site.serve(parts, {HOST: "web"})
        site.rotate("--force")
        site.rotate("--force")

        run = site.run("rollback", "web", "--json")

        assert (run.code, run.row("web")["result"]) == (0, "done")
        assert serves(nginx, HOST, site.leaf("web", 2))
        assert site.leaf("web", 2) == site.leaf("web")
        assert site.rotate().row("web")["decision"] == "wait"  # 3 is withdrawn, not overlooked

        entry["renew"] = {"at": 0.000001, "jitter": 0.0}  # due from now on
        held = site.rotate().row("web")
        assert (held["decision"], site.generation("web")) == ("postponed", 2)
        assert "held after a rollback by hand" in held["why"]
        assert site.status("web")["state"] == "postponed"

        entry["renew"] = {}
        site.rotate("--force")
        assert serves(nginx, HOST, site.leaf("web", 4))
        assert site.leaf("web", 4) == site.leaf("web")
        assert site.rotate().row("web")["decision"] == "wait"

    def test_a_rollback_goes_to_the_named_generation(self, parts: Parts, site: Site) -> None:
        """The generation before may be the one that brought the trouble."""
        site.internal()
        site.certificate("web", HOST)
        nginx = site.serve(parts, {HOST: "web"})
        site.rotate("--force")
        site.rotate("--force")
        assert site.run("rollback", "web", "--to", "1").code == 0
        assert serves(nginx, HOST, site.leaf("web", 1))
        there = site.run("rollback", "web", "--to", "1")
        assert there.code == 1
        assert "it is live already" in there.stdout

    def test_an_expired_or_mismatched_generation_is_refused(self, site: Site) -> None:
        """Going back must not be worse than staying."""
        site.internal()
        site.certificate("web", HOST)
        for _ in range(3):
            site.rotate("--force")
        expire(site, 1)
        for file in ("privkey.pem", "combined.pem"):  # either alone would tell what the other was
            stray = site.store / "web" / "generations" / "000002" / file
            stray.write_bytes(pki.make_root().key_pem)

        before = site.tree()
        expired, mismatched, either, unknown = (
            site.run("rollback", "web", *to)
            for to in (("--to", "1"), ("--to", "2"), (), ("--to", "9"))
        )

        assert [each.code for each in (expired, mismatched, either, unknown)] == [1, 1, 1, 1]
        assert "it expired at" in expired.stdout
        assert "privkey.pem differs from what was sealed" in mismatched.stdout
        assert "no earlier generation is usable" in either.stdout
        assert "cannot go back to generation 9: there is none" in unknown.stdout
        assert (site.generation("web"), site.tree()) == (3, before)

    def test_a_service_that_does_not_run_is_found_before_anything_changes(
        self, parts: Parts, site: Site
    ) -> None:
        """Nothing is swapped that could neither be proven nor taken back."""
        site.internal()
        site.certificate("web", HOST)
        nginx = site.serve(parts, {HOST: "web"})
        site.rotate("--force")
        nginx.stop()

        run = site.run("rollback", "web", "--json")

        assert (run.code, run.row("web")["result"]) == (1, "failed")
        assert why_failed(run, "web").startswith("preflight: ")
        assert (site.generation("web"), site.status("web")["in_flight"]) == (2, None)

    def test_going_back_that_fails_is_itself_undone(self, parts: Parts, site: Site) -> None:
        """A rollback is a rotation like any other: proven, or taken back."""
        site.internal()
        site.certificate("web", HOST)
        site.rotate()
        site.rotate("--force")
        frozen = Frozen(site, parts)
        site.nginx(frozen.nginx)
        site.config["certificates"][0]["targets"] = [
            {"target": "nginx", "probe": [hasty(frozen, "1s")]}
        ]
        run = site.run("rollback", "web", "--json")
        assert run.code == 1
        assert "does not serve" in why_failed(run, "web")
        assert serves(frozen.nginx, HOST, site.leaf("web"))
        assert site.leaf("web") == site.leaf("web", 2)


def expire(site: Site, generation: int) -> None:
    """Puts a pair that has expired in the place of a generation, instead of waiting for its end."""
    pair = pki.make_leaf(pki.make_root(), HOST, lifetime=timedelta(minutes=1))
    folder = site.store / "web" / "generations" / f"{generation:06d}"
    (folder / "privkey.pem").write_bytes(pair.key_pem)
    (folder / "fullchain.pem").write_bytes(pair.fullchain_pem)


def loaded(pem: Path) -> list[x509.Certificate]:
    """The certificates in a PEM file."""
    return x509.load_pem_x509_certificates(pem.read_bytes())

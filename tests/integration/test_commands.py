"""Every command as a user or a script meets it: exit codes, JSON, tables, and what it changes."""

import json
import subprocess

import pytest

from tests.parts import Nginx, Parts
from tests.parts.site import Site, probe

HOST, OTHER = "example.test", "other.example.test"


@pytest.fixture
def kept(site: Site) -> Site:
    """Two certificates, one of them there and one not yet."""
    site.internal()
    site.certificate("web", HOST, f"*.{HOST}")
    site.certificate("other", OTHER)
    site.rotate("web")
    return site


class TestExitCodes:
    """0 done or nothing due, 1 something failed, 2 usage or configuration."""

    def test_a_run_with_nothing_due_succeeds(self, kept: Site) -> None:
        """A timer must not page anybody for a quiet day."""
        assert kept.run("rotate", "web").code == 0
        assert kept.run("rotate", "--all").code == 0
        assert kept.run("rotate", "--all").code == 0

    def test_a_failure_among_successes_sets_the_exit_code(self, kept: Site) -> None:
        """certbot's timer that ends well while a hook failed is how outages begin."""
        kept.command("bad", "exit 1")
        kept.config["certificates"][0]["targets"] = ["bad"]
        run = kept.run("rotate", "--all")
        assert run.code == 1
        assert kept.generation("other") == 1

    @pytest.mark.parametrize(
        "arguments",
        [
            ["rotate"],
            ["rotate", "web", "--all"],
            ["rotate", "--every"],
            ["rollback"],
            ["rollback", "web", "--to", "first"],
            ["history", "-n", "0"],
            ["nonsense"],
        ],
    )
    def test_wrong_usage_is_reported(self, kept: Site, arguments: list[str]) -> None:
        """A mistyped option never means something else."""
        before = kept.tree()
        run = kept.run(*arguments)
        assert (run.code, run.stdout) == (2, "")
        assert "Usage: certrotd" in run.stderr
        assert kept.tree() == before

    def test_an_unknown_certificate_is_reported_with_the_nearest(self, kept: Site) -> None:
        """One line, not a traceback."""
        for command in ("rotate", "status", "plan", "history", "rollback"):
            run = kept.run(command, "wbe")
            assert (run.code, run.stdout) == (2, "")
            assert run.lines == ["certrotd: there is no certificate 'wbe' (did you mean \"web\"?)"]

    @pytest.mark.parametrize("command", ["rotate --all", "status", "plan", "history"])
    def test_an_unknown_key_is_reported_with_its_line(self, kept: Site, command: str) -> None:
        """A setting that is silently ignored is worse than none."""
        kept.config["certificates"][1]["tagets"] = ["nginx"]
        before = kept.tree()
        run = kept.run(*command.split())
        assert (run.code, run.stdout) == (2, "")
        text = kept.path.read_text().splitlines()
        line = 1 + next(at for at, each in enumerate(text) if "tagets" in each)
        [said] = run.lines
        assert said.startswith(f"certrotd: {kept.path}:{line}: certificates[other].tagets: ")
        assert 'did you mean "targets"?' in said
        assert kept.tree() == before

    def test_a_missing_configuration_is_reported(self, site: Site) -> None:
        """The first thing that happens to everybody."""
        run = site.run("status")
        site.path.unlink()
        gone = subprocess.run(
            site.command_line("status"), capture_output=True, text=True, check=False
        )
        assert run.code == 0
        assert (gone.returncode, gone.stdout) == (2, "")
        assert str(site.path) in gone.stderr
        assert len(gone.stderr.splitlines()) == 1


class TestListings:
    """Tables for people, JSON for programs."""

    @pytest.mark.parametrize(
        "command", ["status", "status --probe", "plan", "history", "rotate --all --dry-run"]
    )
    def test_json_is_all_of_standard_output(self, kept: Site, command: str) -> None:
        """Programs read these; a stray line would break every one of them."""
        run = kept.run(*command.split(), "--json")
        assert run.code == 0
        assert {row["name"] for row in run.json} >= {"web"}

    @pytest.mark.parametrize("command", ["status", "plan", "history"])
    def test_tables_have_a_heading_and_a_line_each(self, kept: Site, command: str) -> None:
        """What is piped into grep and awk has no colours and no frames."""
        run = kept.run(command)
        heading, *rows = run.stdout.splitlines()
        assert heading.split()[0] == "NAME"
        assert rows[0].startswith("web ")
        assert "\x1b" not in run.stdout

    def test_plan_says_what_when_why_and_how(self, kept: Site) -> None:
        """Before a change window somebody asks what would happen."""
        before = kept.tree()
        run = kept.run("plan", "--json")
        waiting, due = run.row("web"), run.row("other")
        assert (waiting["decision"], waiting["steps"]) == ("wait", [])
        assert waiting["at"] == kept.status("web")["next_check"]
        assert (due["decision"], due["why"]) == ("renew", "there is no certificate yet")
        assert due["steps"][:2] == ["preflight", "key"]
        assert due["steps"].index("issued") < due["steps"].index("swap")
        assert kept.tree() == before

    def test_history_shows_the_outcome_of_each_rotation(self, kept: Site) -> None:
        """The newest last, as in a log, and as many as asked for."""
        kept.rotate("web", "--force")
        once = kept.directory / "failed-once"
        kept.command("bad", f"test -e {once} && exit\ntouch {once}\necho no >&2\nexit 1")
        kept.config["certificates"][0]["targets"] = ["bad"]
        kept.rotate("web", "--force", expect=1)
        first, second, third = kept.run("history", "web", "--json").json
        assert [each["outcome"] for each in (first, second)] == ["finished", "finished"]
        assert (second["why"], second["failed_step"]) == ("forced by hand", None)
        assert third["failed_step"] == "apply"
        assert "exited with 1: no" in third["failure"]
        assert first["began"] <= first["ended"] <= second["began"]
        [last] = kept.run("history", "web", "-n", "1", "--json").json
        assert last == third
        assert "apply: " in kept.run("history").stdout


class TestInspect:
    """``certrotd inspect`` needs no configuration."""

    def test_a_file_and_an_endpoint_tell_the_same(self, parts: Parts, kept: Site) -> None:
        """What is on disk and what is served, compared in one glance."""
        nginx = parts.start(Nginx, {HOST: kept.files("web")})
        path = kept.live("web") / "fullchain.pem"
        leaf, root = kept.run("inspect", str(path), "--json").json
        [served] = kept.run("inspect", f"127.0.0.1:{nginx.port}", "--sni", HOST, "--json").json
        assert served == leaf
        assert set(leaf["names"]) == {HOST, f"*.{HOST}"}
        assert (leaf["expired"], root["is_ca"]) == (False, True)
        table = kept.run("inspect", str(path)).stdout
        assert leaf["fingerprint"] in table
        assert f"*.{HOST}" in table

    @pytest.mark.parametrize(
        ("what", "said"),
        [
            ("/no/such/file", "no such file"),
            ("127.0.0.1:9", "127.0.0.1:9"),
            ("127.0.0.1:http", "port"),
        ],
    )
    def test_a_missing_file_is_reported_in_one_line(self, site: Site, what: str, said: str) -> None:
        """The usual reason is a typing mistake."""
        run = site.run("inspect", what)
        assert (run.code, run.stdout) == (1, "")
        [line] = run.lines
        assert said in line

    def test_a_file_without_a_certificate_is_reported(self, site: Site) -> None:
        """A key is not shown, whatever it was asked for as."""
        key = site.directory / "some.key"
        key.write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
        run = site.run("inspect", str(key))
        assert run.code == 1
        assert "c2VjcmV0" not in run.stdout + run.stderr
        odd = site.run("inspect", str(key), "--starttls", "gopher")
        assert odd.code == 2
        assert "one of smtp, imap, pop3, ldap, postgres" in odd.stderr


class TestConfig:
    """``certrotd config``."""

    def test_check_lists_every_problem(self, kept: Site) -> None:
        """Mending one after another, run after run, is a waste of an afternoon."""
        fine = kept.run("config", "check")
        assert (fine.code, fine.stdout) == (0, "")
        assert "is valid" in fine.stderr
        kept.config["certificates"][0]["issuer"] = "cc"
        kept.config["certificates"][1]["keep"] = 0
        run = kept.run("config", "check")
        assert run.code == 2
        assert len(run.lines) == 2
        assert all(line.startswith(f"{kept.path}:") for line in run.lines)
        found = kept.run("config", "check", "--json").json
        assert [each["path"] for each in found] == [
            "certificates[web].issuer",
            "certificates[other].keep",
        ]

    def test_the_schema_is_json(self, kept: Site) -> None:
        """Editors read it."""
        schema = json.loads(kept.run("config", "schema").stdout)
        assert "certificates" in schema["properties"]


def test_a_target_without_a_probe_says_so(parts: Parts, kept: Site) -> None:
    """Told is not proven, and the listing does not pretend it is."""
    kept.command("told", "true")
    nginx = parts.start(Nginx, {HOST: kept.files("web")})
    kept.nginx(nginx)
    kept.config["certificates"][0]["targets"] = [
        "told",
        {"target": "nginx", "probe": [probe(nginx, HOST)]},
    ]
    kept.rotate()
    told, proven = kept.status("web")["targets"]
    assert (told["generation"], told["serves"], told["proven"]) == (1, None, None)
    assert (proven["generation"], proven["current"]) == (1, True)
    assert "told: generation 1, no probe" in kept.run("status").stdout

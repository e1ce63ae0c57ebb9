"""A real HAProxy gets a new certificate over its socket, while clients keep coming."""

from pathlib import Path
from typing import Any

import pytest

from certrotd.pki.facts import fingerprint
from tests.builders import OTHER_PAIR
from tests.parts import Parts
from tests.parts.handshakes import steady
from tests.parts.haproxy import Haproxy
from tests.parts.site import Site

NAME = "a.example.test"


@pytest.fixture
def made(site: Site) -> Site:
    """One with a certificate that is installed for HAProxy, and that nothing serves yet."""
    folder = site.directory / "haproxy"
    folder.mkdir()
    site.internal()
    site.certificate("web", NAME, install=[{"combined": str(folder / "web.pem")}])
    site.rotate()
    return site


def installed(site: Site) -> Path:
    """The file that HAProxy reads."""
    return Path(site.config["certificates"][0]["install"][0]["combined"])


def target(site: Site, haproxy: Haproxy, *ports: int, **options: Any) -> None:
    """That HAProxy, proven at its first frontend or at those ports."""
    probes = [{"address": f"127.0.0.1:{each}", "deadline": "60s"} for each in ports]
    site.config["targets"]["haproxy"] = {
        "type": "haproxy",
        "socket": str(haproxy.socket),
        "probe": probes or [{"address": f"127.0.0.1:{haproxy.port}", "deadline": "60s"}],
        **options,
    }
    site.config["certificates"][0]["targets"] = ["haproxy"]


def leaf(site: Site, generation: int | None = None) -> str:
    """The SHA-256 of a leaf."""
    return fingerprint(site.leaf("web", generation))


def test_a_certificate_is_replaced_under_load_without_a_failed_handshake(
    parts: Parts, made: Site
) -> None:
    """Both frontends, the second of which has it from a folder; and at a restart it is on disk."""
    file = installed(made)
    haproxy = parts.start(Haproxy, f"crt {file}", f"crt {file.parent}")
    target(made, haproxy, haproxy.port, haproxy.other_port)
    old, pid = leaf(made), haproxy.pid
    with steady(haproxy.port, NAME) as clients, steady(haproxy.other_port, NAME) as others:
        for each in (clients, others):
            each.await_more(old)
        assert made.rotate("--force").row("web")["result"] == "done"
        new = leaf(made)
        for each in (clients, others):
            each.await_more(new)
        made.run("rollback", "web")
        for each in (clients, others):
            each.await_more(old)
    assert clients.failed == others.failed == []
    assert set(clients.shown) == set(others.shown) == {old, new}
    assert haproxy.pid == pid
    assert made.rotate("--force").row("web")["result"] == "done"
    haproxy.restart()
    assert fingerprint(haproxy.served(NAME)) == leaf(made) not in {old, new}


def test_a_certificate_that_is_not_proven_is_undone_under_load(parts: Parts, made: Site) -> None:
    """Somebody's proxy in front shows another one: HAProxy has the former one again."""
    file = installed(made)
    haproxy = parts.start(Haproxy, f"crt {file}")
    stale = parts.start(Haproxy, f"crt {file}")
    target(made, haproxy)
    made.config["targets"]["haproxy"]["probe"] = [
        {"address": f"127.0.0.1:{haproxy.port}", "deadline": "60s"},
        {"address": f"127.0.0.1:{stale.port}", "deadline": "1s"},
    ]
    old = leaf(made)
    with steady(haproxy.port, NAME) as clients:
        run = made.rotate("--force", expect=1)
        assert leaf(made) == old, run.stdout
        clients.await_more(old)
    assert clients.failed == []
    assert len(clients.shown) == 2
    assert fingerprint(haproxy.served(NAME)) == old
    assert made.generation("web") == 1


def test_what_haproxy_would_not_read_again_is_refused_before_an_order(
    parts: Parts, made: Site, tmp_path: Path
) -> None:
    """It knows a file that certrotd does not write; once it reads an installed one, it is told."""
    copy = tmp_path / "copy.pem"
    copy.write_bytes(installed(made).read_bytes())
    haproxy = parts.start(Haproxy, f"crt {copy}")
    target(made, haproxy)
    run = made.rotate("--force", expect=1)
    assert f"HAProxy has read no file of web: it has read {copy}" in run.stdout
    assert str(installed(made)) in run.stdout
    assert made.generations("web") == [1]
    copy.unlink()
    copy.symlink_to(made.store / "web" / "live" / "combined.pem")
    assert made.rotate("--force").row("web")["result"] == "done"
    assert fingerprint(haproxy.served(NAME)) == leaf(made)


def test_a_socket_that_may_not_change_anything_is_refused(parts: Parts, made: Site) -> None:
    """And one of which nobody is there, or whose HAProxy another tool is just changing."""
    haproxy = parts.start(Haproxy, f"crt {installed(made)}", level="operator")
    target(made, haproxy)
    run = made.rotate("--force", expect=1)
    assert "does not let certrotd change certificates" in run.stdout
    assert "level admin" in run.stdout
    haproxy.stop()
    assert "HAProxy cannot be reached at" in made.rotate("--force", expect=1).stdout
    assert made.generations("web") == [1]


def test_certificates_of_a_list_are_replaced_each_in_their_turn(
    parts: Parts, made: Site, tmp_path: Path
) -> None:
    """Two certificates of one HAProxy, by crt-list, with a filter that stays."""
    other = made.directory / "haproxy" / "other.pem"
    made.certificate("other", "b.example.test", install=[{"combined": str(other)}])
    made.rotate()
    listed = tmp_path / "crt-list"
    listed.write_text(f"{installed(made)}\n{other} *.example.test\n")
    haproxy = parts.start(Haproxy, f"crt-list {listed}")
    target(made, haproxy)
    made.config["certificates"][1]["targets"] = ["haproxy"]
    run = made.rotate("--force")
    assert {run.row(name)["result"] for name in ("web", "other")} == {"done"}
    for name, host in (("web", NAME), ("other", "b.example.test")):
        assert fingerprint(haproxy.served(host)) == fingerprint(made.leaf(name))


def test_another_tools_change_is_left_alone(parts: Parts, made: Site, tmp_path: Path) -> None:
    """HAProxy takes one change at a time: certrotd waits for that one, before an order."""
    other = tmp_path / "other.pem"
    other.write_bytes(OTHER_PAIR.key_pem + OTHER_PAIR.fullchain_pem)
    haproxy = parts.start(Haproxy, f"crt {installed(made)} crt {other}")
    target(made, haproxy)
    haproxy.ask(f"set ssl cert {other} <<\n{other.read_text()}")
    run = made.rotate("--force", expect=1)
    assert f"{other} is being changed" in run.stdout
    assert made.generations("web") == [1]
    haproxy.ask(f"abort ssl cert {other}")
    # as a crash of ours would leave it
    haproxy.ask(f"set ssl cert {installed(made)} <<\n{installed(made).read_text()}")
    assert made.rotate("--force").row("web")["result"] == "done"

"""Watching: what clients would stumble over is found from outside, whoever renews it."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.parts import Nginx, Parts, pki
from tests.parts.site import Site, Started

HOST, OTHER = "example.test", "www.example.test"
ROOT = pki.make_root()
CA = pki.make_intermediate(ROOT)
FOREIGN = pki.make_intermediate(pki.make_root("somebody else's root"), "somebody else's CA")
GOOD = pki.make_leaf(CA, HOST, lifetime=timedelta(days=90))
LAST_WEEK = datetime.now(UTC) - timedelta(days=7)


def found(site: Site, *names: str) -> dict[str, list[str]]:
    """What one ``certrotd watch --json`` finds: the kinds by key."""
    run = site.run("watch", "--json", *names)
    kinds = {row["key"]: [each["kind"] for each in row["findings"]] for row in run.json}
    assert run.code == (1 if any(kinds.values()) else 0), run.stderr
    return kinds


def watched(site: Site, address: str, **options: Any) -> dict[str, Any]:
    """An entry of ``watch:`` that is added."""
    entry = {"address": address, **options}
    site.config.setdefault("watch", []).append(entry)
    return entry


@contextmanager
def running(site: Site) -> Iterator[Started]:
    """The daemon, looking every second."""
    site.config["watch_every"] = "1s"
    daemon = site.start("run")
    daemon.wait_for("started with")
    yield daemon
    daemon.signal()
    assert daemon.end().code == 0


def pairs(directory: Path, **leaves: pki.Pair) -> dict[str, tuple[Path, Path]]:
    """Files of each pair, by its name with dots."""
    return {name.replace("_", "."): pair.write(directory, name) for name, pair in leaves.items()}


def test_every_fault_of_a_real_server_is_found_and_a_sound_server_is_not(
    parts: Parts, site: Site
) -> None:
    """One nginx with a certificate of each kind, none of them certrotd's."""
    lonely = pki.Pair(GOOD.key, GOOD.certificate)
    served = pairs(
        site.directory / "served",
        good_test=pki.make_leaf(CA, "good.test", lifetime=timedelta(days=90)),
        expired_test=pki.make_leaf(CA, "expired.test", not_before=LAST_WEEK),
        ending_test=pki.make_leaf(
            CA, "ending.test", not_before=LAST_WEEK, lifetime=timedelta(days=8)
        ),
        early_test=pki.make_leaf(
            CA, "early.test", not_before=datetime.now(UTC) + timedelta(days=1)
        ),
        other_test=pki.make_leaf(CA, "another.test", lifetime=timedelta(days=90)),
        alone_test=lonely,
        foreign_test=pki.make_leaf(FOREIGN, "foreign.test", lifetime=timedelta(days=90)),
    )
    nginx = parts.start(Nginx, served)
    root = str(ROOT.write(site.directory / "root", "root")[0])
    for name in served:
        names = [HOST] if name == "alone.test" else []
        watched(site, f"127.0.0.1:{nginx.port}", sni=name, roots=root, names=names)
    kinds = found(site)
    assert {key.partition("(")[2].rstrip(")"): found for key, found in kinds.items()} == {
        "good.test": [],
        "expired.test": ["expired"],
        "ending.test": ["expiring"],
        "early.test": ["not_yet_valid"],
        "other.test": ["wrong_name"],
        "alone.test": ["broken_chain"],
        "foreign.test": ["broken_chain"],
    }


def test_without_roots_the_links_are_followed(parts: Parts, site: Site) -> None:
    """A chain whose certificates did not sign each other is broken for everybody."""
    torn = pki.Pair(GOOD.key, GOOD.certificate, FOREIGN.intermediates or [FOREIGN.certificate])
    served = pairs(site.directory / "served", good_test=GOOD, torn_test=torn)
    nginx = parts.start(Nginx, served)
    for name in served:
        address = f"127.0.0.1:{nginx.port}"
        watched(site, address, sni=name, roots="none", names=[HOST])
    assert list(found(site).values()) == [[], ["broken_chain"]]


def test_a_port_without_a_listener_is_found(site: Site, parts: Parts) -> None:
    """A port that nobody listens on, beside one that somebody does."""
    nginx = parts.start(Nginx, pairs(site.directory / "served", good_test=GOOD))
    root = str(ROOT.write(site.directory / "root", "root")[0])
    watched(site, f"127.0.0.1:{nginx.port}", sni=HOST, roots=root)
    watched(site, "127.0.0.1:1", sni=HOST, roots=root)
    assert list(found(site).values()) == [[], ["unreachable"]]


def test_managed_certificates_are_watched_without_configuration(parts: Parts, site: Site) -> None:
    """Files, copies and targets of a certificate, sound first, then each broken in turn."""
    site.internal()
    copies = site.directory / "copies"
    copies.mkdir()
    install = {"fullchain": str(copies / "web.pem"), "privkey": str(copies / "web.key")}
    site.certificate("web", HOST, install=[install])
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    target = f"web on nginx at 127.0.0.1:{nginx.port} ({HOST})"
    assert found(site) == {"files of certificate/web": [], target: []}

    good = (copies / "web.pem").read_bytes()
    (copies / "web.pem").write_bytes(GOOD.fullchain_pem)
    assert found(site)["files of certificate/web"] == ["copies_differ"]
    (copies / "web.pem").write_bytes(good)

    (copies / "web.key").chmod(0o600)
    assert found(site)["files of certificate/web"] == ["copies_differ"]
    (copies / "web.key").chmod(0o640)

    key = site.live("web") / "privkey.pem"
    kept = key.read_bytes()
    key.chmod(0o600)
    key.write_bytes(GOOD.key_pem)
    assert found(site)["files of certificate/web"] == ["damaged"]
    key.write_bytes(kept)
    key.chmod(0o640)
    assert found(site)["files of certificate/web"] == ["key_exposed"]
    key.chmod(0o600)
    assert found(site, "web") == {"files of certificate/web": [], target: []}


def test_a_service_restarted_by_hand_with_an_old_certificate_is_noticed_and_so_is_its_mending(
    parts: Parts, site: Site
) -> None:
    """The renewer has done its work; somebody else undid it, and it is told and told again."""
    site.internal()
    site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    folder = site.live("web")
    old = tuple(
        shutil.copy(folder / name, site.directory) for name in ("fullchain.pem", "privkey.pem")
    )
    site.rotate("web", "--force")
    sound = nginx.config_path.read_text()
    watched(site, f"127.0.0.1:{nginx.port}", sni=HOST, certificate="web")
    with running(site) as daemon:
        for path, live in zip(old, site.files("web"), strict=True):
            nginx.config_path.write_text(
                nginx.config_path.read_text().replace(str(live), str(path))
            )
        nginx.reload()
        daemon.wait_for(f"web on nginx at 127.0.0.1:{nginx.port} ({HOST}): it serves certificate")
        nginx.config_path.write_text(sound)
        nginx.reload()
        daemon.wait_for("no longer served mismatch")
        daemon.wait_for("no longer served mismatch")  # the entry and the target
    assert site.generation("web") == 2
    assert site.leftovers() == []


def test_a_rotation_is_no_mismatch(parts: Parts, site: Site) -> None:
    """Swapped and not yet reloaded is not wrong: nobody is called for it."""
    site.internal()
    entry = site.certificate("web", HOST)
    nginx = site.serve(parts, {HOST: "web"})
    site.rotate()
    watched(site, f"127.0.0.1:{nginx.port}", sni=HOST, certificate="web", after=1)
    slow = site.command("slow", "sleep 4")
    entry["targets"] = ["slow", *entry["targets"]]
    entry["key"] = "ecdsa-p384"
    assert slow.exists()
    site.config["watch_every"] = "1s"
    daemon = site.start("run")
    daemon.wait_for("web: done")
    daemon.signal()
    ended = daemon.end()
    assert ended.code == 0
    assert "it serves" not in ended.stderr
    assert nginx.served(HOST) == site.leaf("web", 2)


def test_entries_come_and_go_with_a_reload(site: Site) -> None:
    """What was taken out is told of no more, and what was put in is."""
    site.internal()
    watched(site, "127.0.0.1:1", sni=HOST, after=1)
    with running(site) as daemon:
        daemon.wait_for(f"127.0.0.1:1 ({HOST}): no TLS handshake: Connection refused")
        site.config["watch"] = []
        watched(site, "127.0.0.1:2", sni=OTHER, after=1)
        site.write()
        daemon.signal(1)
        daemon.wait_for(f"127.0.0.1:2 ({OTHER}): no TLS handshake: Connection refused")


def test_an_endpoint_that_hangs_stops_neither_the_others_nor_the_end(site: Site) -> None:
    """More of them than look at a time: each gives way to the next, and the longest to the end."""
    site.internal()
    with ExitStack() as stack:
        for timeout in ("2s", "2s", "2s", "2s", "1h"):
            mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            watched(site, f"127.0.0.1:{mute.getsockname()[1]}", sni=HOST, timeout=timeout)
        watched(site, "127.0.0.1:1", sni=OTHER, after=1)
        site.config["watch_every"] = "1s"
        daemon = site.start("run")
        daemon.wait_for(
            f"127.0.0.1:1 ({OTHER}): no TLS handshake: Connection refused",
            "no TLS handshake within 2s",
        )
        daemon.signal()
        assert daemon.end().code == 0

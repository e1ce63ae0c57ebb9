"""Data keys on bad days: a rotation waits, goes on or goes back; no key is lost, or too early."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable

import pytest

from tests.integration.daemon import reload, running
from tests.integration.keyring_shop import Shop, keyset, secret, tink
from tests.integration.test_small_disk import disk
from tests.parts.site import Site

pytestmark = pytest.mark.integration
__all__ = ["disk"]  # a fixture


@pytest.fixture
def shop(site: Site) -> Shop:
    """A keyring whose first key is in use."""
    shop = Shop(site)
    assert shop.run("rotate", "key/orders").code == 0
    return shop


@pytest.fixture
def held(shop: Shop) -> Shop:
    """Its rotation waits for one of its applications, which has not read the new key."""
    shop.deaf("web").touch()
    assert "waits for the acknowledgement of web" in shop.rotate().stdout
    assert shop.is_whole() == {1: "active", 2: "secondary"}
    return shop


def let_go_on(shop: Shop) -> None:
    """The application reads its keys, and the rotation ends."""
    shop.deaf("web").unlink(missing_ok=True)
    subprocess.run([shop.folder / "web.sh"], check=True)
    ran = shop.run("rotate", "key/orders")
    assert ran.code == 0, ran
    assert shop.is_whole() == {1: "decrypt-only", 2: "active"}


# The KEK and the document.


def test_a_kek_that_is_away_in_mid_rotation_stops_it_and_it_goes_on_after(held: Shop) -> None:
    """Neither forward nor back: what everybody has stays."""
    before = held.keys.read_bytes()
    held.kek.rename(held.kek.with_name("away"))
    ran = held.run("rotate", "key/orders")
    assert ran.code == 1
    assert f"the KEK {held.kek} is not there" in ran.stdout + ran.stderr
    assert held.keys.read_bytes() == before
    assert not held.kek.exists(), "a new one could open nothing"
    held.kek.with_name("away").rename(held.kek)
    let_go_on(held)


def test_another_kek_in_the_place_of_the_one_that_wrapped_is_refused(held: Shop) -> None:
    """Whoever makes a new one cannot be helped by it; the old one put back helps."""
    real, before = held.kek.read_bytes(), held.document.read_bytes()
    held.kek.write_bytes(secret())
    ran = held.run("rotate", "key/orders")
    assert ran.code == 1, ran
    assert held.document.read_bytes() == before
    listed = held.run("keys", "list")
    assert listed.code == 1, listed
    held.kek.write_bytes(real)
    let_go_on(held)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_kek_that_others_may_read_is_refused(shop: Shop, mode: int) -> None:
    """And the words say what to do."""
    shop.kek.chmod(mode)
    ran = shop.rotate(code=1)
    assert f"chmod 0600 {shop.kek}" in ran.stdout + ran.stderr
    shop.kek.chmod(0o600)
    shop.rotate()


def truncated(shop: Shop, old: bytes) -> bytes:
    """The first half of it."""
    del old
    data = shop.document.read_bytes()
    return data[: len(data) // 2]


def older(shop: Shop, old: bytes) -> bytes:
    """As it was before the rotation."""
    del shop
    return old


def of_another(shop: Shop, old: bytes) -> bytes:
    """That of another keyring, under the same KEK."""
    del old
    other = {"outputs": [{"type": "tink", "path": str(shop.folder / "app" / "other.json")}]}
    shop.site.config["keyrings"]["other"] = other
    assert shop.run("rotate", "key/other").code == 0
    return shop.document.with_name("other.json").read_bytes()


@pytest.mark.parametrize("made", [truncated, older, of_another])
def test_a_keyring_that_is_not_the_one_that_was_written_is_left_alone(
    shop: Shop, made: Callable[[Shop, bytes], bytes]
) -> None:
    """In mid-rotation: nothing is delivered from it, nothing begun anew, and it goes on after."""
    old = shop.document.read_bytes()
    shop.deaf("web").touch()
    shop.rotate()
    real, output = shop.document.read_bytes(), shop.keys.read_bytes()
    strange = made(shop, old)
    shop.document.write_bytes(strange)
    shop.deaf("web").unlink()
    for arguments in (
        ("rotate", "key/orders"),
        ("keys", "rotate", "orders", "--reason", "x"),
        ("keys", "deliver", "orders"),
        ("keys", "show", "orders"),
        ("status",),
    ):
        ran = shop.run(*arguments)
        assert ran.code == 1, (arguments, ran)
        assert str(shop.document) in ran.stdout + ran.stderr, (arguments, ran)
    assert shop.document.read_bytes() == strange
    assert shop.keys.read_bytes() == output
    shop.document.write_bytes(real)
    let_go_on(shop)


def test_a_keyring_that_is_gone_is_not_begun_anew(held: Shop) -> None:
    """Its data would be lost: only a backup brings it back."""
    data, output = held.document.read_bytes(), held.keys.read_bytes()
    held.document.unlink()
    for arguments in (("rotate", "key/orders"), ("keys", "rotate", "orders", "--reason", "x")):
        ran = held.run(*arguments)
        assert ran.code == 1
        assert "is gone" in ran.stdout + ran.stderr
    assert not held.document.exists()
    assert held.keys.read_bytes() == output
    held.document.write_bytes(data)
    let_go_on(held)


# The output.


def test_a_key_that_somebody_puts_into_the_output_is_never_overwritten(held: Shop) -> None:
    """In mid-rotation; at the word of a person it is kept aside, and the keys are written."""
    _, keys = keyset(held.keys)
    foreign = tink(*keys.values(), secret())
    held.keys.write_bytes(foreign)
    held.deaf("web").unlink()
    subprocess.run([held.folder / "web.sh"], check=True)
    for _ in range(2):
        ran = held.run("rotate", "key/orders")
        assert held.keys.read_bytes() == foreign
        assert "was changed by something else" in ran.stdout, ran
        assert "certrotd keys deliver orders --overwrite" in ran.stdout, ran
    ran = held.run("keys", "deliver", "orders", "--overwrite")
    assert "orders  done" in ran.stdout, ran  # and that the rotation in flight went back
    assert [each.read_bytes() for each in held.keys.parent.glob("keys.json.*")] == [foreign]
    assert held.rotate().code == 0
    assert held.is_whole() == {1: "decrypt-only", 2: "active"}


def test_an_output_that_is_gone_in_mid_rotation_is_written_again(held: Shop) -> None:
    """Somebody removed it; an application that starts has nothing to read."""
    held.keys.unlink()
    held.deaf("web").unlink()
    ran = held.run("rotate", "key/orders")
    assert ran.code == 0, ran
    assert held.is_whole() == {1: "decrypt-only", 2: "active"}
    assert set(keyset(held.keys)[1]) == set(keyset(held.own("web"))[1])


# Consumers.


def test_a_consumer_that_never_acknowledges_holds_the_rotation(held: Shop) -> None:
    """However often it is asked; nobody encrypts with the new key."""
    for _ in range(2):
        assert "waits for the acknowledgement of web" in held.run("rotate", "key/orders").stdout
        assert held.is_whole() == {1: "active", 2: "secondary"}
    let_go_on(held)


@pytest.mark.parametrize(
    "said",
    [
        b"0" * 64,
        b"",
        b"\0" * 64,
        b"\x1b[2J\x1b]0;owned\x07\n" * 3,
        b"yes " * 20_000,
        "\u202e\u2028ok".encode(),
        b"\xff\xfe\x00",
    ],
)
def test_a_wrong_or_hostile_acknowledgement_confirms_nothing(held: Shop, said: bytes) -> None:
    """And none of its bytes reach a terminal."""
    held.acknowledged("web").write_bytes(said)
    for ran in (held.run("rotate", "key/orders"), held.run("keys", "show", "orders", "--ask")):
        assert not set(ran.stdout + ran.stderr) & set("\x1b\0\x07\u202e\u2028\ufffd"), ran
    assert held.is_whole() == {1: "active", 2: "secondary"}


def test_an_acknowledgement_that_is_no_file_confirms_nothing(held: Shop) -> None:
    """A directory, a pipe that nobody writes to, a link."""
    ack = held.acknowledged("web")
    ack.unlink()
    ack.mkdir()
    assert "cannot be asked" in held.run("rotate", "key/orders").stdout
    ack.rmdir()
    os.mkfifo(ack)
    assert "waits for" in held.run("rotate", "key/orders").stdout
    ack.unlink()
    ack.symlink_to(held.acknowledged("worker"))
    assert "waits for" in held.run("rotate", "key/orders").stdout
    assert held.is_whole() == {1: "active", 2: "secondary"}
    ack.unlink()
    let_go_on(held)


def test_a_consumer_that_confirmed_and_restarts_with_old_keys_holds_the_rotation(
    held: Shop,
) -> None:
    """The first wave has confirmed and went back, while the second one was waited for."""
    first = json.loads(held.keys.read_bytes())
    first["key"] = first["key"][:1]
    held.own("worker").write_text(json.dumps(first))
    said = hashlib.sha256(held.own("worker").read_bytes()).hexdigest()
    held.acknowledged("worker").write_text(said)
    held.deaf("worker").touch()
    held.deaf("web").unlink()
    subprocess.run([held.folder / "web.sh"], check=True)
    ran = held.run("rotate", "key/orders")
    assert "waits for the acknowledgement of worker" in ran.stdout, ran
    assert held.is_whole() == {1: "active", 2: "secondary"}
    held.deaf("worker").unlink()
    subprocess.run([held.folder / "worker.sh"], check=True)
    let_go_on(held)


def test_a_consumer_that_is_added_in_mid_rotation_is_waited_for(held: Shop) -> None:
    """It has the old file: nothing encrypts with a key that it lacks."""
    held.entry["consumers"]["new"] = held.application("new", wave=1)
    held.deaf("new").touch()
    held.deaf("web").unlink()
    subprocess.run([held.folder / "web.sh"], check=True)
    ran = held.run("rotate", "key/orders")
    assert "not confirmed by new, which has not written" in ran.stdout, ran
    assert held.versions() == {1: "active", 2: "secondary"}
    ran = held.run("rotate", "key/orders")
    assert "waits for the acknowledgement of new" in ran.stdout, ran
    assert held.versions() == {1: "active", 2: "secondary"}
    held.deaf("new").unlink()
    subprocess.run([held.folder / "new.sh"], check=True)
    let_go_on(held)


def test_a_consumer_that_leaves_in_mid_rotation_is_waited_for_no_longer(held: Shop) -> None:
    """Its target goes with it."""
    del held.entry["consumers"]["web"], held.site.config["targets"]["web"]
    ran = held.run("rotate", "key/orders")
    assert ran.code == 0, ran
    assert held.versions() == {1: "decrypt-only", 2: "active"}


def test_a_keyring_that_leaves_the_configuration_in_mid_rotation_comes_back_as_it_was(
    held: Shop,
) -> None:
    """Nothing of it is removed, and what is in flight goes on."""
    entry, document = held.site.config["keyrings"].pop("orders"), held.document.read_bytes()
    held.site.config["keyrings"]["other"] = {
        "outputs": [{"type": "tink", "path": str(held.folder / "app" / "other.json")}]
    }
    assert held.run("rotate", "key/other").code == 0
    assert held.run("status").code == 0
    assert held.document.read_bytes() == document
    with running(held.site) as daemon:
        reload(held.site, daemon)
        daemon.wait_for("reloaded")
    held.site.config["keyrings"]["orders"] = entry
    let_go_on(held)


def test_an_environment_file_whose_process_was_not_restarted_holds_the_rotation(
    site: Site,
) -> None:
    """A process has the variables of when it began: its own word counts, not its target's."""
    shop = Shop(site)
    env = shop.folder / "app" / "keys.env"
    slots = {"v1": "KEY_V1", "v2": "KEY_V2"}
    output = {"type": "dotenv", "path": str(env), "slots": slots, "version": "KEY_VERSION"}
    check = shop.folder / "check.sh"
    check.write_text(
        f"#!/bin/sh\nh=$(sha256sum < {shop.folder}/began.env | cut -d' ' -f1)\n"
        'case " $CERTROTD_HASHES " in *" $h "*) exit 0;; esac\nexit 1\n'
    )
    check.chmod(0o755)
    site.command("restart", f"[ -e {shop.folder}/no-restart ] || cp {env} {shop.folder}/began.env")
    shop.entry["outputs"] = [output | {"encoding": "base64"}]
    consumer = {"target": "restart", "acknowledge": {"command": [str(check)]}}
    shop.entry["consumers"] = {"cron": consumer}
    assert shop.run("rotate", "key/orders").code == 0
    (shop.folder / "no-restart").touch()
    began = (shop.folder / "began.env").read_bytes()
    ran = shop.rotate()
    assert "waits for the acknowledgement of cron" in ran.stdout
    assert shop.versions() == {1: "active", 2: "secondary"}
    assert b"KEY_VERSION=v1" in env.read_bytes().replace(b'"', b"").replace(b"'", b"")
    assert began == (shop.folder / "began.env").read_bytes()
    (shop.folder / "no-restart").unlink()
    subprocess.run([shop.folder / "restart.sh"], check=True)
    assert shop.run("rotate", "key/orders").code == 0
    assert shop.versions() == {1: "decrypt-only", 2: "active"}


def test_a_template_that_raises_changes_nothing(shop: Shop) -> None:
    """It is found before the rotation, or undone: what was there stays."""
    template = shop.folder / "keys.tmpl"
    template.write_text("{% if keys|length > 1 %}{{ 1 // 0 }}{% endif %}{{ keys|length }}")
    path = shop.folder / "app" / "rendered"
    entry = {"type": "template", "path": str(path), "template": str(template)}
    shop.entry["outputs"].append(entry)
    before = shop.keys.read_bytes()
    ran = shop.rotate(code=None)
    assert ran.code != 0, ran
    assert shop.keys.read_bytes() == before
    assert shop.is_whole()[1] == "active"
    shop.entry["outputs"].pop()
    ran = shop.run("rotate", "--force", "key/orders")
    assert ran.code == 0, ran
    assert shop.is_whole()[2] == "active"


def test_a_compromise_while_a_rotation_waits_is_not_taken_for_done(held: Shop) -> None:
    """It is said, and the exit code says it; after a cancel it is carried out."""
    leaked = ("keys", "compromise", "orders", "1", "--reason", "leak", "--confirm", "orders")
    ran = held.run(*leaked)
    assert ran.code == 1, ran
    assert "compromise was not done: a rotation of orders is in flight" in ran.stdout + ran.stderr
    assert "certrotd keys cancel orders" in ran.stdout + ran.stderr
    held.deaf("web").unlink()
    held.run("keys", "cancel", "orders")
    ran = held.run(*leaked)
    assert ran.code == 0, ran
    assert held.is_whole() == {1: "compromised", 2: "active"}


def test_no_kek_is_made_while_a_keyring_that_left_the_configuration_needs_one(
    shop: Shop,
) -> None:
    """It may come back, and its KEK may only be unmounted."""
    shop.site.config["keyrings"] = {
        "other": {"outputs": [{"type": "tink", "path": str(shop.folder / "app" / "other.json")}]}
    }
    shop.kek.rename(shop.kek.with_name("away"))
    ran = shop.run("rotate", "key/other")
    assert ran.code == 1, ran
    assert f"the KEK {shop.kek} is not there" in ran.stdout + ran.stderr
    assert not shop.kek.exists()

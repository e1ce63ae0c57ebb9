"""The canary: bytes of keys appear nowhere but where they belong; and what other users see."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest

from certrotd.kek.file import FileKek
from certrotd.keyring.document import opened
from tests.integration.daemon import reload, running
from tests.integration.keyring_shop import APPLICATIONS, Shop, keyset, secret, tink
from tests.integration.test_http import get, listen, ready
from tests.parts import locate
from tests.parts.process import free_port, wait_until
from tests.parts.site import PROGRAM, Run, Site

pytestmark = pytest.mark.integration
NOBODY = 65534


def forms(key: bytes) -> Iterator[bytes]:
    """How the bytes of a key may look, wherever they begin in what is encoded."""
    yield key
    yield key.hex().encode()
    yield key.hex().upper().encode()
    yield repr(key)[2:-1].encode()
    for before in range(3):
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + key).rstrip(b"=")
            yield text[2 if before else 0 :][2 if before == 2 else 0 : -2]


def found(keys: Mapping[str, bytes], data: bytes) -> list[str]:
    """Which keys are in it, in any form."""
    return [name for name, key in keys.items() if any(each in data for each in forms(key))]


def test_the_canary_is_seen_in_each_form_wherever_it_stands() -> None:
    """The control."""
    keys = {"key": bytes(range(200, 232))}
    for before in range(4):
        data = bytes(before) + keys["key"] + b"after"
        for said in (data, data.hex(), base64.b64encode(data), base64.urlsafe_b64encode(data)):
            assert found(keys, said if isinstance(said, bytes) else said.encode()) == ["key"]
    assert found(keys, repr(keys).encode()) == ["key"]
    assert found(keys, secret()) == []


class Hook:
    """A receiver of webhooks, and all that it got."""

    def __init__(self) -> None:
        self.got = b""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                hook.got += str(self.headers).encode() + self.rfile.read(length)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


class Said:
    """All that a shop's runs print."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.text = b""
        self.codes: dict[tuple[str, ...], int] = {}

    def __call__(self, *arguments: str, code: int | None = 0) -> Run:
        ran = self._shop.run(*arguments)
        self.text += f"{arguments}\n{ran.stdout}{ran.stderr}".encode()
        assert code is None or ran.code == code, (arguments, ran)
        return ran


def secrets_of(shop: Shop) -> dict[str, bytes]:
    """The KEK, the seal, and every key of the keyring."""
    keyring = opened(
        shop.document.read_bytes(), {"local": FileKek(shop.kek)}, name="orders", place="there"
    ).keyring
    keys = {"kek": shop.kek.read_bytes(), "seal": keyring.seal.material.reveal()}
    for number in keyring.entries:
        keys[f"version {number}"] = keyring.key(number).material.reveal()
    return keys


def test_no_byte_of_a_key_is_anywhere_but_where_it_belongs(site: Site, hook: Hook) -> None:
    """Through adoption, rotation, failures, backup, drill, restore, and all that shows them."""
    shop = Shop(site)
    said = Said(shop)
    port, identity, own = listen(site), pyrage.x25519.Identity.generate(), secret()
    shop.keys.write_bytes(tink(own))
    id_file, sign = shop.folder / "identity", shop.folder / "whsec"
    id_file.write_text(str(identity))
    id_file.chmod(0o600)
    sign.write_text("whsec_" + base64.b64encode(secret()).decode())
    sign.chmod(0o600)
    spy = "tr '\\0' '\\n' < /proc/$PPID/cmdline; tr '\\0' '\\n' < /proc/$PPID/environ; env; echo $*"
    for name in APPLICATIONS:
        script = shop.folder / f"{name}.sh"
        script.write_text(script.read_text() + f"{{ {spy}; }} >> {shop.folder}/spied\n")
    census = shop.folder / "census.sh"
    census.write_text(f"#!/bin/sh\n{{ {spy}; }} >> {shop.folder}/spied-census\necho 0\n")
    census.chmod(0o755)
    shop.entry["datasets"] = {"rows": {"census": [str(census)]}}
    shop.entry["backup"] = {
        "directory": str(shop.folder / "backups"),
        "recipients": [str(identity.to_public())],
    }
    site.config["watch_every"] = "1s"
    url = f"http://127.0.0.1:{hook.port}/hook"
    told = {"type": "webhook", "url": url, "secret": {"file": str(sign)}}
    site.config["notifications"] = {"hook": told}
    site.config["log"] = {"format": "json", "level": "debug"}
    said("config", "check", code=None)
    said("keys", "adopt", "orders")
    said("keys", "rotate", "orders", "--reason", "test")
    keys = secrets_of(shop)
    assert own in keys.values()
    _provoked(shop, said)
    with running(site) as daemon:
        wait_until(lambda: ready(port))
        document = shop.document.read_bytes()
        _changed(shop)
        wait_until(lambda: b"orders" in hook.got)
        for path in ("/", "/status.json", "/metrics", "/healthz", "/readyz", "/key/orders"):
            said.text += get(port, path).text.encode()
        said("keys", "deliver", "orders", "--overwrite")
        reload(site, daemon)
        daemon.wait_for("reload")
        assert document
        daemon.signal()
        ended = daemon.end()
        said.text += (ended.stdout + ended.stderr).encode()
    said("keys", "backup", "orders")
    said("keys", "drill", "orders", "--identity", str(id_file))
    [*_, newest] = sorted((shop.folder / "backups").rglob("*.backup"))
    shop.document.rename(shop.folder / "gone")
    said("keys", "rotate", "orders", "--reason", "x", code=1)
    said("keys", "restore", "orders", "--from", str(newest), "--identity", str(id_file))
    _shown(shop, said)
    keys |= secrets_of(shop)
    assert found(keys, said.text) == []
    assert found(keys, hook.got) == []
    assert b"orders" in hook.got, "the control: notifications came"
    assert (shop.folder / "spied").stat().st_size > 1000, "the control: processes were seen"
    assert _files_with(keys, shop) == {}
    assert found(keys, shop.keys.read_bytes()) != [], "the control"


def _provoked(shop: Shop, said: Said) -> None:
    """Failures of all kinds: their messages and tracebacks hold nothing."""
    real, data = shop.kek.read_bytes(), shop.document.read_bytes()
    shop.kek.write_bytes(real[:-1])
    said("keys", "rotate", "orders", "--reason", "x", code=1)
    shop.kek.write_bytes(real)
    shop.document.write_bytes(data[:-20])
    said("keys", "show", "orders", code=1)
    shop.document.write_bytes(data)
    output = shop.keys.read_bytes()
    shop.keys.write_bytes(output[:-30])
    said("keys", "deliver", "orders", code=1)
    shop.keys.write_bytes(output.replace(b"AES", b"AEZ").replace(b"AesGcm", b"Other"))
    said("keys", "deliver", "orders", code=1)
    shop.keys.write_bytes(output)


def _changed(shop: Shop) -> None:
    told = json.loads(shop.keys.read_bytes())
    other = json.loads(tink(secret()))
    shop.keys.write_text(json.dumps(told | {"key": told["key"] + other["key"]}))


def _shown(shop: Shop, said: Said) -> None:
    for arguments in (
        ("keys", "list", "--json", "--ask"),
        ("keys", "show", "orders", "--json"),
        ("keys", "show", "orders", "--ask"),
        ("keys", "plan", "--explain", "--json"),
        ("keys", "plan", "orders"),
        ("status", "--json"),
        ("status",),
        ("history", "key/orders"),
        ("history", "key/orders", "--json"),
        ("audit", "show", "--json"),
        ("audit", "verify"),
        ("keys", "report", "--format", "json"),
        ("keys", "report", "--format", "csv"),
        ("keys", "report", "-o", str(shop.folder / "report.md")),
    ):
        said(*arguments)


def _files_with(keys: Mapping[str, bytes], shop: Shop) -> dict[str, list[str]]:
    """Every file below the directory that holds a key and is not for that."""
    mine = {shop.kek, shop.keys, *(shop.own(name) for name in APPLICATIONS)}
    mine |= set(shop.keys.parent.glob("keys.json.*"))  # kept aside for its operator
    every = (each for each in shop.folder.rglob("*") if each.is_file() and each not in mine)
    return {str(each): names for each in every if (names := found(keys, each.read_bytes()))}


# Other users, and what a terminal may lack.


@pytest.fixture
def shop(site: Site) -> Shop:
    """A keyring whose first key is in use."""
    shop = Shop(site)
    assert shop.run("rotate", "key/orders").code == 0
    return shop


def tree(folder: Path) -> dict[Path, bytes]:
    """Every file below it."""
    return {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_another_user_reads_no_key_and_writes_nothing(shop: Shop) -> None:
    """One clear line each, without a traceback."""
    locate.require_root()
    setpriv = str(locate.require("setpriv"))
    for each in [shop.folder, *shop.folder.parents]:
        if each.stat().st_mode & 0o005 != 0o005:
            each.chmod(each.stat().st_mode | 0o055)
        if each == Path("/tmp"):  # where the tests' directories are
            break
    before, keys = tree(shop.folder), secrets_of(shop)
    as_nobody = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    for arguments in (
        ("keys", "list"),
        ("keys", "show", "orders", "--ask"),
        ("keys", "rotate", "orders", "--reason", "x"),
        ("keys", "deliver", "orders", "--overwrite"),
        ("keys", "cancel", "orders"),
        ("keys", "adopt", "orders"),
        ("keys", "report"),
        ("status",),
        ("run",),
    ):
        ran = shop.site.start(*arguments, within=as_nobody).end()
        text = ran.stdout + ran.stderr
        assert ran.code != 0, (arguments, ran)
        assert "Traceback" not in text, (arguments, ran)
        assert "Permission denied" in text or "belongs to" in text, (arguments, ran)
        assert found(keys, text.encode()) == []
    assert tree(shop.folder) == before


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_let_a_rotation_end_and_no_file_take_their_place(
    shop: Shop, closed: str
) -> None:
    """The next file that is opened would get their numbers, and what is printed: a keyring even."""
    shop.site.write()
    arguments = shop.site.command_line("keys", "rotate", "orders", "--reason", "x")
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *arguments]
    subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert shop.is_whole() == {1: "decrypt-only", 2: "active"}
    for path, data in tree(shop.site.state).items():
        assert b"generate done" not in data, path


def test_a_plain_locale_and_an_empty_path_change_nothing(shop: Shop) -> None:
    """As cron starts it."""
    shop.entry["purpose"] = "Straße, 住所"
    environment = {"LANG": "C", "LC_ALL": "C", "PATH": "/nonexistent", "HOME": "/nonexistent"}
    for arguments in (("keys", "rotate", "orders", "--reason", "für ß"), ("keys", "report")):
        ran = shop.site.start(*arguments, environment=environment).end()
        assert "Traceback" not in ran.stderr, ran
        if arguments[1] == "report":
            assert ran.code == 0, ran
    shop.is_whole()


def _hostile() -> Iterable[tuple[str, Any]]:
    for text in ("a\nb", "a\x1b[2Jb", "x" * 100_000, "\u202e", "../up", "a/b", ""):
        yield "name", text
        yield "owner", text
        yield "custodian", text
        yield "consumer", text


def test_hostile_names_and_values_reach_no_terminal(shop: Shop) -> None:
    """Refused with a line of its own, or printed harmlessly."""
    good = shop.site.config["keyrings"]["orders"]
    for what, text in _hostile():
        entry = json.loads(json.dumps(good))
        keyrings = {"orders": entry}
        if what == "name":
            keyrings = {text: entry}
        elif what == "owner":
            entry["owner"] = text
        elif what == "custodian":
            entry["custodians"] = [text]
        else:
            entry["consumers"][text] = entry["consumers"].pop("web")
        shop.site.config["keyrings"] = keyrings
        shop.site.write()
        argv = [sys.executable, str(PROGRAM), "-c", str(shop.site.path), "keys", "list"]
        ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        said = ran.stdout + ran.stderr
        assert not set(said) & set("\x1b\u202e\0"), (what, text[:20], said)
        assert "Traceback" not in said
        assert len(said) < 5000
        assert ran.returncode in (0, 1, 2), ran


@pytest.mark.parametrize("way", ["redirect", "endless", "hostile", "slow", "refused"])
def test_an_http_acknowledgement_that_answers_anything_else_confirms_nothing(
    shop: Shop, way: str
) -> None:
    """And the answer's bytes are not shown."""
    port = free_port()
    script = f"""
import http.server, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        way = {way!r}
        if way == "redirect":
            self.send_response(302); self.send_header("Location", "file:///etc/passwd")
            self.end_headers(); return
        self.send_response(200); self.end_headers()
        try:
            if way == "endless":
                while True: self.wfile.write(b"0" * 65536)
            if way == "slow": time.sleep(30)
            self.wfile.write(b"\\x1b[2J\\x1b]0;owned\\x07" + b"0" * 64)
        except OSError: pass
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", {port}), H).serve_forever()
"""
    url = f"http://127.0.0.1:{port}/keys"
    shop.entry["consumers"]["web"]["acknowledge"] = {"http": url, "timeout": "1s"}
    server = subprocess.Popen([sys.executable, "-c", script if way != "refused" else "pass"])
    try:
        ran = shop.rotate()
        assert "waits for the acknowledgement of web" in ran.stdout
        assert not set(ran.stdout + ran.stderr) & set("\x1b\x07"), ran
        assert shop.is_whole() == {1: "active", 2: "secondary"}
    finally:
        server.kill()
        server.wait(30)


def test_an_output_that_others_may_read_is_said(shop: Shop) -> None:
    """Whoever changed its mode gave the keys away: the page and the log say it."""
    shop.site.config["watch_every"] = "1s"
    shop.keys.chmod(0o644)
    with running(shop.site) as daemon:
        said = daemon.wait_for("others than its readers may use")
        assert f"chmod 600 {shop.keys}" in said
    os.stat(shop.keys)
    assert keyset(shop.keys)

"""The runbook of docs/keys/cut-over.md, command for command, for an application that has a key."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
import yaml
from cryptography.fernet import Fernet

from tests.integration.one_key_shop import OneKeyShop
from tests.parts.pages import blocks
from tests.parts.process import wait_until
from tests.parts.site import Site
from tests.parts.systemctl import Systemctl, Unit

pytestmark = pytest.mark.integration
PAGE = "cut-over.md"


@pytest.fixture
def shop(site: Site, systemctl: Systemctl) -> Iterator[OneKeyShop]:
    """The unit of the page runs the application; its configuration is that of the page."""
    shop = OneKeyShop(site)
    [text] = [each for each in blocks(PAGE, "yaml") if each.startswith("keyrings:")]
    for word, real in (
        ("/etc/tickets/env", str(shop.key)),
        ("/var/lib/tickets/app.db", shop.database),
        ("127.0.0.1:8080/ready", f"127.0.0.1:{shop.port}/reads"),
        ("table: messages, columns: [body]", "table: secrets, columns: [secret]"),
    ):
        assert word in text
        text = text.replace(word, real)
    site.config |= yaml.safe_load(text)
    unit = systemctl.units["tickets.service"] = Unit()

    def job(verb: str) -> str:
        shop.switch(verb)
        unit.active = "active" if verb == "start" else "inactive"
        return ""

    unit.job = job
    shop.key.write_text(f"PORT=1\nENCRYPTION_KEY={Fernet.generate_key().decode()}\n")
    shop.key.chmod(0o600)
    try:
        shop.fill()
        yield shop
    finally:
        shop.end()


def test_the_runbook_works_command_for_command(shop: OneKeyShop) -> None:
    """Each ends with 0; then the key is another one, and everything is under it."""
    old, said = shop.key.read_text(), ""
    for line in "".join(blocks(PAGE, "sh")).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "certrotd"
        ran = shop.site.run(*arguments)
        assert ran.code == 0, (line, ran)
        said += ran.stdout
    assert "rows would be re-encrypted, and the application stopped for at least" in said
    assert "the application was stopped for" in said
    wait_until(shop.serves)
    new = shop.key.read_text()
    assert new != old
    assert new.startswith("PORT=1\n"), "what is not the key's stays"
    for (token,) in shop.execute("select secret from secrets"):
        shop.cipher().decrypt(token.encode())

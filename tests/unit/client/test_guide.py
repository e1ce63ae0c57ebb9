"""The examples of docs/keys/client.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from certrotd.client import CannotDecrypt
from certrotd.config.load import load
from certrotd.keyring.material import Algorithm
from tests.unit.client.sealed import Sealed
from tests.unit.client.test_following import heard

PAGE = (Path(__file__).parents[3] / "docs/keys/client.md").read_text()
BLOCKS = dict(re.findall(r"^```python (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


@pytest.fixture
def places(sealed: Sealed, tmp_path: Path) -> dict[str, str]:
    """The paths of the page, and what is there in a test."""
    (tmp_path / "beats").mkdir()
    (tmp_path / "fernet").mkdir()
    sessions = Sealed(tmp_path / "fernet", Algorithm.FERNET)
    return {
        "/etc/shop/orders.keyring": str(sealed.path),
        "/etc/shop/sessions.keyring": str(sessions.path),
        "/etc/shop/orders.kek": str(sealed.kek.path),
        "/etc/shop/sessions.kek": str(sessions.kek.path),
        "/run/certrotd/heartbeats": str(tmp_path / "beats"),
    }


def program(places: dict[str, str], *names: str) -> str:
    """The blocks of those names, one after the other."""
    whole = "\n".join(BLOCKS[name] for name in names)
    for here, there in places.items():
        whole = whole.replace(here, there)
    return whole


def run(places: dict[str, str], *names: str) -> dict[str, Any]:
    """What the names mean after the blocks have run."""
    namespace: dict[str, Any] = {"__name__": "guide"}
    code = compile(program(places, *names), "docs/keys/client.md", "exec", dont_inherit=True)
    exec(code, namespace)
    return namespace


def test_every_block_of_the_page_is_run_here() -> None:
    """None is only to look at."""
    used = {"ten-minutes", "rotations", "heartbeats", "errors", "event-loop", "fernet"}
    used |= {"sqlalchemy", "sqlalchemy-use", "django", "django-use"}
    assert BLOCKS.keys() == used
    assert PAGE.count("```") == 2 * (len(used) + 1)


def test_what_the_operator_configures_is_valid(tmp_path: Path) -> None:
    """With both ways to the keys."""
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "config.yaml"
    path.write_text(example)
    found = load(path)
    assert found.warnings == ()
    assert found.config.keys.server is not None


def test_the_first_ten_minutes_and_an_error(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The values are those of the page."""
    found = run(places, "ten-minutes", "errors")
    assert len(found["stored"]) == len(b"4929 1234") + 33
    assert capsys.readouterr().out.startswith("the ciphertext does not open with this keyring")
    found["keyring"].close()


def test_a_row_is_re_encrypted_as_it_is_read(sealed: Sealed, places: dict[str, str]) -> None:
    """Under the newest key, and only if it is not already."""

    class Row:
        id = 17
        card = b""

    found = run(places, "ten-minutes", "rotations")
    Row.card = stored = found["stored"]
    assert found["read"](Row) == b"4929 1234"
    assert Row.card is stored
    sealed.generate()
    sealed.activate(2)
    found["keyring"]._tick()
    assert found["read"](Row) == b"4929 1234"
    assert Row.card != stored
    assert not found["keyring"].needs_reencryption(Row.card)
    found["keyring"].close()


def test_heartbeats_are_where_the_page_says(places: dict[str, str], tmp_path: Path) -> None:
    """With the mode and the name that it says."""
    with run({**places}, "ten-minutes", "heartbeats")["keyring"]:
        [file] = (tmp_path / "beats").iterdir()
        [beat] = heard(tmp_path / "beats")
        assert file.name == f"shop.{beat.instance}.json"
        assert file.stat().st_mode & 0o777 == 0o640


def test_an_event_loop_has_its_own_calls(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with the keyring closed."""
    run(places, "ten-minutes", "event-loop")["keyring"].close()
    assert capsys.readouterr().out == "b'4929 1234'\n"


def test_other_forms_are_opened_with_their_codec(places: dict[str, str]) -> None:
    """Here Fernet's."""
    found = run(places, "ten-minutes", "fernet")
    assert found["token"].startswith(b"gAAAA")
    assert found["tokens"].decrypt(found["token"], associated_data=b"") == b"session"
    found["tokens"].close()
    found["keyring"].close()


class TestSqlAlchemy:
    """The type with a real database."""

    @pytest.fixture
    def found(self, places: dict[str, str]) -> Any:
        """The names of the page, and a database with the table."""
        found = run(places, "ten-minutes", "sqlalchemy", "sqlalchemy-use")
        found["engine"] = create_engine("sqlite://")
        found["Base"].metadata.create_all(found["engine"])
        yield found
        found["engine"].dispose()
        found["keyring"].close()

    def test_a_column_is_encrypted_in_the_database_alone(self, found: dict[str, Any]) -> None:
        """The application reads and writes plaintext; nothing stays nothing."""
        customer = found["Customer"]
        with Session(found["engine"]) as session:
            session.add_all([customer(id=1, card=b"4929 1234"), customer(id=2, card=None)])
            session.commit()
            stored = session.execute(text("select card from customers order by id")).scalars()
            first, second = stored
            assert second is None
            assert first[:1] == b"\x01"
            assert b"4929" not in first
            session.expire_all()
            assert session.scalars(select(customer.card).order_by(customer.id)).all() == [
                b"4929 1234",
                None,
            ]

    def test_what_was_altered_or_is_of_another_column_is_not_read(
        self, found: dict[str, Any]
    ) -> None:
        """The negative control: the page's warning about rows is about this column alone."""
        other = found["keyring"].encrypt(b"4929", associated_data=b"customers.name")
        with Session(found["engine"]) as session:
            insert = text("insert into customers (id, card) values (1, :card)")
            session.execute(insert, {"card": other})
            with pytest.raises(CannotDecrypt):
                session.scalars(select(found["Customer"])).all()

    def test_the_type_is_ten_lines(self) -> None:
        """As promised, without its imports."""
        body = BLOCKS["sqlalchemy"].partition("class ")[2]
        assert len([line for line in body.splitlines() if line.strip()]) <= 10


DJANGO = """
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()
"""
DJANGO_USE = """
from django.db import connection
from certrotd.client import CannotDecrypt
from certrotd.config.load import load
with connection.schema_editor() as editor:
    editor.create_model(Customer)
Customer.objects.create(id=1, card=b"4929 1234")
Customer.objects.create(id=2, card=None)
Customer.objects.create(id=3, card=memoryview(b"view"))
with connection.cursor() as cursor:
    cursor.execute("select card from shop_customer order by id")
    first, second, third = [bytes(row[0]) if row[0] else None for row in cursor.fetchall()]
assert first[:1] == b"\\x01" and b"4929" not in first and second is None
cards = [each.card for each in Customer.objects.order_by("id")]
assert cards == [b"4929 1234", None, b"view"], cards
assert Customer.objects.filter(card__isnull=True).count() == 1
name, path, arguments, keywords = Customer._meta.get_field("card").deconstruct()
assert (name, arguments, keywords) == ("card", [], {"null": True})
other = keyring.encrypt(b"4929", associated_data=b"shop_customer.name")
with connection.cursor() as cursor:
    cursor.execute("update shop_customer set card = %s where id = 1", [other])
try:
    Customer.objects.get(id=1)
except CannotDecrypt:
    print("refused")
"""


def test_the_django_field_encrypts_in_the_database_alone(places: dict[str, str]) -> None:
    """In a process of its own, for Django is configured once."""
    parts = [DJANGO, program(places, "ten-minutes", "django", "django-use"), DJANGO_USE]
    command = [sys.executable, "-W", "error", "-c", "\n".join(parts)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "refused\n"

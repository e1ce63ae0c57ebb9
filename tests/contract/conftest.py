"""The surroundings of every test here, and the key services that some of them share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.databases import DATABASES, Database, place
from tests.contract.kek_rigs import Around, Part
from tests.parts import Parts, surroundings
from tests.parts.key_services import Moto, SoftHsm, Transit


@pytest.fixture(autouse=True, scope="module")
def usual_surroundings() -> Iterator[None]:
    """The same on every machine."""
    with surroundings.usual():
        yield


@pytest.fixture(scope="module")
def part(module_parts: Parts) -> Part:
    """Starts a server of a kind, once for all tests of a module."""
    started: dict[type[Any], Any] = {}

    def get(kind: type[Any]) -> Any:
        if kind not in started:
            started[kind] = module_parts.start(kind)
        return started[kind]

    return get


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Part) -> Iterator[Around]:
    """What rigs are made in."""
    with ExitStack() as stack:
        yield Around(tmp_path, monkeypatch, stack, part)


@pytest.fixture(scope="module")
def moto(module_parts: Parts) -> Moto:
    """AWS KMS, as moto plays it."""
    return module_parts.start(Moto)


@pytest.fixture(scope="module")
def transit(module_parts: Parts) -> Transit:
    """The transit engine of Vault."""
    return module_parts.start(Transit)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A token with the key "kek"."""
    made = SoftHsm(tmp_path_factory.mktemp("hsm"))
    made.make_key("kek")
    return made


@pytest.fixture(params=DATABASES)
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """An empty database."""
    with ExitStack() as stack:
        yield place(request, tmp_path, monkeypatch, stack, request.param)

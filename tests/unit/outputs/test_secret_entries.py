"""Entries of a Secret where the API server never says yes; the rest is shown on a real one."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from certrotd.clock import ManualClock
from certrotd.config.output import SecretPlace
from certrotd.errors import InvalidInput, Transient
from certrotd.kube.access import Access
from certrotd.kube.api import SECRETS, Api, Object
from certrotd.kube.applied import Applied
from certrotd.kube.patience import Patience
from certrotd.outputs.json_keystore import JsonKeystore
from certrotd.outputs.secret_entries import Entries, SecretEntries, home_of, refuse
from certrotd.state.ports import Conflict
from tests.contract.output_cases import delivery_of
from tests.fakes.keyrings import BEGIN

OUTPUT = JsonKeystore(Path("secrets/app/keys/keys.json"))


def secret(data: Mapping[str, bytes] = {}, **metadata: Any) -> Object:
    """As the API server gives one."""
    encoded = {key: base64.b64encode(each).decode() for key, each in data.items()}
    return {"type": "Opaque", "metadata": {"resourceVersion": "7", **metadata}, "data": encoded}


class Changing:
    """An Api whose Secret is always another by the time that it is written."""

    clock = ManualClock(BEGIN)
    patience = Patience()

    def __init__(self, data: Mapping[str, bytes]) -> None:
        self.found, self.writes = secret(data), 0

    def get(self, _path: str) -> Object:
        """The same each time."""
        return self.found

    def _refuse(self, *_: Any, **__: Any) -> Object:
        self.writes += 1
        raise Conflict("it is another")

    apply = merge = _refuse

    def create(self, _path: str, content: Object) -> Object:
        """What is kept aside is kept."""
        return content


def entries(api: Changing) -> SecretEntries:
    """The place of the output there."""
    return SecretEntries(OUTPUT, lambda: Applied(cast("Api", api), SECRETS, "app", "keys"))


def test_a_secret_that_others_change_all_the_time_is_given_up() -> None:
    """Though it is never one of its own entries."""
    api = Changing({"colour": b"blue"})
    contents = OUTPUT.render(delivery_of(OUTPUT, 1), {})
    place = entries(api)
    with pytest.raises(Transient, match="is being changed by others all the time"):
        place.write(contents, over=place.present())
    with pytest.raises(Transient, match="is being changed by others all the time"):
        place.write(contents)  # without having looked before
    assert api.writes == 10


def test_it_is_not_kept_aside_for_ever_either() -> None:
    """The same, where an entry is in the way."""
    api = Changing({"keys.json": b"theirs"})
    with pytest.raises(Transient, match="is being changed by others all the time"):
        entries(api).set_aside("20270101T000000Z")
    assert api.writes == 5


def test_an_api_server_that_is_away_is_a_problem() -> None:
    """Whatever it is asked first."""

    def away() -> Applied:
        raise Transient("the API server is away")

    [problem] = SecretEntries(OUTPUT, away).problems()
    assert str(problem) == "the API server is away"


def test_what_is_no_secret_is_not_read() -> None:
    """A proxy may have answered."""
    api = Changing({})
    api.found["data"] = {"keys.json": "%"}
    with pytest.raises(InvalidInput, match="it is no Secret"):
        entries(api).present()


def test_a_secret_on_its_way_out_is_waited_for() -> None:
    """It has a finalizer."""
    with pytest.raises(Transient, match="is being deleted"):
        refuse(secret(deletionTimestamp="2027-01-01T00:00:00Z"), "secrets/keys")
    owner = {"kind": "Deployment", "name": "app", "controller": False}
    refuse(secret(ownerReferences=[owner]), "secrets/keys")


def test_each_entry_has_a_manager_of_a_name_that_the_api_server_takes() -> None:
    """128 characters at most."""
    access = Access("https://10.0.0.1", ssl.create_default_context(), "own")
    api = Api(access, ManualClock(BEGIN), agent="test")
    asked: list[tuple[Path | None, str | None]] = []

    def connect(kubeconfig: Path | None, context: str | None) -> Api:
        asked.append((kubeconfig, context))
        return api

    keys = ("keys.json", "k" * 200, "k" * 199 + "l")
    homes = [home_of(SecretPlace(name="keys", key=key), "orders", connect) for key in keys]
    managers = [home.manager for home in homes]
    assert managers[0] == "certrotd/key/orders/keys.json"
    assert len(set(managers)) == 3
    assert max(map(len, managers)) <= 128
    assert {home.namespace for home in homes} == {"own"}
    there = SecretPlace(
        name="keys", key="k", namespace="app", kubeconfig=Path("/kube"), context="c"
    )
    assert home_of(there, "orders", connect).namespace == "app"
    assert asked[-1] == (Path("/kube"), "c")


def test_what_was_looked_at_is_known_with_its_secret() -> None:
    """So that a write can name its revision."""
    api = Changing({"keys.json": b"{}"})
    found = entries(api).present()
    assert isinstance(found, Entries)
    assert (dict(found), found.found) == ({OUTPUT.path: b"{}"}, api.found)
    assert list(entries(api).findings()) == []
    entries(api).sweep()
    assert api.writes == 0

"""Objects of a cluster as a dataset: what an odd API server or etcd does to a pass and a census."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from certrotd.clock import ManualClock
from certrotd.codecs.errors import Damaged, Unsupported
from certrotd.codecs.kubernetes_etcd import StoredByApiServer
from certrotd.datasets import etcd as etcd_reading
from certrotd.datasets import rewritings
from certrotd.datasets.etcd import Etcd, etcd_of
from certrotd.datasets.kubernetes import BY_ETCD, BY_REWRITING, KubernetesDataset, ObjectsForm
from certrotd.datasets.port import Busy, CutShort
from certrotd.datasets.reencryption import TRIES, Pace, Pass, Passed, Position
from certrotd.errors import NeedsOperator, Transient
from certrotd.keyring.material import Algorithm, KeySet
from certrotd.kube.api import Denied, Expired, Invalid, Missing, Object, Unsure
from certrotd.kube.collections import collections_of
from certrotd.state.ports import Conflict
from certrotd.state.typed import TypedDocument
from tests.contract.codec_cases import key_of
from tests.fakes.state import MemoryState
from tests.parts import pki

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FIRST, SECOND, THIRD = (key_of(Algorithm.XSALSA20_POLY1305, n, key_id=f"key{n}") for n in (1, 2, 3))
KEYS = KeySet.of([FIRST, SECOND], active=2)
RESOURCES = [{"name": "secrets", "namespaced": True}, {"name": "nodes", "namespaced": False}]


class Cluster:
    """An API server in memory, whose first key is ``key``; ``refuse`` may raise for a patch."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.key = "key1"
        self.revision = 100
        self.objects: dict[str, tuple[int, str]] = {}
        self.patched: list[str] = []
        self.allowed = True
        self.refuse: Callable[[str], None] = lambda _place: None
        self.page: Callable[[], None] = lambda: None
        self.ordered = True

    def write(self, *places: str) -> None:
        for place in places:
            self.revision += 1
            self.objects[place] = self.revision, self.key

    def get(self, path: str) -> Object:
        if path == "/api/v1":
            return {"resources": RESOURCES}
        if path == "/apis/example.com":
            return {"preferredVersion": {"groupVersion": "example.com/v2"}}
        if path == "/apis/example.com/v2":
            return {"resources": [{"name": "widgets", "namespaced": True}, "?"]}
        raise Missing(path)

    def ask(
        self, method: str, path: str, content: Any = None, *,
        query: Mapping[str, str] | None = None, **_: Any
    ) -> Object:  # fmt: skip
        if method == "POST":
            return {"status": {"allowed": self.allowed}}
        if method == "PATCH":
            namespace, _kind, name = path.split("/")[-3:]
            return self._patch(f"{namespace}/{name}", content)
        query = dict(query or {})
        if query.get("continue"):
            self.page()
        behind = query.get("continue", "")
        rest = sorted(each for each in self.objects if each > behind)
        size = min(int(query["limit"]), 3)
        items = [self._item(each) for each in (rest[:size] if self.ordered else rest[size::-1])]
        told: Object = {"resourceVersion": str(self.revision)}
        if len(rest) > size:
            told["continue"] = rest[size - 1]
        return {"metadata": told, "items": items}

    def _item(self, place: str) -> Object:
        namespace, name = place.split("/")
        revision = str(self.objects[place][0])
        told = {"namespace": namespace, "name": name, "uid": f"uid-{place}"}
        return {"metadata": {**told, "resourceVersion": revision}}

    def _patch(self, place: str, content: Any) -> Object:
        self.refuse(place)
        if place not in self.objects:
            raise Missing(place)
        assert content == {"metadata": {"uid": f"uid-{place}"}}
        self.patched.append(place)
        if self.objects[place][1] != self.key:
            self.write(place)
        return {}


class Rig:
    """A dataset of such a cluster."""

    def __init__(self, etcd: Etcd | None = None) -> None:
        self.cluster = Cluster()
        self.cluster.write(*(f"ns/s{number}" for number in range(8)))
        self.document = MemoryState().document("rewritings/cluster.objects")
        self.etcd = etcd

    def dataset(self) -> KubernetesDataset:
        api: Any = self.cluster
        collections = collections_of(api, ["secrets"], [])
        kept = TypedDocument(self.document, rewritings.parse, rewritings.render)
        return KubernetesDataset("objects", api, collections, kept, self.etcd)

    def run(self, position: Position | None = None, keys: KeySet = KEYS, **more: Any) -> Passed:
        clock = ManualClock(NOW)
        passing = Pass(self.dataset(), ObjectsForm(), keys, clock, Pace(batch=2))
        return passing.run(position, **more)

    def census(self, keys: KeySet = KEYS) -> tuple[dict[int, int], int]:
        told = self.dataset().tally(keys)
        assert told.method == BY_REWRITING
        return dict(told.by_version), told.unopened

    def under(self) -> set[str]:
        return {key for _, key in self.cluster.objects.values()}


@pytest.fixture
def rig() -> Rig:
    """Eight objects under the first key; the API server writes with the second."""
    found = Rig()
    found.cluster.key = "key2"
    return found


def test_a_pass_has_every_object_written_and_the_census_says_so(rig: Rig) -> None:
    """Also of those that others had written before it began: they were acknowledged."""
    rig.cluster.write("ns/s3", "other/new")
    assert rig.census() == ({1: 9, 2: 0}, 0)
    assert rig.run().count == 0
    assert rig.under() == {"key2"}
    assert rig.census() == ({1: 0, 2: 9}, 0)
    before = dict(rig.cluster.objects)
    assert rig.run().count == 0
    assert rig.cluster.objects == before


class Killed(BaseException):
    """The process ends here."""


def test_a_pass_that_was_killed_proves_no_more_than_it_has_written(rig: Rig) -> None:
    """It goes on behind its checkpoint, in a process that knows nothing else of it."""
    kept: list[Position] = []

    def keep(position: Position) -> None:
        kept.append(position)
        if position.seen == 4:
            raise Killed

    with pytest.raises(Killed):
        rig.run(keep=keep)
    assert rig.census() == ({1: 4, 2: 4}, 0)
    assert rig.run(kept[-1]).count == 0
    assert rig.cluster.patched == [f"ns/s{number}" for number in range(8)]
    assert rig.census() == ({1: 0, 2: 8}, 0)


def test_reading_alone_proves_nothing(rig: Rig) -> None:
    """A dry run walks over everything."""
    Pass(rig.dataset(), ObjectsForm(), KEYS, ManualClock(NOW), Pace(), writes=False).run()
    assert rig.census() == ({1: 8, 2: 0}, 0)
    assert rig.cluster.patched == []


@pytest.mark.parametrize(
    "failure", [Denied("a webhook says no"), Invalid("it may not be so"), NeedsOperator("no")]
)
def test_an_object_that_is_refused_is_listed_and_counts_until_it_was_written(
    rig: Rig, failure: NeedsOperator
) -> None:
    """By somebody else, or by a later pass; also across processes."""

    def refuse(place: str) -> None:
        if place in ("ns/s2", "ns/s5"):
            raise failure

    rig.cluster.refuse = refuse
    passed = rig.run()
    assert [each.words(("object",)) for each in passed.quarantined] == [
        f"object of row secrets/{place}: {failure.message}" for place in ("ns/s2", "ns/s5")
    ]
    assert rig.census() == ({1: 2, 2: 6}, 0)
    rig.cluster.write("ns/s2")
    assert rig.census() == ({1: 1, 2: 7}, 0)
    rig.cluster.refuse = lambda _place: None
    assert rig.run().count == 0
    assert rig.census() == ({1: 0, 2: 8}, 0)


def test_what_is_gone_or_was_replaced_meanwhile_is_no_trouble(rig: Rig) -> None:
    """Whoever made it anew did so under the new key."""

    def refuse(place: str) -> None:
        if place == "ns/s2":
            del rig.cluster.objects[place]
        if place == "ns/s5":
            rig.cluster.write(place)
            raise Conflict("another uid")

    rig.cluster.refuse = refuse
    assert rig.run().count == 0
    assert rig.census() == ({1: 0, 2: 7}, 0)


def test_a_busy_api_server_is_tried_again_and_then_waited_for(rig: Rig) -> None:
    """An answer that does not come may have done it: doing it again does no harm."""
    left = [3]

    def refuse(_place: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise Unsure("nobody knows")

    rig.cluster.refuse = refuse
    assert rig.run().count == 0
    left[0] = 10 * TRIES
    with pytest.raises(Busy):
        rig.run()


def test_a_right_that_is_lacking_ends_the_pass_and_is_named_before_it(rig: Rig) -> None:
    """It is no matter of one object."""
    rig.cluster.allowed = False
    assert [each.words for each in rig.dataset().findings()] == [
        f"the account may not {verb} secrets in all namespaces" for verb in ("list", "patch")
    ]

    def refuse(_place: str) -> None:
        raise Denied("may not", hint="its Role lacks that")

    rig.cluster.refuse = refuse
    with pytest.raises(Denied):
        rig.run()


def test_too_many_refusals_end_the_pass(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of them is bounded."""
    monkeypatch.setattr("certrotd.datasets.kubernetes.MOST_FAILED", 3)

    def refuse(_place: str) -> None:
        raise Denied("a webhook says no")

    rig.cluster.refuse = refuse
    with pytest.raises(NeedsOperator, match="refuses to write more than 3 secrets"):
        rig.run()


def test_a_list_that_the_server_forgets_is_gone_on_with(rig: Rig) -> None:
    """Each object once; where that never ends, it is no census."""
    left = [2]

    def page() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise Expired("too old")

    rig.cluster.page = page
    assert rig.run().count == 0
    assert rig.cluster.patched == [f"ns/s{number}" for number in range(8)]
    left[0] = 10**6
    with pytest.raises(CutShort, match="cannot be listed to their end"):
        rig.census()


def test_a_list_without_an_order_is_refused(rig: Rig) -> None:
    """Nobody could go on behind any of its objects."""
    rig.cluster.ordered = False
    with pytest.raises(NeedsOperator, match="secrets are not listed in their order"):
        rig.census()


def test_the_oldest_of_three_keys_is_not_in_the_census_of_a_newer_pass(rig: Rig) -> None:
    """Before any pass, nobody knows under which of two old ones an object is."""
    three = KeySet.of([FIRST, SECOND, THIRD], active=3)
    assert rig.census(three) == ({1: 0, 2: 0, 3: 0}, 8)
    rig.run()
    rig.cluster.key = "key3"
    assert rig.census(three) == ({1: 0, 2: 8, 3: 0}, 0)
    assert rig.run(keys=three).count == 0
    assert rig.census(three) == ({1: 0, 2: 0, 3: 8}, 0)


def test_what_is_kept_and_was_damaged_proves_nothing(rig: Rig) -> None:
    """The pass comes again."""
    rig.run()
    rig.document.write(b"garbage")
    assert rig.census() == ({1: 8, 2: 0}, 0)
    assert rig.run().count == 0
    assert rig.census() == ({1: 0, 2: 8}, 0)


def test_resources_are_found_in_their_preferred_version() -> None:
    """What does not exist is named, and what is in no namespace."""
    api: Any = Cluster()
    [found] = collections_of(api, ["widgets.example.com"], ["shop"])
    assert found.path == "/apis/example.com/v2/namespaces/shop/widgets"
    assert found.object_path("shop/a") == f"{found.path}/a"
    assert found.name == "widgets.example.com/shop"
    [nodes] = collections_of(api, ["nodes"], [])
    assert (nodes.path, nodes.object_path("n1")) == ("/api/v1/nodes", "/api/v1/nodes/n1")
    for name in ("gadgets", "widgets.example.org", "gadgets.example.com"):
        with pytest.raises(NeedsOperator, match=f"knows no {name}"):
            collections_of(api, [name], [])
    with pytest.raises(NeedsOperator, match="nodes are in no namespace"):
        collections_of(api, ["nodes"], ["shop"])


def etcd(values: Mapping[str, bytes]) -> Etcd:
    """One that answers with at most two values."""

    def ask(path: str, asked: Any) -> Any:
        assert path == "/v3/kv/range"
        start, end = base64.b64decode(asked["key"]), base64.b64decode(asked["range_end"])
        found = [each for each in sorted(values) if start <= each.encode() < end]
        kvs = [{"key": _coded(each.encode()), "value": _coded(values[each])} for each in found[:2]]
        return {"kvs": kvs, "more": len(found) > 2} if found else {}

    return Etcd(ask, "/registry")


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_census_of_etcd_goes_by_what_is_stored() -> None:
    """Plaintext, keys that nobody knows, and other providers are told apart; neighbours are not."""
    values = {
        "/registry/secrets/a/1": b"k8s:enc:secretbox:v1:key1:xxxx",
        "/registry/secrets/a/2": b"k8s:enc:secretbox:v1:key2:xxxx",
        "/registry/secrets/a/3": b"k8s:enc:aescbc:v1:key2:xxxx",
        "/registry/secrets/b/4": b"k8s\0\n\x0c",
        "/registry/secrets/b/5": b"k8s:enc:secretbox:v1:key9:xxxx",
        "/registry/secrets/b/6": b"k8s:enc:kms:v2:cloud:xxxx",
        "/registry/secrets/b/7": b"k8s:enc:secretbox",
        "/registry/secretstores/b/7": b"k8s:enc:secretbox:v1:key1:xxxx",
    }
    told = Rig(etcd(values)).dataset().tally(KEYS)
    assert (told.by_version, told.plaintext, told.unopened) == ({1: 1, 2: 2}, 1, 3)
    assert told.method == BY_ETCD
    assert [each.words(("object",)) for each in told.quarantined] == [
        "object of row secrets/b/5: it is under a key of the name key9",
        "object of row secrets/b/6: unknown form",
        "object of row secrets/b/7: unknown form",
    ]


def test_the_etcd_of_another_cluster_is_not_believed() -> None:
    """It has nothing where the API server has something."""
    with pytest.raises(CutShort, match="etcd has no secrets, the API server does"):
        Rig(etcd({})).dataset().tally(KEYS)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"kvs": [{"value": ""}]}, "no list of keys and values"),
        ({"kvs": [{"key": "a"}]}, "no list of keys and values"),
        ({"kvs": 7}, "no list of keys and values"),
        ({"kvs": [{"key": _coded(b"/registry/pods/a/1")}], "more": True}, "not asked for"),
    ],
)
def test_an_etcd_that_answers_oddly_is_not_believed(answer: Any, words: str) -> None:
    """Nor is it asked for ever."""
    with pytest.raises(Transient, match=words):
        list(Etcd(lambda _path, _asked: answer, "/registry").stored("secrets"))


def test_a_census_of_etcd_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that always has one more."""
    monkeypatch.setattr(etcd_reading, "MOST", 50)

    def ask(_path: str, asked: Any) -> Any:
        value = {"key": _coded(base64.b64decode(asked["key"]) + b"0"), "value": _coded(b"x")}
        return {"kvs": [value], "more": True}

    with pytest.raises(CutShort, match="etcd has more than 50 secrets, or never ends"):
        Rig(Etcd(ask, "/registry")).dataset().tally(KEYS)


def test_files_that_do_not_reach_etcd_are_named(tmp_path: Path) -> None:
    """Before it is asked; nobody is asked for the password of a key."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    pair = pki.make_leaf(pki.make_root(), "etcd.example.test")
    cert.write_bytes(pair.certificate.public_bytes(Encoding.PEM))
    secret = BestAvailableEncryption(b"secret")
    key.write_bytes(pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    for ca, files in ((key, None), (None, (cert, key))):
        with pytest.raises(NeedsOperator, match=f"{key} (holds no|cannot be used)"):
            etcd_of("https://127.0.0.1:1", ca, files, "/registry", ManualClock(NOW))


def test_stored_values_tell_their_key_and_nothing_else() -> None:
    """API servers alone open them."""
    codec = StoredByApiServer()
    assert codec.key_id_of(b"k8s:enc:aesgcm:v1:key1:\xff") == codec.key_id_for(FIRST) == "key1"
    assert all(codec.key_id_of(each + b"x") == "key1" for each in codec.sql_prefixes("key1"))
    with pytest.raises(Damaged):
        codec.key_id_of(b"k8s\0")
    with pytest.raises(Unsupported):
        codec.decrypt(b"k8s:enc:aesgcm:v1:key1:", FIRST)
    with pytest.raises(Unsupported):
        codec.encrypt(b"x", FIRST)
    assert issubclass(Busy, Transient)

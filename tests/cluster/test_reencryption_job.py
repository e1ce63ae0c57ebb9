"""Pods of an Indexed Job take shards off the daemon of the chart, by the page's own manifest."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from certrotd.codecs.tink import Tink
from certrotd.keyring.material import Algorithm, DataKey, Material
from tests.cluster.acme import at_pods
from tests.cluster.objects import Object, secret
from tests.cluster.release import SECRETS, Release
from tests.parts import Parts
from tests.parts.kubernetes.cluster import Cluster
from tests.parts.kubernetes.images import CERTROTD
from tests.parts.postgresql import PASSWORD, PostgreSQL

PAGE = Path(__file__).parents[2] / "docs/keys/beyond-one-machine.md"
ROWS, SHARDS = 4000, 4
TINK = Tink()
TAKEN = "select shard, holder, token from certrotd_checkpoints"


@pytest.fixture
def database(cluster: Cluster, tmp_path: Path) -> Iterator[PostgreSQL]:
    """A server in the node's network, which pods reach."""
    with ExitStack() as stack:
        yield Parts(tmp_path / "parts", stack).start(PostgreSQL)


@pytest.fixture
def release(cluster: Cluster, database: PostgreSQL) -> Iterator[Release]:
    """certrotd with a keyring whose dataset is divided into shards."""
    told = secret("certrotd-secrets", {"password": PASSWORD})
    told["data"] = {"kek": base64.b64encode(b"k" * 32).decode()}
    made = Release.prepare(cluster, told)
    dataset = {
        "type": "sql",
        "url": at_pods(database.url("postgres")),
        "password": {"file": f"{SECRETS}/password"},
        "table": "customers",
        "columns": ["email"],
        "associated_data": "{table}/{pk}",
        "checkpoints": "table",
        "shards": SHARDS,
        "batch": 50,
        "rows_per_second": 100,
    }
    output = {"type": "tink", "secret": {"name": "app-keys", "key": "keys.json"}}
    config = {
        "keks": {"main": {"type": "file", "path": f"{SECRETS}/kek", "create": False}},
        "keyrings": {"shop": {"outputs": [output], "datasets": {"customers": dataset}}},
    }
    with database.connect("postgres") as connection, connection.cursor() as cursor:
        cursor.execute("create table customers (id bigint primary key, email bytea, note text)")
    made.install({"existingSecret": "certrotd-secrets", "config": config})
    yield made
    made.remove()


def keys(release: Release) -> dict[int, DataKey]:
    """Those that an application reads: by their ids, that which encrypts as 0, too."""
    path = f"/api/v1/namespaces/{release.namespace}/secrets/app-keys"
    told = json.loads(base64.b64decode(release.cluster.api.get(path)["data"]["keys.json"]))
    found = {}
    for each in told["key"]:
        material = Material(base64.b64decode(each["keyData"]["value"])[2:])
        number = each["keyId"]
        found[number] = DataKey(1, Algorithm.AES_256_GCM, material, str(number))
    return {**found, 0: found[told["primaryKeyId"]]}


def job(release: Release) -> Object:
    """The manifest of the page, for this image and so many shards."""
    [text] = [
        each.partition("```")[0]
        for each in PAGE.read_text().split("```yaml\n")
        if each.startswith("apiVersion: batch/v1")
    ]
    told: Any = yaml.safe_load(text)
    told["metadata"]["namespace"] = release.namespace
    told["spec"]["completions"] = SHARDS
    [container] = told["spec"]["template"]["spec"]["containers"]
    container |= {"image": CERTROTD, "imagePullPolicy": "Never"}
    container["args"] = [each.replace("/16", f"/{SHARDS}") for each in container["args"]]
    return dict(told)


def logs(release: Release) -> str:
    """What the pods of the Job have said; a failure if one of them fails."""
    said = ""
    for each in release.cluster.pods(release.namespace, "job-name=reencrypt-shop"):
        if each["status"]["phase"] not in ("Pending", "Unknown"):
            said += release.kubectl("logs", each["metadata"]["name"])
        assert each["status"]["phase"] != "Failed", said
    return said


def test_pods_of_a_job_take_shards_and_the_census_is_the_daemons(
    cluster: Cluster, database: PostgreSQL, release: Release
) -> None:
    """Every value is under the new key, each pod ends with its shard, and one of them is killed."""

    def rows(sql: str) -> list[Any]:
        with database.connect("postgres") as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor)

    path = f"/api/v1/namespaces/{release.namespace}/secrets"
    cluster.until(
        lambda: "app-keys" in [e["metadata"]["name"] for e in cluster.api.get(path)["items"]],
        within=300,
        what="the first key",
        namespace=release.namespace,
    )
    old = keys(release)[0]
    with database.connect("postgres") as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into customers values (%s, %s, 'note')",
            [(n, TINK.encrypt(b"value %d" % n, old, b"customers/%d" % n)) for n in range(ROWS)],
        )
        connection.commit()
    cluster.apply(release.namespace, job(release))
    cluster.until(
        lambda: logs(release).count("nothing has begun: waiting") == SHARDS,
        within=300,
        what="every pod waits",
        namespace=release.namespace,
    )
    release.run("keys", "rotate", "shop", "--reason", "test")

    def held_by_pods() -> list[str]:
        try:
            told = rows(
                "select split_part(holder, ':', 1) from certrotd_checkpoints where state = 'open' "
                "and held_until > 0 and seen > 0"
            )
        except Exception:  # noqa: BLE001  # there is no table yet
            return []
        return [each[0] for each in told if each[0].startswith("reencrypt-shop-")]

    cluster.until(
        lambda: bool(held_by_pods()),
        within=300,
        what="a pod has a shard",
        namespace=release.namespace,
    )
    name = held_by_pods()[0]
    before = {number: (holder or "", token) for number, holder, token in rows(TAKEN)}
    pods = cluster.pods(release.namespace, "job-name=reencrypt-shop")
    [victim] = [e for e in pods if e["metadata"]["name"].startswith(name)]
    release.kill(victim["metadata"]["name"])
    at = f"/apis/batch/v1/namespaces/{release.namespace}/jobs/reencrypt-shop"
    cluster.until(
        lambda: cluster.api.get(at)["status"].get("succeeded") == SHARDS,
        within=600,
        what="every index is complete",
        namespace=release.namespace,
    )
    new = keys(release)[0]
    assert new.id != old.id
    for number, email, note in rows("select * from customers"):
        assert TINK.decrypt(bytes(email), new, b"customers/%d" % number) == b"value %d" % number
        assert note == "note"
    after = {number: (holder, token) for number, holder, token in rows(TAKEN)}
    [number] = [n for n, (holder, _) in before.items() if holder.startswith(name)]
    assert after[number][1] > before[number][1], "another has taken what the killed one had"
    assert len({holder for holder, _ in after.values()}) > 1, "the daemon has not done it alone"

    def is_retired() -> bool:
        [told] = json.loads(release.run("keys", "list", "--json"))
        return [each["state"] for each in told["versions"]] == ["retired", "active"]

    cluster.until(is_retired, within=300, what="the census", namespace=release.namespace)

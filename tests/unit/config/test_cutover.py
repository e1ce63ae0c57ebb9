"""How an application that holds one key is cut over: what a file may say of it."""

from __future__ import annotations

from typing import Any

import pytest

from certrotd.config.keyrings import KeyringEntry

PROBE = {"http": "http://127.0.0.1:8080/ready"}
DATASET = {"type": "sql", "url": "sqlite:////app.db", "table": "t", "columns": ["c"]}
PROGRAMS = {"stop": ["/bin/true"], "start": ["/bin/true"]}


def keyring(**changes: Any) -> dict[str, Any]:
    """An entry that is right, but for the changes."""
    entry: dict[str, Any] = {
        "outputs": [{"type": "dotenv", "path": "/app.env", "key": "KEY"}],
        "datasets": {"rows": DATASET},
        "cutover": {"units": ["app.service"], "probe": PROBE},
    }
    return {**entry, **changes}


def test_units_or_programs_stop_it() -> None:
    """The control."""
    assert KeyringEntry.model_validate(keyring()).cutover is not None
    scale = {"workloads": ["deployment/app", "statefulset/db"], "namespace": "shop"}
    KeyringEntry.model_validate(keyring(cutover={"scale": scale, "probe": PROBE}))
    KeyringEntry.model_validate(keyring(cutover={"containers": {"names": ["a"]}, "probe": PROBE}))
    KeyringEntry.model_validate(keyring(cutover={**PROGRAMS, "probe": {"command": ["/bin/true"]}}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cutover": {"probe": PROBE}}, "needs either units, or scale, or containers, or stop"),
        ({"cutover": {"units": ["a.service"], **PROGRAMS, "probe": PROBE}}, "needs either units"),
        ({"cutover": {"stop": ["/bin/true"], "probe": PROBE}}, "stop and start belong together"),
        (
            {"cutover": {"units": ["a.service"], "stopped": ["/bin/true"], "probe": PROBE}},
            "stopped and environment belong to stop and start",
        ),
        ({"cutover": {"units": ["a.service"], "probe": {}}}, "needs either http or command"),
        (
            {
                "cutover": {
                    "units": ["a.service"],
                    "probe": {"command": ["/bin/true"], "contains": "x"},
                }
            },
            "contains and roots belong to http",
        ),
        (
            {"cutover": {"scale": {"workloads": ["daemonset/app"]}, "probe": PROBE}},
            "daemonset/app has a pod on each node: it is not scaled",
        ),
        (
            {
                "cutover": {
                    "units": ["a.service"],
                    "scale": {"workloads": ["deployment/a"]},
                    "probe": PROBE,
                }
            },
            "needs either units, or scale, or containers, or stop",
        ),
        (
            {"cutover": {"containers": {"names": ["a"], "host": "tcp://d:2376"}, "probe": PROBE}},
            "host is tcp without tls",
        ),
        ({"outputs": []}, "cutover needs outputs"),
        ({"outputs": [{"type": "keyring", "path": "/k"}]}, "none of type keyring"),
        ({"consumers": {"web": {"target": "web"}}}, "leave consumers, readers out"),
        ({"datasets": {}}, "re-encrypts the datasets, and there are none"),
        ({"datasets": {"rows": {"census": ["/bin/true"]}}}, '"rows" is a program'),
        ({"datasets": {"rows": {**DATASET, "plaintext": "encrypt"}}}, "does not go with cutover"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], why: str) -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match=why):
        KeyringEntry.model_validate(keyring(**changes))

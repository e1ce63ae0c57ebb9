"""The Helm chart of this tree: its values as examples have them, and what helm makes of them."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.parts import locate
from tests.parts.kubernetes.api import Object

CHART = Path(__file__).resolve().parents[3] / "deploy" / "helm" / "certrotd"
MODES = ("deployment", "cronjob", "sidecar")
NAMESPACE = "certrotd"
_VERSION = "1.34.4"


class HelmRefused(Exception):
    """helm ended with an error; what it said."""


def example(mode: str, **more: Any) -> Object:
    """The values of the example for a mode, with others of the first level in their place."""
    found: Object = yaml.safe_load((CHART / "examples" / f"{mode}.yaml").read_text())
    return found | more


def changed(mode: str, path: str, value: Any) -> Object:
    """The example's values with another one somewhere: "image.tag"."""
    values = example(mode)
    set_at(values, path, value)
    return values


def rewriting(**more: Any) -> Object:
    """The values of the example with a dataset of objects, and the word that it takes."""
    dataset = {"type": "kubernetes", "resources": ["secrets", "configmaps"], **more}
    outputs = [{"type": "kubernetes-encryption-configuration", "path": "/etc/kubernetes/keys"}]
    keyring = {"outputs": outputs, "datasets": {"objects": dataset}}
    return changed("deployment", "config.keyrings", {"etcd": keyring}) | {
        "rbac": {"rewriteObjects": True}
    }


def set_at(values: Object, path: str, value: Any) -> None:
    """Sets one of many values."""
    *folders, last = path.split(".")
    for folder in folders:
        values = values.setdefault(folder, {})
    values[last] = value


def template(
    values: Mapping[str, Any],
    *options: str,
    name: str = "certrotd",
    namespace: str = NAMESPACE,
    chart: Path = CHART,
) -> list[Object]:
    """The objects of a release, tests and all; raises HelmRefused."""
    said = _helm(["template", name, str(chart)], values, f"--namespace={namespace}", *options)
    return [each for each in yaml.safe_load_all(said) if each]


def lint(values: Mapping[str, Any]) -> str:
    """What helm's linter says, to whom a warning is an error; raises HelmRefused."""
    return _helm(["lint", str(CHART)], values, "--strict")


def one(objects: list[Object], kind: str, *, namespace: str | None = None) -> Object:
    """The only object of a kind, or of those in a namespace."""
    [found] = [
        each
        for each in objects
        if each["kind"] == kind and namespace in (None, each["metadata"].get("namespace"))
    ]
    return found


def _helm(command: list[str], values: Mapping[str, Any], *options: str) -> str:
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        # without a cluster to ask, it takes a version that is long gone
        options = (*options, f"--values={file}", f"--kube-version={_VERSION}")
        ran = subprocess.run(
            [locate.require("helm"), *command, *options],
            env={"HOME": made},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    if ran.returncode:
        raise HelmRefused(f"{ran.stdout}{ran.stderr}")
    return ran.stdout

"""Objects that tests of the cluster make: deployments of pods, Secrets, what pods mount."""

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]


def container(image: str, *command: str, **fields: Any) -> Object:
    """A container of an image that the node has; it ends at once when it is told to."""
    return {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(command),
        **fields,
    }


def shell(script: str) -> Sequence[str]:
    """A command that a signal ends, although a shell is the container's first process."""
    return ("sh", "-c", f"trap 'exit 0' TERM; {script}")


def pod(name: str, *containers: Object, **spec: Any) -> Object:
    """A pod that is killed without a grace period."""
    fields = {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": fields,
    }


def deployment(name: str, replicas: int, *containers: Object, **spec: Any) -> Object:
    """Pods labelled app=name, replaced one by one."""
    template = pod(name, *containers, **spec)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }


def service(name: str, port: int) -> Object:
    """What gives the pods labelled app=name one address."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": port}]},
    }


def secret(name: str, content: Mapping[str, str]) -> Object:
    """A Secret of texts."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": dict(content),
    }


def secret_volume(name: str) -> Object:
    """A Secret as a volume of the same name."""
    return {"name": name, "secret": {"secretName": name}}

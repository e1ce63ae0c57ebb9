"""The YAML on the page of target ``kubernetes``."""

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[3] / "docs/kubernetes-target.md"


def blocks() -> list[str]:
    """Each block of YAML."""
    return re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def rules() -> list[dict[str, Any]]:
    """Those of the Role."""
    [role] = [each for each in map(yaml.safe_load, blocks()) if each.get("kind") == "Role"]
    found: list[dict[str, Any]] = role["rules"]
    return found


def role(*, finds: bool = False, execs: bool = False) -> list[dict[str, Any]]:
    """The rules for a target that finds workloads, or that runs programs instead of a restart."""
    found = []
    for rule in rules():
        [resource, *_], verbs = rule["resources"], rule["verbs"]
        if resource == "deployments":
            if ("list" in verbs) != finds:
                continue
            rule = {**rule, "verbs": [verb for verb in verbs if verb != "patch" or not execs]}
        restarts = resource == "poddisruptionbudgets" or "delete" in verbs
        if (restarts and execs) or (resource == "pods/exec" and not execs):
            continue
        found.append(rule)
    return found

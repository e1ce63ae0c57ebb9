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

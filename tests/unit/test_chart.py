"""What stands in the Helm chart and elsewhere says the same in both places."""

import subprocess
import sys
from pathlib import Path

import yaml

from certrotd import __version__

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "certrotd"


def test_the_schema_is_that_of_the_values() -> None:
    """And of certrotd's configuration: scripts/chart-schema makes it."""
    script = [sys.executable, str(ROOT / "scripts" / "chart-schema"), "--check"]
    ran = subprocess.run(script, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_version_is_that_of_the_package() -> None:
    """Of the chart, and of the image that it takes."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_every_value_is_on_the_page() -> None:
    """By its name."""
    page = (CHART / "README.md").read_text()
    for name in yaml.safe_load((CHART / "values.yaml").read_text()):
        assert f"`{name}" in page, name

"""How an adapter is given the API server of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd.errors import NeedsOperator

if TYPE_CHECKING:
    from certrotd.kube.api import Api

Connect = Callable[[Path | None, str | None], "Api"]
"""The API server of a kubeconfig and a context, without one the pod's; raises NeedsOperator.

Whoever asks for the same is given the same.
"""


def unconnected(kubeconfig: Path | None, context: str | None) -> Api:  # noqa: ARG001
    """As Connect, where there is none."""
    raise NeedsOperator("nothing here connects to an API server")

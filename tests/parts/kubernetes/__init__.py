"""A real Kubernetes for tests: its API server alone, or a whole node that runs pods."""

from tests.parts.kubernetes.api import Api, ApiError, Credentials
from tests.parts.kubernetes.control_plane import ControlPlane

__all__ = ["Api", "ApiError", "ControlPlane", "Credentials"]

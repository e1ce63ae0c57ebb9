"""What a controller says of Deployments, where none runs: each change is rolled out at once."""

import threading
from typing import Self

from tests.parts.kubernetes.api import Api, ApiError


class RollingController:
    """Within it, Deployments of a namespace are as whole as they are told to be."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            for each in self._api.get(self._path)["items"]:
                metadata, wanted = each["metadata"], each["spec"]["replicas"]
                if each["status"].get("observedGeneration") == metadata["generation"]:
                    continue
                counts = dict.fromkeys(
                    ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted
                )
                status = {"observedGeneration": metadata["generation"], **counts}
                try:
                    self._api.merge(f"{self._path}/{metadata['name']}/status", {"status": status})
                except ApiError as error:
                    if error.status not in (404, 409):
                        raise

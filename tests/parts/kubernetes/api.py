"""Asking a Kubernetes API server in JSON over HTTPS, without any client library."""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

_MERGE = "application/merge-patch+json"

Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused; ``status`` and ``reason`` are those of its answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Credentials:
    """Who asks which server: by a bearer token, or by a client certificate and its key (files)."""

    server: str
    ca_file: Path
    token: str | None = field(default=None, repr=False)
    certificate: tuple[Path, Path] | None = None

    def kubeconfig(self, namespace: str = "default") -> str:
        """The same as the text of a kubeconfig (JSON, which is YAML too), complete in itself."""
        user: dict[str, str] = {}
        if self.token is not None:
            user["token"] = self.token
        if self.certificate is not None:
            chain, key = self.certificate
            user |= {"client-certificate-data": _encoded(chain), "client-key-data": _encoded(key)}
        cluster = {"server": self.server, "certificate-authority-data": _encoded(self.ca_file)}
        context = {"cluster": "test", "user": "test", "namespace": namespace}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": user}],
                "contexts": [{"name": "test", "context": context}],
                "current-context": "test",
            },
            indent=2,
        )

    def write_kubeconfig(self, file: Path, namespace: str = "default") -> Path:
        """Writes that text where nobody else may read it, and returns the path."""
        file.touch(mode=0o600)
        file.write_text(self.kubeconfig(namespace))
        return file


class Api:
    """The API as some user: every call is a connection of its own, from the calling thread."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._host = urlsplit(credentials.server).netloc
        self._tls = ssl.create_default_context(cafile=credentials.ca_file)
        if credentials.certificate is not None:
            self._tls.load_cert_chain(*credentials.certificate)

    def get(self, path: str, **query: str) -> Object:
        """An object, or a list of them, e.g. of "/api/v1/namespaces/default/secrets/web"."""
        return self.ask("GET", path, query=query)

    def create(self, path: str, content: Mapping[str, Any]) -> Object:
        """Makes an object in the collection of that path; what it is then."""
        return self.ask("POST", path, content)

    def replace(self, path: str, content: Mapping[str, Any]) -> Object:
        """Replaces an object."""
        return self.ask("PUT", path, content)

    def merge(self, path: str, change: Mapping[str, Any], **query: str) -> Object:
        """Changes an object by a JSON merge patch (RFC 7396)."""
        return self.ask("PATCH", path, change, content_type=_MERGE, query=query)

    def delete(self, path: str, **query: str) -> Object:
        """Deletes an object, or what a collection has."""
        return self.ask("DELETE", path, query=query)

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        try:
            self.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def ask(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object:
        """What the server answers; raises ApiError where it refuses, OSError where it is not there.

        An answer that is no JSON, such as a pod's log or a health check's, is {"text": …}.
        """
        headers = {"Accept": "application/json", "Content-Type": content_type}
        if self.credentials.token is not None:
            headers["Authorization"] = f"Bearer {self.credentials.token}"
        connection = http.client.HTTPSConnection(self._host, timeout=60, context=self._tls)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            body = None if content is None else json.dumps(content)
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        is_json = "json" in answer.headers.get("Content-Type", "")
        found: Object = json.loads(text) if is_json else {"text": text}
        if answer.status >= 400:
            said = found.get("message") or found.get("text") or ""
            raise ApiError(answer.status, str(found.get("reason", answer.reason)), str(said))
        return found


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()

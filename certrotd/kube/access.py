"""Where an API server is, and how certrotd shows it who it is."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.extras import how_to_install
from certrotd.files.disktrouble import explained
from certrotd.files.reading import read_file
from certrotd.pki.roots import load_roots

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has its ServiceAccount."""
UNTRUSTED = "the kubeconfig, or the pod's account, has the CA of another cluster"
"""What to do about an API server that is not trusted."""
_TOKEN_SIZE = 64 * 1024


@dataclass(frozen=True)
class Access:
    """An API server and an account there.

    ``server`` is a URL, ``namespace`` the account's own. ``token`` gives the bearer token as it is
    now, for the kubelet renews it; None with a client certificate.
    """

    server: str
    context: ssl.SSLContext
    namespace: str
    token: Callable[[], str] | None = None


def access(kubeconfig: Path | None, context: str | None, environment: Mapping[str, str]) -> Access:
    """What a kubeconfig says, or without one that of the pod; raises NeedsOperator."""
    if kubeconfig is None:
        return in_pod(environment)
    return from_kubeconfig(kubeconfig, context=context)


def in_pod(environment: Mapping[str, str], *, account: Path = ACCOUNT) -> Access:
    """That of the pod that this process runs in; raises NeedsOperator where it has none."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").exists():
        raise NeedsOperator(
            "this is no pod with a ServiceAccount",
            hint="outside of a cluster, name a kubeconfig",
        )
    address = f"[{host}]" if ":" in host else host
    with explained(f"read {account}/namespace"):
        namespace = (account / "namespace").read_text().strip()
    return Access(
        f"https://{address}:{port}",
        trusting(account / "ca.crt"),
        namespace,
        lambda: token_in(account / "token"),
    )


def from_kubeconfig(path: Path, *, context: str | None = None) -> Access:
    """What a kubeconfig says, by the official client: that knows its plug-ins.

    Raises NeedsOperator.
    """
    try:
        from kubernetes import config
        from kubernetes.client import Configuration
    except ImportError:
        raise NeedsOperator(
            "a kubeconfig takes the package kubernetes", hint=how_to_install("kubernetes")
        ) from None
    found = Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            str(path), context=context, client_configuration=found
        )
        contexts, chosen = config.list_kube_config_contexts(str(path))  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  # whatever its YAML, plug-ins and files raise
        raise NeedsOperator(
            f"{path} cannot be used as a kubeconfig: {error}", hint="kubectl --kubeconfig tells"
        ) from None
    if not found.verify_ssl:
        raise NeedsOperator(
            f"{path} says not to verify the API server",
            hint="have it name the cluster's CA instead",
        )
    tls = trusting(Path(found.ssl_ca_cert)) if found.ssl_ca_cert else ssl.create_default_context()
    if found.cert_file:
        try:
            tls.load_cert_chain(found.cert_file, found.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise NeedsOperator(
                f"the client certificate of {path} cannot be used: {error.strerror or error}",
                hint="kubectl --kubeconfig tells",
            ) from None
    if context is not None:
        [chosen] = [each for each in contexts if each["name"] == context]
    namespace = str(chosen["context"].get("namespace") or "default")

    def asked() -> str:  # it may be a plug-in's, which is asked again once it expires
        value = str(found.auth_settings()["BearerToken"]["value"])
        return _checked(value.removeprefix("Bearer "), f"what {path} gives")

    file = _token_file(path, chosen["context"].get("user"))
    token = partial(token_in, file) if file is not None else asked if found.api_key else None
    return Access(str(found.host).rstrip("/"), tls, namespace, token)


def _token_file(path: Path, user: object) -> Path | None:
    """Where a kubeconfig says that the token of a user is, which may be replaced at any time.

    The official client reads it once.
    """
    import yaml

    for each in yaml.safe_load(path.read_text()).get("users") or ():
        if each.get("name") == user and (file := (each.get("user") or {}).get("tokenFile")):
            return path.parent / str(file)
    return None


def trusting(roots: Path) -> ssl.SSLContext:
    """A client's context that trusts the certificates in a PEM file alone; raises NeedsOperator."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_roots(context, roots, what="the cluster's CA", hint="a pod has it beside its token")
    return context


def token_in(path: Path) -> str:
    """The token in a file; raises NeedsOperator, InvalidInput or DiskTrouble."""
    try:
        data = read_file(path, limit=_TOKEN_SIZE)
    except FileNotFoundError:
        raise NeedsOperator(f"there is no token at {path}") from None
    return _checked(data.decode("utf-8", "replace"), f"what is in {path}")


def _checked(text: str, what: str) -> str:
    """A token as a header takes it; raises InvalidInput, which does not show it."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput(f"{what} is no token")
    return token

"""A Kubernetes API server of the tests does what tests rely on it for."""

import base64
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.parts import Parts
from tests.parts.kubernetes import Api, ApiError, ControlPlane
from tests.parts.process import wait_until

SECRET = {"metadata": {"name": "web"}, "stringData": {"word": "first"}}


@pytest.fixture(scope="module")
def own(module_parts: Parts) -> ControlPlane:
    """One that a test may stop."""
    return module_parts.start(ControlPlane)


def secrets(namespace: str) -> str:
    """Where the Secrets of a namespace are."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def test_a_secret_is_changed_only_at_the_revision_that_was_read(
    control_plane: ControlPlane,
) -> None:
    """The resourceVersion is what every guarded write stands on."""
    api, path = control_plane.api, secrets(control_plane.namespace())
    old = api.create(path, SECRET)
    assert base64.b64decode(old["data"]["word"]) == b"first"
    api.merge(f"{path}/web", {"stringData": {"word": "second"}})
    with pytest.raises(ApiError, match="the object has been modified") as caught:
        api.replace(f"{path}/web", {**old, "stringData": {"word": "third"}})
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    assert base64.b64decode(api.get(f"{path}/web")["data"]["word"]) == b"second"
    api.delete(f"{path}/web")
    assert not api.exists(f"{path}/web")


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(
    control_plane: ControlPlane,
) -> None:
    """RBAC is in force, per name and per verb."""
    namespace = control_plane.namespace()
    path = secrets(namespace)
    control_plane.api.create(path, SECRET)
    api = Api(control_plane.service_account(namespace, "reader"))
    with pytest.raises(ApiError, match="cannot get resource"):
        api.get(f"{path}/web")
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["web"]}
    control_plane.allow(namespace, "reader", rule)
    assert api.get(f"{path}/web")["metadata"]["name"] == "web"
    for refused in (path, f"{path}/other", f"{secrets('default')}/web"):
        with pytest.raises(ApiError) as caught:
            api.get(refused)
        assert caught.value.status == 403
    control_plane.allow(namespace, "reader")
    with pytest.raises(ApiError, match="cannot get resource"):
        api.get(f"{path}/web")


def test_a_bound_token_dies_with_its_object_and_no_other_is_taken(
    control_plane: ControlPlane,
) -> None:
    """What the API server says to a token that it does not know any more is 401."""
    namespace = control_plane.namespace()
    bound = control_plane.api.create(secrets(namespace), SECRET)
    reference = {"kind": "Secret", "apiVersion": "v1", "name": "web"}
    credentials = control_plane.service_account(namespace, "bound", bound_to=reference)
    reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = Api(credentials).create(reviews, {})
    user = answer["status"]["userInfo"]["username"]
    assert user == f"system:serviceaccount:{namespace}:bound"
    assert credentials.token is not None
    assert credentials.token not in repr(credentials)

    control_plane.api.delete(f"{secrets(namespace)}/{bound['metadata']['name']}")
    # an answer about a token is kept for ten seconds
    wait_until(lambda: is_refused(Api(credentials)), what="the token is not taken any more")
    assert is_refused(Api(replace(credentials, token="abc")))


def is_refused(api: Api) -> bool:
    """Whether the server does not know who asks."""
    try:
        api.get("/api")
    except ApiError as error:
        return error.status == 401
    return False


def test_a_client_certificate_says_user_and_groups(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Its subject is the user (CN) and the groups (O)."""
    someone = control_plane.user("jane:doe", "developers")
    reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = Api(someone).create(reviews, {})["status"]["userInfo"]
    assert (info["username"], info["groups"]) == (
        "jane:doe",
        ["developers", "system:authenticated"],
    )
    written = someone.write_kubeconfig(tmp_path / "kubeconfig")
    assert written.stat().st_mode & 0o777 == 0o600


def test_the_audit_log_names_the_calls_and_no_secret(control_plane: ControlPlane) -> None:
    """API calls are counted there."""
    namespace = control_plane.namespace()
    control_plane.api.create(
        secrets(namespace), {**SECRET, "stringData": {"word": "bond-jamesbond"}}
    )
    wait_until(lambda: f"{secrets(namespace)}" in control_plane.audit_log.read_text())
    assert "bond" not in control_plane.audit_log.read_text()


def test_a_paused_api_server_takes_connections_and_answers_later(own: ControlPlane) -> None:
    """SIGSTOP and SIGCONT: as when its machine is frozen."""
    own.pause()
    try:
        with socket.create_connection(("127.0.0.1", int(own.url.rpartition(":")[2]))) as waiting:
            waiting.settimeout(0.5)
            waiting.sendall(b"\x16\x03\x01")
            with pytest.raises(TimeoutError):
                waiting.recv(1)
    finally:
        own.resume()
    assert own.api.get("/readyz")["text"] == "ok"


def test_a_restarted_api_server_has_kept_everything(own: ControlPlane) -> None:
    """etcd keeps it, and a token is still good: the key that signs is the same."""
    namespace = own.namespace()
    credentials = own.service_account(namespace, "stays")
    own.kill()
    with pytest.raises(OSError, match="refused"):
        own.api.get("/readyz")
    own.restart()
    assert own.api.exists(f"/api/v1/namespaces/{namespace}/serviceaccounts/stays")
    assert not is_refused(Api(credentials))


def test_a_slow_etcd_delays_every_write(own: ControlPlane) -> None:
    """The negative control is the same write without it."""
    path = secrets(own.namespace())

    def seconds(name: str) -> float:
        began = time.monotonic()
        own.api.create(path, {"metadata": {"name": name}})
        return time.monotonic() - began

    with own.slow_etcd(stopped=1.0):
        slow = sum(seconds(f"slow-{number}") for number in range(3))
    quick = sum(seconds(f"quick-{number}") for number in range(3))
    assert slow > max(1.0, quick)

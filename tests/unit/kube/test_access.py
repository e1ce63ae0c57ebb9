"""Where a pod's account is, and what of it cannot be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certrotd.clock import SystemClock
from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.kube.access import UNTRUSTED, Access, from_kubeconfig, in_pod, token_in, trusting
from certrotd.kube.api import Api
from tests.parts import pki
from tests.parts.kubernetes import Credentials
from tests.unit.observe.servers import Listener, context_of

ENVIRONMENT = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """As the kubelet mounts it."""
    folder = tmp_path / "account"
    folder.mkdir()
    pki.make_root("cluster").write(folder, "ca")
    (folder / "namespace").write_text("shop\n")
    (folder / "token").write_text("a.b.c\n")
    return folder


def test_a_pod_is_told_by_its_account_and_environment(account: Path) -> None:
    """The token is read when it is used: the kubelet renews it."""
    found = in_pod(ENVIRONMENT, account=account)
    assert (found.server, found.namespace) == ("https://10.96.0.1:443", "shop")
    assert found.token is not None
    assert found.token() == "a.b.c"
    (account / "token").write_text("d.e.f")
    assert found.token() == "d.e.f"


def test_an_address_of_ipv6_is_in_brackets(account: Path) -> None:
    """As in any URL (RFC 3986, 3.2.2)."""
    found = in_pod({"KUBERNETES_SERVICE_HOST": "fd00::1"}, account=account)
    assert found.server == "https://[fd00::1]:443"


@pytest.mark.parametrize("environment", [{}, ENVIRONMENT])
def test_what_is_no_pod_is_told_to_name_a_kubeconfig(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Neither the variables alone nor a folder alone make one."""
    with pytest.raises(NeedsOperator, match="name a kubeconfig"):
        in_pod(environment, account=tmp_path)


@pytest.mark.parametrize("data", [b"", b"two words", b"\xff\xfe", b"a\x00b", b"x" * 70_000])
def test_a_token_that_is_none_is_never_sent(tmp_path: Path, data: bytes) -> None:
    """It would become a header."""
    path = tmp_path / "token"
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as caught:
        token_in(path)
    assert "two words" not in str(caught.value)


def test_a_token_of_a_kubeconfig_that_is_none_is_never_sent(tmp_path: Path) -> None:
    """Nor shown: h11 would quote it in what it raises."""
    ca, _ = pki.make_root("cluster").write(tmp_path, "ca")
    told = json.loads(Credentials("https://127.0.0.1:1", ca).kubeconfig())
    told["users"][0]["user"] = {"token": "two words"}
    (tmp_path / "config").write_text(json.dumps(told))
    found = from_kubeconfig(tmp_path / "config")
    assert found.token is not None
    with pytest.raises(InvalidInput, match="gives is no token") as caught:
        found.token()
    assert "two words" not in str(caught.value)


def test_a_token_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(NeedsOperator, match="there is no token at"):
        token_in(tmp_path / "token")


def test_a_ca_that_cannot_be_read_is_said(account: Path) -> None:
    """Nothing is trusted instead of it."""
    (account / "ca.crt").write_text("no PEM")
    with pytest.raises(NeedsOperator, match="the cluster's CA"):
        in_pod(ENVIRONMENT, account=account)


@pytest.mark.parametrize("text", ["", "{", "clusters: 7\ncurrent-context: x", "a: [b"])
def test_a_kubeconfig_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    """Whatever the official client raises."""
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(Failure) as caught:
        from_kubeconfig(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_kubeconfig_that_trusts_anybody_is_refused(tmp_path: Path) -> None:
    """Who answers in the API server's place would be given a token."""
    ca, _ = pki.make_root("cluster").write(tmp_path, "ca")
    told = json.loads(Credentials("https://127.0.0.1:1", ca, token="a.b.c").kubeconfig())
    told["clusters"][0]["cluster"] = {
        "server": "https://127.0.0.1:1",
        "insecure-skip-tls-verify": True,
    }
    (tmp_path / "config").write_text(json.dumps(told))
    with pytest.raises(NeedsOperator, match="not to verify"):
        from_kubeconfig(tmp_path / "config")


def test_a_client_certificate_that_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    """As any other fault of a kubeconfig: whoever asks goes on without an answer."""
    authority = pki.make_root("cluster")
    ca, _ = authority.write(tmp_path, "ca")
    chain, _ = pki.make_leaf(authority, "client").write(tmp_path, "one")
    _, key = pki.make_leaf(authority, "client").write(tmp_path, "other")
    path = tmp_path / "kubeconfig"
    path.write_text(f"""
apiVersion: v1
kind: Config
clusters: [{{name: a, cluster: {{server: https://127.0.0.1:1, certificate-authority: {ca}}}}}]
users: [{{name: a, user: {{client-certificate: {chain}, client-key: {key}}}}}]
contexts: [{{name: a, context: {{cluster: a, user: a}}}}]
current-context: a
""")
    with pytest.raises(NeedsOperator, match=r"the client certificate of .* cannot be used"):
        from_kubeconfig(path)


def test_a_kubeconfig_says_server_account_and_namespace(tmp_path: Path) -> None:
    """By a token, or by a client's certificate."""
    authority = pki.make_root("cluster")
    ca, _ = authority.write(tmp_path, "ca")
    pair = pki.make_client(authority, "jane").write(tmp_path, "jane")
    by_token = Credentials("https://127.0.0.1:1", ca, token="a.b.c")
    found = from_kubeconfig(by_token.write_kubeconfig(tmp_path / "one", "shop"))
    assert (found.server, found.namespace) == ("https://127.0.0.1:1", "shop")
    assert found.token is not None
    assert found.token() == "a.b.c"
    by_pair = Credentials("https://127.0.0.1:1", ca, certificate=pair)
    found = from_kubeconfig(by_pair.write_kubeconfig(tmp_path / "two"))
    assert (found.token, found.namespace) == (None, "default")


def test_a_kubeconfigs_context_is_the_one_that_is_named(tmp_path: Path) -> None:
    """With its namespace and user; without a name it is the current one."""
    ca, _ = pki.make_root("cluster").write(tmp_path, "ca")
    told = json.loads(Credentials("https://127.0.0.1:1", ca, token="a.b.c").kubeconfig("shop"))
    told["users"].append({"name": "other", "user": {"token": "d.e.f"}})
    other = {"cluster": "test", "user": "other", "namespace": "office"}
    told["contexts"].append({"name": "other", "context": other})
    path = tmp_path / "config"
    path.write_text(json.dumps(told))
    for context, namespace, token in ((None, "shop", "a.b.c"), ("other", "office", "d.e.f")):
        found = from_kubeconfig(path, context=context)
        assert found.token is not None
        assert (found.namespace, found.token()) == (namespace, token)


def test_a_kubeconfigs_token_file_is_read_when_it_is_used(tmp_path: Path) -> None:
    """Whoever put a token there replaces it before it expires; a path may be beside the file."""
    ca, _ = pki.make_root("cluster").write(tmp_path, "ca")
    told = json.loads(Credentials("https://127.0.0.1:1", ca).kubeconfig())
    (tmp_path / "token").write_text("a.b.c\n")
    for file in ("token", str(tmp_path / "token")):
        told["users"][0]["user"] = {"tokenFile": file}
        (tmp_path / "config").write_text(json.dumps(told))
        found = from_kubeconfig(tmp_path / "config")
        assert found.token is not None
        for token in ("a.b.c", "d.e.f"):
            (tmp_path / "token").write_text(token)
            assert found.token() == token


@pytest.mark.parametrize(
    ("age", "root", "cure"),
    [
        (0, "another", UNTRUSTED),
        (2, "cluster", "the clock of this machine is wrong"),
        (-2, "cluster", "the clock of this machine is wrong"),
    ],
    ids=["another cluster", "expired", "not yet valid"],
)
def test_an_api_server_that_is_not_trusted_is_said_with_the_cure(
    tmp_path: Path, age: int, root: str, cure: str
) -> None:
    """Its CA is in no option of certrotd's, and dates are a matter of clocks."""
    ca = pki.make_root("cluster")
    roots = {"cluster": ca, "another": pki.make_root("another")}
    begun = datetime.now(UTC) - timedelta(days=age, minutes=5)
    leaf = pki.make_leaf(ca, "127.0.0.1", lifetime=timedelta(days=1), not_before=begun)
    serving = context_of(leaf, tmp_path)
    (tmp_path / "roots.pem").write_bytes(roots[root].fullchain_pem)
    with Listener(lambda connection: serving.wrap_socket(connection, server_side=True)) as server:
        url = f"https://127.0.0.1:{server.port}"
        access = Access(url, trusting(tmp_path / "roots.pem"), "shop", lambda: "abc")
        with pytest.raises(NeedsOperator, match=r"the API server .* is not trusted") as failure:
            Api(access, SystemClock(), agent="test/1").get("/version")
    assert cure in failure.value.hint

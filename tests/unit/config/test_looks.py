"""``config check`` reads what a rotation will read, and looks for the programs it will run."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certrotd.config.base import Entry
from certrotd.config.load import check, load
from certrotd.pki import keys
from tests.parts import pki
from tests.unit.config.test_example import classes
from tests.unit.config.written import MINIMAL, write

ACME = "issuers:\n  ca:\n    type: acme\n    directory: https://ca.example.com/d\n    %s\n"
HOOK = MINIMAL + "notifications:\n  ops:\n    type: webhook\n    url: https://a.b/c\n"
SECRET = "    secret: {credential: a}\n"
TARGET = MINIMAL + "targets:\n  it:\n    %s\n"
TSIG = MINIMAL + (
    "solvers:\n  ns:\n    type: rfc2136\n    server: 192.0.2.1\n    tsig:\n      name: k\n"
    "      secret: {file: %s/key}\n"
)
ROOTS = TARGET % (
    "type: command\n    command: [/bin/true]\n    probe: [{address: 127.0.0.1:1, roots: %s}]"
)
KEK = "keks:\n  main:\n    %s\n"
KEYRING = KEK % "type: file\n    path: DIR/kek" + "keyrings:\n  app:\n    %s\n"
OUTPUT = KEYRING % "outputs:\n    - %s"
ACKNOWLEDGE = KEYRING % "consumers:\n      web:\n        acknowledge:\n          %s"
TEMPLATE = OUTPUT % "type: template\n      path: DIR/out\n      template: DIR/%s"
CIPHERS = "type: yaml-ciphers\n      path: DIR/out\n      stem: a\n      key_directory: DIR/%s"
USE = MINIMAL + "  targets: [{target: it, probe: [{address: 127.0.0.1:1, roots: %s}]}]\n"


def found(tmp_path: Path, text: str) -> list[str]:
    """What the check says of a file that loads; ``DIR`` stands for a folder."""
    file = write(tmp_path, text.replace("DIR", str(tmp_path)))
    load(file)
    problems, warnings = check(file)
    told = [(p, "") for p in problems] + [(w, " (warning)") for w in warnings]
    told = [(each, kind) for each, kind in told if "credential" not in each.message]
    return [
        f"{each.line}: {each.path}: {each.message}{kind}".replace(str(tmp_path), "DIR")
        for each, kind in told
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with roots that can be used, a pair, and much that cannot be."""
    root = pki.make_root()
    leaf = pki.make_leaf(pki.make_intermediate(root), "a.b")
    (tmp_path / "roots.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(leaf.key_pem)
    (tmp_path / "chain.pem").write_bytes(leaf.fullchain_pem)
    (tmp_path / "text").write_text("no PEM\n")
    (tmp_path / "key").write_text("not base64!\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "folder").mkdir()
    return tmp_path


NO_PEM = "DIR/text holds no certificate in PEM (name a PEM file of CA certificates)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # roots
        (ACME % "ca_bundle: DIR/text", f"5: issuers.ca.ca_bundle: the file {NO_PEM}"),
        (
            ACME % "ca_bundle: DIR/gone",
            "5: issuers.ca.ca_bundle: the file DIR/gone cannot be read: No such file or directory "
            "(name a PEM file of CA certificates)",
        ),
        (
            ACME % "ca_bundle: DIR/folder",
            "5: issuers.ca.ca_bundle: the file DIR/folder is not a regular file (name a PEM file "
            "of CA certificates)",
        ),
        (ACME % "ca_bundle: DIR/key.pem", "5: issuers.ca.ca_bundle: the file DIR/key.pem holds no"),
        (HOOK + SECRET + "    ca_bundle: DIR/text\n", "10: notifications.ops.ca_bundle: the file"),
        (ROOTS % "DIR/text", f"9: targets.it.probe[0].roots: the file {NO_PEM}"),
        (
            MINIMAL + "watch: [{address: 127.0.0.1:1, sni: a.b, roots: DIR/text}]\n",
            f"5: watch[0].roots: the file {NO_PEM}",
        ),
        # programs
        (
            TARGET % "type: nginx\n    binary: no-nginx",
            "8: targets.it.binary: the program no-nginx is not an executable file (install it, "
            "correct the path, or chmod +x it)",
        ),
        (
            TARGET % "type: nginx\n    binary: 'true'\n    reload: [DIR/text]",
            "9: targets.it.reload",
        ),
        (TARGET % "type: nginx\n    binary: 'true'\n    config: DIR/gone", "9: targets.it.config"),
        (
            TARGET % "type: nginx\n    binary: 'true'\n    config: DIR",
            "9: targets.it.config: DIR is",
        ),
        (TARGET % "type: nginx\n    binary: 'true'\n    prefix: DIR/gone", "9: targets.it.prefix"),
        (TARGET % "type: command\n    command: [DIR/text]", "8: targets.it.command: the program"),
        (
            TARGET % "type: command\n    command: [bin/x]",
            "8: targets.it.command: the program bin/x ",
        ),
        (
            TARGET % "type: command\n    command: [/bin/true]\n    check: [DIR/gone]",
            "9: targets.it.check: the program DIR/gone is not",
        ),
        (
            TARGET % "type: command\n    command: ['true']\n    environment: {PATH: DIR}",
            "8: targets.it.command: the program true is not",
        ),
        (
            MINIMAL + "solvers:\n  x:\n    type: exec\n    command: [DIR/gone]\n",
            "8: solvers.x.command: the program DIR/gone is not",
        ),
        # secrets with a form
        (
            TSIG % "DIR",
            "11: solvers.ns.tsig.secret: the secret of the TSIG key is not base64 (take the text "
            "between the quotes of the secret line of tsig-keygen)",
        ),
        (
            HOOK + "    secret: {file: DIR/key}\n",
            "9: notifications.ops.secret: the secret is not whsec_ and base64 (make one: echo "
            "whsec_$(openssl rand -base64 32))",
        ),
        (
            ACME % "eab: {key_id: k, key: {file: DIR/key}}" + "certificates: []\n",
            "5: issuers.ca.eab.key: the key under eab is not base64url, as CAs show it",
        ),
        # a pair to adopt
        (
            MINIMAL + "  adopt: {privkey: DIR/text, fullchain: DIR/chain.pem}\n",
            "5: certificates[web]",
        ),
        (
            MINIMAL + "  adopt: {privkey: DIR/key.pem, fullchain: DIR/text}\n",
            "5: certificates[web]",
        ),
        (
            MINIMAL + "  adopt: {privkey: DIR/key.pem, fullchain: DIR/gone}\n",
            "5: certificates[web].adopt.fullchain: DIR/gone does not exist: certrotd adopts "
            "nothing and orders a new certificate (warning)",
        ),
        # its own folders
        (MINIMAL + "state_dir: DIR/text\n", "5: state_dir: DIR/text is not a directory: name a"),
        (MINIMAL + "state_dir: DIR/text/a/b\n", "5: state_dir: DIR/text is not a directory"),
        (MINIMAL + "store_dir: DIR/text\n", "5: store_dir: DIR/text is not a directory"),
        # data keys
        (KEK % "type: file\n    path: DIR/text/kek", "4: keks.main.path: DIR/text is not a"),
        (
            KEK % "type: file\n    path: DIR/gone\n    create: false",
            "4: keks.main.path: DIR/gone cannot be read: No such file or directory",
        ),
        (
            OUTPUT % "type: tink\n      path: DIR/gone/k",
            "9: keyrings.app.outputs[0].path: DIR/gone",
        ),
        (
            OUTPUT % CIPHERS % "gone",
            "11: keyrings.app.outputs[0].key_directory: DIR/gone is not there: name a directory",
        ),
        (TEMPLATE % "gone", "10: keyrings.app.outputs[0].template: DIR/gone cannot be read"),
        (
            ACKNOWLEDGE % "http: https://a.b/c\n          roots: DIR/text",
            f"11: keyrings.app.consumers.web.acknowledge.roots: the file {NO_PEM}",
        ),
        (
            ACKNOWLEDGE % "command: [DIR/gone]",
            "10: keyrings.app.consumers.web.acknowledge.command: the program DIR/gone is not",
        ),
        (
            KEYRING % "datasets:\n      orders: {census: [DIR/gone]}",
            "8: keyrings.app.datasets.orders.census: the program DIR/gone is not an executable",
        ),
    ],
)
def test_a_file_or_program_that_would_fail_a_rotation_is_reported(
    files: Path, text: str, expected: str
) -> None:
    """Before an order is spent, and before a service is told of a pair that nothing proves."""
    [said] = found(files, text)
    assert said.startswith(expected)


def test_the_roots_of_a_certificates_own_endpoints_are_read(files: Path) -> None:
    """They replace those of the target."""
    text = USE % "DIR/text" + "targets:\n  it:\n    type: command\n    command: [/bin/true]\n"
    [said] = found(files, text)
    assert said.startswith(
        "5: certificates[web].targets[0].probe[0].roots: the file DIR/text holds"
    )


@pytest.mark.parametrize(
    "text",
    [
        ACME % "ca_bundle: DIR/roots.pem",
        HOOK + SECRET + "    ca_bundle: DIR/roots.pem\n",
        ROOTS % "DIR/roots.pem",
        ROOTS % "system",
        TARGET % "type: nginx\n    binary: 'true'\n    config: DIR/text\n    prefix: DIR",
        TARGET % "type: nginx\n    binary: /bin/true\n    reload: ['true', a]",
        MINIMAL + "  adopt: {privkey: DIR/key.pem, fullchain: DIR/chain.pem}\n",
        MINIMAL + "  adopt: {privkey: DIR/gone, cert: DIR/gone2, chain: DIR/gone3}\n",
        MINIMAL + "state_dir: DIR/new/folder\nstore_dir: DIR\n",
        TSIG.replace("{file: %s/key}", "{command: [/bin/false]}"),
        KEK % "type: file\n    path: DIR/new/kek",
        KEK % "type: file\n    path: DIR/key\n    create: false",
        OUTPUT % "type: tink\n      path: DIR/out",
        OUTPUT % CIPHERS % "folder",
        TEMPLATE % "text",
        ACKNOWLEDGE % "http: https://a.b/c\n          roots: DIR/roots.pem",
        ACKNOWLEDGE % "command: [/bin/true]",
        ACKNOWLEDGE % "heartbeat: DIR/new",
        KEYRING % "datasets:\n      orders: {census: ['true']}",
    ],
)
def test_files_and_programs_that_work_are_not_reported(files: Path, text: str) -> None:
    """The negative control: each of the same options with what is right for it."""
    assert found(files, text) == []


def test_system_programs_are_found_with_the_path_of_cron(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check at a shell and a rotation from cron must not differ."""
    system = [path.name for path in sorted(Path("/usr/sbin").iterdir())]
    program = next(name for name in system if not shutil.which(name, path="/usr/bin:/bin"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert found(tmp_path, TARGET % f"type: command\n    command: [{program}]") == []


def test_every_option_that_is_a_path_is_accounted_for() -> None:
    """A new one is looked at, or somebody has said why not."""
    written = {"install", "listen", "pid_file", "state_dir", "store_dir", "file"}
    later = {
        "directory",
        "heartbeat",
        "socket",
        "agent",
    }  # made at the first backup, and by the first process
    copies = {"privkey", "cert", "chain", "fullchain", "combined", "pkcs12"}
    elsewhere = {"files", "folder"}  # in the containers of pods, or of Docker
    elsewhere |= {"paths"}  # read by a scan, which says what it cannot read
    looked_at = {"ca_bundle", "roots", "config", "prefix", "path", "key_directory", "template"}
    looked_at |= {"module", "credentials", "kubeconfig", "ca", "key", "known_hosts", "csr"}
    for kind in classes():
        for name, field in kind.model_fields.items():
            if _is_path(field.annotation):
                known = written | later | copies | elsewhere | looked_at
                assert name in known, f"{kind.__name__}.{name}"
                if name in looked_at:
                    assert kind.examine is not Entry.examine, kind.__name__


def _is_path(annotation: Any) -> bool:
    arguments = getattr(annotation, "__args__", ())
    return annotation is Path or any(map(_is_path, arguments))


@pytest.mark.parametrize(
    ("text", "line", "module", "extra"),
    [
        (
            MINIMAL + "notifications:\n  ops:\n    type: apprise\n    urls: [{credential: a}]\n",
            "7: notifications.ops.type",
            "apprise",
            "notify",
        ),
    ],
)
def test_an_extra_that_is_not_installed_is_a_warning_with_what_installs_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    line: str,
    module: str,
    extra: str,
) -> None:
    """Not first when the certificate is due, or when the alert should go out."""
    assert found(tmp_path, text) == []
    monkeypatch.setitem(sys.modules, module, None)
    assert found(tmp_path, text) == [
        f"{line}: needs the Python module {module}, which is not installed (in certrotd's source "
        f"directory: {sys.executable} -m pip install '.[{extra}]') (warning)"
    ]


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ("type: systemd\n    unit: a.service", "7: targets.it.type"),
        ("type: signal\n    unit: a.service", "8: targets.it.unit"),
        ("type: signal\n    pid_file: /run/it.pid", None),  # the control: systemd is not asked
    ],
)
def test_a_unit_needs_systemctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, at: str | None
) -> None:
    """Its lack is found before the service is to be told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("certrotd.process._SYSTEM", ())
    said = found(tmp_path, TARGET % options)
    assert [line.partition(": the program systemctl is not")[0] for line in said] == (
        [at] if at else []
    )


@pytest.mark.parametrize(
    ("there", "warned"),
    [
        (keys.to_pem(keys.generate(keys.KeyType.RSA_2048)), True),
        (keys.to_pem(keys.generate(keys.KeyType.ECDSA_P256)), False),
        (b"damaged", False),  # whoever uses it says so
        (None, False),
    ],
    ids=["another", "the same", "damaged", "none"],
)
def test_an_account_key_of_another_type_is_told(
    tmp_path: Path, there: bytes | None, warned: bool
) -> None:
    """The option alone changes no key that is there."""
    text = f"state_dir: {tmp_path}\n" + ACME % "account_key: ecdsa-p256"
    account = tmp_path / "accounts" / "ca"
    account.mkdir(parents=True)
    if there is not None:
        (account / "account.key").write_bytes(there)
    file = write(tmp_path, text + "certificates: []\n")
    problems, warnings = check(file)
    assert problems == ()
    why = "is ecdsa-p256, but the account has a key of type rsa-2048"
    cure = "certrotd account rollover ca changes it"
    said = [(each.path, each.message) for each in warnings]
    assert said == ([("issuers.ca.account_key", f"{why} ({cure})")] if warned else [])

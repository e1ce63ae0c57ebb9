"""What people get wrong in a certificate's ``store:``, and the one line that tells them."""
# ruff: noqa: E501  # a line as it is written and what is said of it, side by side

from pathlib import Path

import pytest

from certrotd.config.load import check, load
from tests.unit.config.written import LAB, refused, said, write

WEB = LAB + "certificates:\n- name: web\n  names: [a.b]\n  store:\n    type: kubernetes\n"
MAIL = "- name: mail\n  names: [c.d]\n  store: {type: kubernetes, secret: %s}\n"
AT = "7: certificates[web].store"


def test_a_store_of_a_cluster_is_configured_by_its_secret_alone(tmp_path: Path) -> None:
    """All else has a default."""
    found = load(write(tmp_path, WEB + "    secret: web-tls\n")).config.certificates[0].store
    assert found is not None
    assert (found.secret, found.namespace, found.generations) == ("web-tls", None, None)
    assert (found.instance, found.adopt, found.keys) == ("certrotd", False, ())
    assert found.password() == b""


def test_a_certificate_without_a_store_is_kept_in_files(tmp_path: Path) -> None:
    """As ever."""
    text = LAB + "certificates:\n- name: web\n  names: [a.b]\n"
    assert load(write(tmp_path, text)).config.certificates[0].store is None


def test_the_password_is_read_when_it_is_needed(tmp_path: Path) -> None:
    """It may be there later than the configuration."""
    secret = tmp_path / "word"
    text = f"    secret: w\n    keys: [keystore.p12]\n    keystore_password: {{file: {secret}}}\n"
    found = load(write(tmp_path, WEB + text)).config.certificates[0].store
    assert found is not None
    secret.touch(mode=0o600)
    secret.write_text("word\n")
    assert found.password() == b"word"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "    secret: Web\n",
            f"{AT}.secret: must be the name of a Secret: lower-case letters, digits and '-' and dots, such as web-tls, got \"Web\"",
        ),
        (
            "    secret: a..b\n",
            f"{AT}.secret: must be the name of a Secret: lower-case letters, digits and '-' and dots, such as web-tls, got \"a..b\"",
        ),
        (
            "    namespace: a.b\n    secret: w\n",
            f"{AT}.namespace: must be the name of a namespace: lower-case letters, digits and '-', such as shop, got \"a.b\"",
        ),
        (
            "    generations: -a\n    secret: w\n",
            f"{AT}.generations: must be the name of a namespace: lower-case letters, digits and '-', such as shop, got \"-a\"",
        ),
        (
            "    instance: A\n    secret: w\n",
            f"{AT}.instance: must be a name of lower-case letters, digits and '-', such as certrotd, got \"A\"",
        ),
        (
            f"    instance: {'a' * 41}\n    secret: w\n",
            f"{AT}.instance: must have at most 40 characters, got 41",
        ),
    ],
)
def test_a_name_that_the_cluster_would_refuse_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    """With what would be right."""
    assert said(refused(tmp_path, WEB + text)) == [expected]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("    keys: [ca.crt, ca.crt]\n", "keys names one of them twice: keep one"),
        (
            "    keystore_password: {env: A}\n",
            "keystore_password is given, but keys does not name keystore.p12",
        ),
        ("    context: a\n", "context is given, but kubeconfig (the file that has it) is not"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """At the entry."""
    [found] = said(refused(tmp_path, WEB + "    secret: w\n" + text))
    assert found.endswith(f"certificates[web].store: {words}")


@pytest.mark.parametrize("other", ["adopt: {privkey: /a, fullchain: /b}", "bootstrap: self-signed"])
def test_there_is_one_beginning(tmp_path: Path, other: str) -> None:
    """The pair in the Secret, or another one."""
    [found] = said(refused(tmp_path, WEB + f"    secret: w\n    adopt: true\n  {other}\n"))
    name = other.partition(":")[0]
    assert found.endswith(
        f"certificates[web]: has both {name} and adopt of its store: keep one of them"
    )


def test_two_certificates_are_not_kept_in_one_secret(tmp_path: Path) -> None:
    """They would replace each other's; the control has another name."""
    load(write(tmp_path, WEB + "    secret: w\n" + MAIL % "v"))
    [found] = said(refused(tmp_path, WEB + "    secret: w\n" + MAIL % "w"))
    assert "certificates[mail].store.secret: w is also the Secret of" in found
    assert found.endswith("give each its own")


def test_an_unknown_key_and_a_type_that_is_none_are_refused(tmp_path: Path) -> None:
    """With what there is."""
    [found] = said(refused(tmp_path, WEB + "    secret: w\n    keys: [tls.pem]\n"))
    assert "certificates[web].store.keys[0]: must be" in found
    assert "combined.pem" in found
    [found] = said(refused(tmp_path, WEB.replace("kubernetes", "vault") + "    secret: w\n"))
    assert found.startswith("6: certificates[web].store.type: must be")
    assert "kubernetes" in found


def test_a_kubeconfig_that_is_not_there_is_found_by_a_check(tmp_path: Path) -> None:
    """It may come later than the configuration: loading does not ask."""
    path = write(tmp_path, WEB + f"    secret: w\n    kubeconfig: {tmp_path}/none\n")
    load(path)
    problems, _ = check(path)
    assert ["certificates[web].store.kubeconfig" in str(each) for each in problems] == [True]
    (tmp_path / "none").touch()
    assert check(path)[0] == ()

"""What is AWS KMS's own: its names of keys, its codes of errors, its settings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from certrotd.errors import Failure
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.port import (
    Damaged,
    Denied,
    Disabled,
    Kek,
    KekUnavailable,
    Unfit,
    WrongKek,
)
from tests.contract.kek_rigs import (
    CONTEXT,
    KEY,
    ONCE,
    aws_error,
    kek,
    refusal,
    soon,
)
from tests.parts.front import fronting
from tests.parts.key_services import Moto


class TestAws:
    @pytest.fixture(autouse=True)
    def login(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    @pytest.fixture
    def make(self, moto: Moto) -> Callable[[str], AwsKms]:
        return lambda key: AwsKms(key, moto.REGION, moto.url, None, 30)

    def test_every_name_of_a_key_is_the_same_key(
        self, moto: Moto, make: Callable[[str], AwsKms]
    ) -> None:
        """The id, the ARN and an alias: whichever the configuration has later."""
        found = moto.ask("create_key")["KeyMetadata"]
        moto.ask("create_alias", AliasName="alias/one", TargetKeyId=found["KeyId"])
        names = [found["KeyId"], found["Arn"], "alias/one"]
        wrapped = [kek(make(name)).wrap(KEY, CONTEXT) for name in names]
        for name in names:
            assert [kek(make(name)).unwrap(each, CONTEXT) for each in wrapped] == [KEY] * 3

    def test_an_alias_that_leads_elsewhere_is_another_kek(
        self, moto: Moto, make: Callable[[str], AwsKms]
    ) -> None:
        """Replacing a KEK is done with two of them side by side."""
        first, second = (moto.ask("create_key")["KeyMetadata"]["KeyId"] for _ in range(2))
        moto.ask("create_alias", AliasName="alias/moved", TargetKeyId=first)
        aliased = kek(make("alias/moved"))
        wrapped = aliased.wrap(KEY, CONTEXT)
        moto.ask("update_alias", AliasName="alias/moved", TargetKeyId=second)
        assert isinstance(refusal(lambda: aliased.unwrap(wrapped, CONTEXT)), WrongKek)
        assert kek(make(first)).unwrap(wrapped, CONTEXT) == KEY
        assert kek(make(second)).unwrap(aliased.wrap(KEY, CONTEXT), CONTEXT) == KEY

    def test_the_service_itself_binds_the_context(
        self, moto: Moto, make: Callable[[str], AwsKms]
    ) -> None:
        """A policy may demand it, and CloudTrail shows it."""
        keeper = make(moto.ask("create_key")["KeyMetadata"]["KeyId"])
        data = keeper.encrypt(ONCE, CONTEXT, soon()).data
        assert keeper.decrypt(data, CONTEXT, soon()) == ONCE
        with pytest.raises(Damaged):
            keeper.decrypt(data, {"keyring": "other"}, soon())

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("KMSInvalidStateException", Disabled),
            ("DisabledException", Disabled),
            ("InvalidCiphertextException", Damaged),
            ("IncorrectKeyException", WrongKek),
            ("NotFoundException", Unfit),
            ("InvalidKeyUsageException", Unfit),
            ("ExpiredTokenException", Denied),
            ("AccessDeniedException", Denied),
            ("UnrecognizedClientException", Denied),
        ],
    )
    def test_a_refusal_is_what_aws_calls_it(self, code: str, kind: type[Failure]) -> None:
        """Answers that moto does not give; the codes are those of the API's reference."""
        with fronting(lambda _: aws_error(code)) as front:
            keeper = AwsKms("alias/x", "eu-central-1", front.url)
            assert type(refusal(lambda: keeper.decrypt(b"data", CONTEXT, soon()))) is kind

    @pytest.mark.parametrize(
        "code", ["KMSInternalException", "DependencyTimeoutException", "SomethingNew"]
    )
    def test_an_internal_error_passes(self, code: str) -> None:
        """And so may what no reference has."""
        with fronting(lambda _: aws_error(code)) as front:
            keeper = AwsKms("alias/x", "eu-central-1", front.url)
            with pytest.raises(KekUnavailable, match=code):
                keeper.decrypt(b"data", CONTEXT, soon())

    def test_missing_settings_are_the_operators(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No region, no credentials, no such profile."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        url = "http://127.0.0.1:1"
        for keeper in (
            AwsKms("alias/x", None, url),
            AwsKms("alias/x", "eu-central-1", url),
            AwsKms("alias/x", "eu-central-1", url, "nobody"),
        ):
            assert isinstance(refusal(partial(keeper.encrypt, ONCE, {}, soon())), Denied)


def test_a_pod_logs_in_by_its_web_identity(
    moto: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By what EKS puts into its environment, and no key that is kept anywhere."""
    with monkeypatch.context() as administrator:
        administrator.setenv("AWS_ACCESS_KEY_ID", "testing")
        administrator.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        key = moto.ask("create_key")["KeyMetadata"]["KeyId"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    token = tmp_path / "token"
    token.write_text("a.projected.token")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto.url)

    def made() -> Kek:
        return kek(AwsKms(key, moto.REGION, moto.url, None, 30))

    with pytest.raises(Denied, match="no role ARN"):
        made().wrap(KEY, CONTEXT)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/certrotd")
    assert made().unwrap(made().wrap(KEY, CONTEXT), CONTEXT) == KEY
    token.unlink()
    with pytest.raises(Denied, match="was not asked"):
        made().wrap(KEY, CONTEXT)

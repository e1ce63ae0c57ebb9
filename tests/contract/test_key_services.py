"""What is each key service's own: versions, names, logins, and how it says no."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrotd.clock import Deadline, SystemClock
from certrotd.config.secrets import CredentialSecret
from certrotd.errors import Failure, NeedsOperator
from certrotd.kek import azure_keyvault, gcp_kms, pkcs11
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.gcp_kms import GcpKms
from certrotd.kek.pkcs11 import Pkcs11
from certrotd.kek.port import (
    Damaged,
    Denied,
    Disabled,
    KekRefused,
    KekUnavailable,
    Unfit,
    WrongKek,
)
from certrotd.kek.service import KeyService, ServiceKek
from certrotd.kek.vault import Vault
from tests.contract.kek_rigs import (
    Around,
    EntraToken,
    aws_error,
    certified,
    google_token,
    secret,
    write,
)
from tests.parts import Parts, google_kms
from tests.parts.azure_vault import AzureVault
from tests.parts.front import Front, Response, fronting, passed_on
from tests.parts.google_kms import GoogleKms
from tests.parts.key_services import Moto, SoftHsm, Transit

KEY = bytes(range(32))
ONCE = bytes(32)
CONTEXT = {"keyring": "payments"}


def soon() -> Deadline:
    return Deadline(SystemClock(), 30)


def kek(keeper: KeyService) -> ServiceKek:
    return ServiceKek(keeper, 30)


def refusal(call: Callable[[], object]) -> Failure:
    """What a call raises; each for the operator, with a hint."""
    with pytest.raises(NeedsOperator) as refused:
        call()
    assert refused.value.hint
    return refused.value


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Around]:
    with ExitStack() as stack:
        yield Around(tmp_path, monkeypatch, stack, lambda kind: None)


@pytest.fixture(scope="module")
def moto(module_parts: Parts) -> Moto:
    return module_parts.start(Moto)


@pytest.fixture(scope="module")
def transit(module_parts: Parts) -> Transit:
    return module_parts.start(Transit)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    made = SoftHsm(tmp_path_factory.mktemp("hsm"))
    made.make_key("kek")
    return made


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


class TestVault:
    @pytest.fixture
    def make(self, around: Around, transit: Transit) -> Callable[[str], Vault]:
        token = secret(around, "token", transit.token)
        return lambda key: Vault(transit.url, key, token)

    def test_a_key_that_was_deleted_is_not_made_anew(
        self, transit: Transit, make: Callable[[str], Vault]
    ) -> None:
        """Vault itself makes a key that is missing when it is asked to encrypt."""
        assert isinstance(refusal(lambda: kek(make("gone")).wrap(KEY, CONTEXT)), Unfit)
        with pytest.raises(AssertionError):
            transit.ask("GET", "keys/gone")
        transit.ask("POST", "encrypt/upserted", plaintext="AAAA")  # the control
        assert transit.ask("GET", "keys/upserted")["latest_version"] == 1

    def test_a_version_below_the_least_is_disabled(
        self, transit: Transit, make: Callable[[str], Vault]
    ) -> None:
        """It is there, and Vault may be told to decrypt by it again."""
        transit.ask("POST", "keys/least", type="aes256-gcm96")
        wrapped = kek(make("least")).wrap(KEY, CONTEXT)
        transit.ask("POST", "keys/least/rotate")
        anew = kek(make("least")).rewrap(wrapped, CONTEXT)
        transit.ask("POST", "keys/least/config", min_decryption_version=2)
        assert isinstance(refusal(lambda: kek(make("least")).unwrap(wrapped, CONTEXT)), Disabled)
        assert kek(make("least")).unwrap(anew, CONTEXT) == KEY
        assert kek(make("least")).describe().version == "2"

    @pytest.mark.parametrize("kind", ["chacha20-poly1305", "aes128-gcm96"])
    def test_every_authenticated_type_will_do(
        self, transit: Transit, make: Callable[[str], Vault], kind: str
    ) -> None:
        """Also one that derives a key of each context."""
        for derived in (False, True):
            name = f"{kind}-{derived}"
            transit.ask("POST", f"keys/{name}", type=kind, derived=derived)
            wrapped = kek(make(name)).wrap(KEY, CONTEXT)
            assert kek(make(name)).unwrap(wrapped, CONTEXT) == KEY

    def test_other_types_are_unfit(self, transit: Transit, make: Callable[[str], Vault]) -> None:
        """RSA takes no associated data, and whoever has the public key could wrap."""
        transit.ask("POST", "keys/rsa", type="rsa-2048")
        assert "rsa-2048" in str(refusal(lambda: kek(make("rsa")).wrap(KEY, CONTEXT)))

    def test_the_service_itself_binds_the_context(
        self, transit: Transit, make: Callable[[str], Vault]
    ) -> None:
        """As associated data."""
        transit.ask("POST", "keys/bound", type="aes256-gcm96")
        data = make("bound").encrypt(ONCE, CONTEXT, soon()).data
        assert data.startswith(b"vault:v1:")
        assert make("bound").decrypt(data, CONTEXT, soon()) == ONCE
        with pytest.raises(Damaged):
            make("bound").decrypt(data, {"keyring": "other"}, soon())

    def test_another_vault_with_a_key_of_that_name_is_thought_of(
        self, transit: Transit, make: Callable[[str], Vault], around: Around, tmp_path: Path
    ) -> None:
        """A key is known by its name, so that a Vault that was moved still unwraps."""
        transit.ask("POST", "keys/same", type="aes256-gcm96")
        wrapped = kek(make("same")).wrap(KEY, CONTEXT)
        with Transit(tmp_path / "another") as another:
            another.ask("POST", "keys/same", type="aes256-gcm96")
            token = secret(around, "other-token", another.token)
            failure = refusal(
                lambda: kek(Vault(another.url, "same", token)).unwrap(wrapped, CONTEXT)
            )
        assert isinstance(failure, Damaged)
        assert "another Vault" in failure.hint

    @pytest.mark.parametrize("data", [b"\xff", b"vault:v1:AAAA", b"vault:v9:AAAA", b"text"])
    def test_what_is_no_ciphertext_is_refused(
        self, transit: Transit, make: Callable[[str], Vault], data: bytes
    ) -> None:
        """Whatever is written in it."""
        transit.ask("POST", "keys/text", type="aes256-gcm96")
        assert isinstance(refusal(lambda: make("text").decrypt(data, CONTEXT, soon())), Failure)

    def test_the_token_is_read_at_each_use(
        self, transit: Transit, make: Callable[[str], Vault]
    ) -> None:
        """Vault Agent replaces it before it expires."""
        transit.ask("POST", "keys/token", type="aes256-gcm96")
        keeper = make("token")
        kek(keeper).wrap(KEY, CONTEXT)
        write(keeper.token.file, "expired")  # type: ignore[union-attr]
        assert isinstance(refusal(lambda: kek(keeper).wrap(KEY, CONTEXT)), Denied)
        write(keeper.token.file, transit.token)  # type: ignore[union-attr]
        kek(keeper).wrap(KEY, CONTEXT)

    @pytest.mark.parametrize("text", [b"two words", b"\xc3\xa4", b"a\x01b"])
    def test_a_token_that_is_none_is_not_sent(
        self, make: Callable[[str], Vault], text: bytes
    ) -> None:
        """It would be a header that no server reads."""
        keeper = make("token")
        keeper.token.file.write_bytes(text)  # type: ignore[union-attr]
        assert isinstance(refusal(lambda: kek(keeper).wrap(KEY, CONTEXT)), Denied)

    def test_a_token_that_cannot_be_read_passes(self, make: Callable[[str], Vault]) -> None:
        """The agent may not have written it yet."""
        keeper = Vault("http://127.0.0.1:1", "k", CredentialSecret(credential="none"))
        with pytest.raises(KekUnavailable):
            ServiceKek(keeper, 0.1).wrap(KEY, CONTEXT)

    def test_the_namespace_is_named(self, transit: Transit, around: Around) -> None:
        """Every request has it."""
        transit.ask("POST", "keys/space", type="aes256-gcm96")
        token = secret(around, "token", transit.token)
        with fronting(passed_on(transit.url)) as front:
            kek(Vault(front.url, "space", token, namespace="team")).wrap(KEY, CONTEXT)
            assert {each.headers["x-vault-namespace"] for each in front.got} == {"team"}

    def test_the_server_is_trusted_by_its_root(self, transit: Transit, around: Around) -> None:
        """And not without it."""
        transit.ask("POST", "keys/tls", type="aes256-gcm96")
        token = secret(around, "token", transit.token)
        ca_file, pair = certified(around)
        with fronting(passed_on(transit.url), pair) as front:
            kek(Vault(front.url, "tls", token, ca_bundle=ca_file)).wrap(KEY, CONTEXT)
            got = len(front.got)
            failure = refusal(lambda: kek(Vault(front.url, "tls", token)).wrap(KEY, CONTEXT))
            assert isinstance(failure, Unfit)
            assert len(front.got) == got
            missing = Vault(front.url, "tls", token, ca_bundle=around.tmp_path / "none")
            assert isinstance(refusal(lambda: kek(missing).wrap(KEY, CONTEXT)), Unfit)

    def test_a_redirect_is_not_followed(self, around: Around) -> None:
        """The token would be sent along."""
        token = secret(around, "token", "t")
        moved = Response(307, b"", {"Location": "http://127.0.0.1:1/v1/"})
        with fronting(lambda _: moved) as front:
            keeper = Vault(front.url, "k", token)
            assert "redirects" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))
            assert len(front.got) == 1

    @pytest.mark.parametrize("status", [412, 429, 472, 473, 500, 503])
    def test_a_server_that_is_sealed_or_a_standby_passes(self, around: Around, status: int) -> None:
        """An operator unseals it, or another becomes active."""
        token = secret(around, "token", "t")
        sealed = Response(status, b'{"errors":["Vault is sealed"]}')
        with (
            fronting(lambda _: sealed) as front,
            pytest.raises(KekUnavailable, match="sealed") as refused,
        ):
            Vault(front.url, "k", token).encrypt(ONCE, CONTEXT, soon())
        assert bool(refused.value.hint) is (status == 503)


class TestPkcs11:
    @pytest.fixture
    def make(self, token: SoftHsm, around: Around) -> Callable[..., Pkcs11]:
        for name, value in token.environment.items():
            around.monkeypatch.setenv(name, value)
        pin = secret(around, "pin", token.PIN)
        return lambda key="kek", label=token.label, module=token.MODULE: Pkcs11(
            module, label, key, pin
        )

    def test_the_token_itself_binds_the_context(self, make: Callable[..., Pkcs11]) -> None:
        """As AES-GCM's associated data."""
        data = make().encrypt(ONCE, CONTEXT, soon()).data
        assert make().decrypt(data, CONTEXT, soon()) == ONCE
        for wrong in (data[:-1] + bytes([data[-1] ^ 1]), data[:8], b""):
            with pytest.raises(Damaged):
                make().decrypt(wrong, CONTEXT, soon())
        with pytest.raises(Damaged):
            make().decrypt(data, {"keyring": "other"}, soon())

    def test_a_key_is_found_by_its_label(self, token: SoftHsm, make: Callable[..., Pkcs11]) -> None:
        """One, and not one of two."""
        assert isinstance(refusal(lambda: make("none").version(soon())), Unfit)
        for _ in range(2):
            token.make_key("twice")
        assert "several AES keys" in str(refusal(lambda: make("twice").version(soon())))
        assert make().version(soon()) == ""

    def test_what_a_key_may_not_be_used_for_is_disabled(
        self, token: SoftHsm, make: Callable[..., Pkcs11]
    ) -> None:
        """One that only decrypts is as good as before for what it has wrapped."""
        token.make_key("old")
        data = make("old").encrypt(ONCE, CONTEXT, soon()).data
        token.forbid("old", "ENCRYPT")
        assert isinstance(refusal(lambda: make("old").encrypt(ONCE, {}, soon())), Disabled)
        assert make("old").decrypt(data, CONTEXT, soon()) == ONCE
        with pytest.raises(KekUnavailable):  # whose fault it is, nobody can tell without a trial
            make("old").decrypt(data[:-1], CONTEXT, soon())

    def test_a_token_that_is_not_there_passes(self, make: Callable[..., Pkcs11]) -> None:
        """An HSM on the network is away now and then."""
        with pytest.raises(KekUnavailable, match="NoSuchToken"):
            make(label="other").version(soon())

    def test_a_refused_pin_is_not_tried_again(
        self, token: SoftHsm, make: Callable[..., Pkcs11]
    ) -> None:
        """A few more tries lock the token for everybody."""
        keeper = make()
        write(keeper.pin.file, "000000")  # type: ignore[union-attr]
        assert "PinIncorrect" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))
        assert "not tried again" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))
        write(keeper.pin.file, token.PIN)  # type: ignore[union-attr]
        keeper.encrypt(ONCE, {}, soon())
        assert "000000" not in repr(keeper)

    def test_a_pin_that_is_none_is_reported(self, make: Callable[..., Pkcs11]) -> None:
        """Before any token hears of it."""
        keeper = make()
        keeper.pin.file.write_bytes(b"\xff")  # type: ignore[union-attr]
        with pytest.raises(Denied, match="not UTF-8"):
            keeper.version(soon())
        keeper.pin.file.unlink()  # type: ignore[union-attr]
        with pytest.raises(KekUnavailable):
            keeper.version(soon())

    def test_a_module_that_is_none_is_unfit(
        self, make: Callable[..., Pkcs11], tmp_path: Path
    ) -> None:
        """The path is wrong, or the vendor's package is not installed."""
        (tmp_path / "module.so").write_text("no library")
        for path in (tmp_path / "module.so", tmp_path / "none.so"):
            assert isinstance(refusal(partial(make(module=path).version, soon())), Unfit)

    def test_a_module_that_crashes_takes_only_its_own_process(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """SoftHSM without its configuration is one that answers; this one ends."""
        around.monkeypatch.setattr(pkcs11, "CHILD", around.tmp_path / "crashes.py")
        (around.tmp_path / "crashes.py").write_text("import os; os.abort()")
        with pytest.raises(KekUnavailable, match="status -6"):
            make().version(soon())
        (around.tmp_path / "crashes.py").write_text("print('{}')")
        with pytest.raises(KekUnavailable, match="cannot be read"):
            make().version(soon())

    def test_without_the_library_the_extra_is_named(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """python-pkcs11 is in none of the others."""
        (around.tmp_path / "pkcs11.py").write_text("raise ImportError")
        around.monkeypatch.setenv("PYTHONPATH", str(around.tmp_path))
        assert "'.[hsm]'" in refusal(lambda: make().version(soon())).hint

    def test_a_process_that_cannot_be_started_passes(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """The machine has no memory or processes left, or the interpreter is being replaced."""
        around.monkeypatch.setattr("sys.executable", "/nonexistent")
        with pytest.raises(KekUnavailable, match="could not be started"):
            make().version(soon())

    def test_without_time_nothing_is_started(self, make: Callable[..., Pkcs11]) -> None:
        """The deadline is the whole call's."""
        with pytest.raises(KekUnavailable, match="no time"):
            make().version(Deadline(SystemClock(), 0))

    @pytest.mark.parametrize("error", ["MechanismInvalid", "FunctionNotSupported"])
    def test_a_token_without_aes_gcm_is_unfit(
        self, make: Callable[..., Pkcs11], around: Around, error: str
    ) -> None:
        """An older HSM, or one in a mode that allows less."""
        around.monkeypatch.setattr(pkcs11, "CHILD", around.tmp_path / "says.py")
        (around.tmp_path / "says.py").write_text(f"print({json.dumps({'error': error})!r})")
        assert isinstance(refusal(lambda: make().version(soon())), Unfit)

    def test_what_a_token_says_otherwise_passes(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """DeviceError, SessionCount and the like."""
        around.monkeypatch.setattr(pkcs11, "CHILD", around.tmp_path / "says.py")
        (around.tmp_path / "says.py").write_text("""print('{"error": "DeviceError"}')""")
        with pytest.raises(KekUnavailable, match="DeviceError"):
            make().version(soon())


class TestAzure:
    @pytest.fixture
    def vault(self) -> AzureVault:
        made = AzureVault()
        made.make_key("kek")
        return made

    @pytest.fixture
    def front(self, vault: AzureVault, around: Around) -> Front:
        self.ca_file, pair = certified(around)
        front = around.stack.enter_context(fronting(vault, pair))
        vault.url = front.url
        return front

    def keeper(self, front: Front, key: str = "kek", algorithm: str = "RSA-OAEP-256") -> Any:
        options = {"verify_challenge_resource": False, "connection_verify": str(self.ca_file)}
        return AzureKeyVault(front.url, key, algorithm, EntraToken, 30, options)

    def test_an_old_version_unwraps(self, vault: AzureVault, front: Front) -> None:
        """Each wrapped key names its version; a new one wraps from now on."""
        used = kek(self.keeper(front))
        wrapped, before = used.wrap(KEY, CONTEXT), used.describe()
        vault.make_key("kek")
        assert used.unwrap(wrapped, CONTEXT) == KEY
        after = used.describe()
        assert (before.id, before.version != after.version) == (after.id, True)
        assert after.version == vault.keys["kek"][-1].id
        anew = used.rewrap(wrapped, CONTEXT)
        vault.keys["kek"][0].enabled = False
        assert isinstance(refusal(lambda: used.unwrap(wrapped, CONTEXT)), Disabled)
        assert used.unwrap(anew, CONTEXT) == KEY

    def test_a_vault_without_the_version_is_the_wrong_one(
        self, vault: AzureVault, front: Front
    ) -> None:
        """A key of the same name in another vault; the right one may have been restored there."""
        wrapped = kek(self.keeper(front)).wrap(KEY, CONTEXT)
        right = vault.keys["kek"]
        vault.keys["kek"] = []
        vault.make_key("kek")
        used = kek(self.keeper(front))
        assert isinstance(refusal(lambda: used.unwrap(wrapped, CONTEXT)), WrongKek)
        vault.keys["kek"] += right
        assert used.unwrap(wrapped, CONTEXT) == KEY

    def test_a_key_that_is_not_there_is_unfit(self, front: Front) -> None:
        """It was never made, or its name is misspelt."""
        assert isinstance(refusal(lambda: kek(self.keeper(front, "nokey")).wrap(KEY, {})), Unfit)

    def test_an_algorithm_of_another_type_is_unfit(self, front: Front) -> None:
        """An RSA key does not wrap as AES does."""
        used = kek(self.keeper(front, algorithm="A256KW"))
        assert isinstance(refusal(lambda: used.wrap(KEY, {})), Unfit)

    @pytest.mark.parametrize(
        "data", [b"", b"text", b"\0wrapped", b"../secrets\0x", b"a" * 65 + b"\0x", b"abc\0"]
    )
    def test_what_names_no_version_is_damaged(self, front: Front, data: bytes) -> None:
        """It would be a part of a URL."""
        with pytest.raises(Damaged):
            self.keeper(front).decrypt(data, CONTEXT, soon())
        assert front.got == []

    def test_another_error_of_unwrapping_says_nothing_of_the_key(self, front: Front) -> None:
        """It is not called damaged, so that nobody restores a backup over it."""
        data = self.keeper(front).encrypt(ONCE, CONTEXT, soon()).data
        front.always(Response(400, b'{"error":{"code":"ApiVersionNotSupported"}}'))
        failure = refusal(lambda: self.keeper(front).decrypt(data, CONTEXT, soon()))
        assert isinstance(failure, Unfit)

    def test_what_the_vault_cannot_unwrap_is_damaged(self, front: Front) -> None:
        """It has the version, and that did not wrap it."""
        data = self.keeper(front).encrypt(ONCE, CONTEXT, soon()).data
        with pytest.raises(Damaged):
            self.keeper(front).decrypt(data[:-1] + bytes([data[-1] ^ 1]), CONTEXT, soon())

    def test_an_identifier_without_a_version_is_no_answer(self, front: Front) -> None:
        """Without it the key could not be unwrapped again."""
        body = json.dumps({"kid": f"{front.url}/keys/kek", "value": "AAAA"}).encode()
        front.always(Response(200, body, {"Content-Type": "application/json"}))
        with pytest.raises(KekUnavailable, match="cannot be read"):
            self.keeper(front).encrypt(ONCE, CONTEXT, soon())

    def test_a_certificate_that_is_not_trusted_is_reported(self, front: Front) -> None:
        """Somebody is between, with a root that the machine does not know."""
        options = {"verify_challenge_resource": False}
        keeper = AzureKeyVault(front.url, "kek", login=EntraToken, options=options)
        assert "not trusted" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))

    def test_a_login_that_fails_is_the_operators(self, front: Front) -> None:
        """The secret has expired, or the machine has no identity."""

        class Refused:
            def get_token(self, *scopes: str, **options: Any) -> Any:
                from azure.core.exceptions import ClientAuthenticationError

                raise ClientAuthenticationError("AADSTS7000222: the secret has expired")

        keeper = self.keeper(front)
        object.__setattr__(keeper, "login", Refused)
        assert "AADSTS7000222" in str(refusal(lambda: keeper.encrypt(ONCE, {}, soon())))

    def test_a_client_secret_that_cannot_be_read_passes(self, front: Front) -> None:
        """It is read when the first key is wrapped."""
        login = azure_keyvault.Login("t", "c", CredentialSecret(credential="none"))
        keeper = AzureKeyVault(front.url, "kek", login=login.credential)
        with pytest.raises(KekUnavailable):
            keeper.encrypt(ONCE, {}, soon())

    def test_a_login_is_what_the_entry_says(self, around: Around) -> None:
        """A service principal, a managed identity, or what the SDK finds."""
        value = secret(around, "client-secret", "s3cret")
        found = [
            type(login.credential()).__name__
            for login in (
                azure_keyvault.Login("tenant", "client", value, "https://login.example.com"),
                azure_keyvault.Login(client_id="client"),
                azure_keyvault.Login(),
            )
        ]
        assert found == [
            "ClientSecretCredential",
            "ManagedIdentityCredential",
            "DefaultAzureCredential",
        ]


class TestGoogle:
    @pytest.fixture
    def keys(self) -> GoogleKms:
        return GoogleKms()

    @pytest.fixture
    def front(self, keys: GoogleKms, around: Around) -> Front:
        self.key = keys.make_key("kek")
        return around.stack.enter_context(fronting(keys))

    def keeper(self, front: Front) -> GcpKms:
        return GcpKms(self.key, google_token, front.url, 30)

    def test_an_old_version_decrypts_while_it_is_enabled(
        self, keys: GoogleKms, front: Front
    ) -> None:
        """The primary one encrypts."""
        used = kek(self.keeper(front))
        wrapped = used.wrap(KEY, CONTEXT)
        keys.make_key("kek")
        assert used.unwrap(wrapped, CONTEXT) == KEY
        assert used.describe().version == "2"
        anew = used.rewrap(wrapped, CONTEXT)
        for state in ("DISABLED", "DESTROY_SCHEDULED", "DESTROYED"):
            keys.keys[self.key][0].state = state
            failure = refusal(lambda: used.unwrap(wrapped, CONTEXT))
            assert isinstance(failure, Disabled)
            assert state in failure.message
        assert used.unwrap(anew, CONTEXT) == KEY

    def test_the_service_itself_binds_the_context(self, front: Front) -> None:
        """As additional authenticated data."""
        data = self.keeper(front).encrypt(ONCE, CONTEXT, soon()).data
        assert self.keeper(front).decrypt(data, CONTEXT, soon()) == ONCE
        with pytest.raises(Damaged):
            self.keeper(front).decrypt(data, {"keyring": "other"}, soon())
        with pytest.raises(Damaged):
            self.keeper(front).decrypt(data[:-1], CONTEXT, soon())

    @pytest.mark.parametrize(
        "changed",
        [
            {"ciphertextCrc32c": "1"},
            {"ciphertext": "AAAA"},
            {"verifiedPlaintextCrc32c": False},
            {"verifiedAdditionalAuthenticatedDataCrc32c": False},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    def test_an_answer_that_the_way_broke_is_not_kept(
        self, keys: GoogleKms, front: Front, changed: dict[str, Any]
    ) -> None:
        """A wrapped key that cannot be unwrapped would be found out too late."""

        def broken(request: Any) -> Response:
            answer = keys(request)
            body = json.dumps({**json.loads(answer.body), **changed}).encode()
            return Response(answer.status, body, answer.headers)

        front.instead = broken
        with pytest.raises(KekUnavailable, match="checksum"):
            self.keeper(front).encrypt(ONCE, CONTEXT, soon())

    def test_a_plaintext_that_the_way_broke_is_not_used(
        self, keys: GoogleKms, front: Front
    ) -> None:
        """Nor is it called damaged: the next answer may be right."""
        data = self.keeper(front).encrypt(ONCE, CONTEXT, soon()).data

        def broken(request: Any) -> Response:
            answer = keys(request)
            body = json.dumps({**json.loads(answer.body), "plaintext": "AAAA"}).encode()
            return Response(answer.status, body, answer.headers)

        front.instead = broken
        with pytest.raises(KekUnavailable, match="checksum"):
            self.keeper(front).decrypt(data, CONTEXT, soon())

    def test_a_token_that_is_not_taken_is_the_operators(self, front: Front) -> None:
        """It has expired, and cannot be renewed."""
        from google.oauth2.credentials import Credentials

        keeper = GcpKms(self.key, lambda: Credentials("expired"), front.url)  # type: ignore[no-untyped-call]
        assert isinstance(refusal(lambda: keeper.encrypt(ONCE, {}, soon())), Denied)

    def test_an_error_without_a_form_is_reported(self, front: Front) -> None:
        """By its status."""
        front.always(Response(400, b"[]"))
        assert isinstance(refusal(lambda: self.keeper(front).encrypt(ONCE, {}, soon())), Unfit)

    def test_credentials_are_read_from_the_file(self, around: Around) -> None:
        """And what is none is the operator's."""
        path = around.tmp_path / "credentials.json"
        given = {"type": "service_account", "token_uri": "https://t", "client_email": "a@b"}
        key = rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        path.write_text(json.dumps({**given, "private_key": key.decode()}))
        found: Any = gcp_kms.Login(path).credentials()
        assert found.service_account_email == "a@b"
        keeper = GcpKms(google_kms.RING + "/cryptoKeys/k", gcp_kms.Login(path).credentials)
        for text in ("{}", "no JSON", json.dumps({**given, "private_key": "s3cret"}), None):
            path.unlink() if text is None else path.write_text(text)
            failure = refusal(lambda: keeper.encrypt(ONCE, {}, soon()))
            assert isinstance(failure, Denied)
            assert "s3cret" not in str(failure)

    def test_credentials_are_found_as_the_sdk_finds_them(self, around: Around) -> None:
        """GOOGLE_APPLICATION_CREDENTIALS is the first place."""
        around.monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")
        keeper = GcpKms(google_kms.RING + "/cryptoKeys/k")
        assert isinstance(refusal(lambda: keeper.encrypt(ONCE, {}, soon())), Denied)


@pytest.mark.parametrize(
    ("keeper", "module", "extra"),
    [
        (AwsKms("alias/x", "eu-central-1"), "boto3", "aws"),
        (AzureKeyVault("https://v", "k", login=EntraToken), "azure.keyvault.keys", "azure"),
        (GcpKms("k", google_token), "google.cloud.kms_v1", "gcp"),
    ],
    ids=["aws", "azure", "gcp"],
)
def test_without_its_library_the_extra_of_a_service_is_named(
    monkeypatch: pytest.MonkeyPatch, keeper: KeyService, module: str, extra: str
) -> None:
    """The package installs none of them by itself."""
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    failure = refusal(lambda: keeper.encrypt(ONCE, {}, soon()))
    assert isinstance(failure, Unfit)
    assert f"'.[{extra}]'" in failure.hint


def test_a_wrapped_one_time_key_of_another_key_is_refused(around: Around, transit: Transit) -> None:
    """Somebody put it into the envelope, with a check that is right."""
    token = secret(around, "token", transit.token)
    for name in ("ours", "theirs"):
        transit.ask("POST", f"keys/{name}", type="aes256-gcm96")
    ours, theirs = (Vault(transit.url, name, token) for name in ("ours", "theirs"))
    data = theirs.encrypt(ONCE, CONTEXT, soon()).data
    with pytest.raises(KekRefused):
        ours.decrypt(data, CONTEXT, soon())

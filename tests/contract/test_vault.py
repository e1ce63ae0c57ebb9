"""What is Vault's own: deleted keys, versions, types, tokens, and its HTTPS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from certrotd.config.secrets import CredentialSecret
from certrotd.errors import Failure
from certrotd.kek.port import (
    Damaged,
    Denied,
    Disabled,
    KekRefused,
    KekUnavailable,
    Unfit,
)
from certrotd.kek.service import ServiceKek
from certrotd.kek.vault import Vault
from tests.contract.kek_rigs import (
    CONTEXT,
    KEY,
    ONCE,
    Around,
    certified,
    kek,
    refusal,
    secret,
    soon,
    write,
)
from tests.parts.front import Response, fronting, passed_on
from tests.parts.key_services import Transit


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


def test_a_wrapped_one_time_key_of_another_key_is_refused(around: Around, transit: Transit) -> None:
    """Somebody put it into the envelope, with a check that is right."""
    token = secret(around, "token", transit.token)
    for name in ("ours", "theirs"):
        transit.ask("POST", f"keys/{name}", type="aes256-gcm96")
    ours, theirs = (Vault(transit.url, name, token) for name in ("ours", "theirs"))
    data = theirs.encrypt(ONCE, CONTEXT, soon()).data
    with pytest.raises(KekRefused):
        ours.decrypt(data, CONTEXT, soon())

"""What is Google Cloud KMS's own: states of versions, checksums and credentials."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certrotd.kek import gcp_kms
from certrotd.kek.gcp_kms import GcpKms
from certrotd.kek.port import (
    Damaged,
    Denied,
    Disabled,
    KekUnavailable,
    Unfit,
)
from tests.contract.kek_rigs import (
    CONTEXT,
    KEY,
    ONCE,
    Around,
    google_token,
    kek,
    refusal,
    soon,
)
from tests.parts import google_kms
from tests.parts.front import Front, Response, fronting
from tests.parts.google_kms import GoogleKms


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

"""What every KEK promises; a new one is one more line of BACKENDS, and a rig beside it."""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from certrotd.errors import Failure, Transient
from certrotd.kek import envelope
from certrotd.kek.aws_kms import AwsKms
from certrotd.kek.azure_keyvault import AzureKeyVault
from certrotd.kek.gcp_kms import GcpKms
from certrotd.kek.port import (
    MAX_KEY,
    ContextMismatch,
    Denied,
    Disabled,
    KekRefused,
    KekUnavailable,
    Truncated,
    Unfit,
    WrongKek,
)
from certrotd.kek.service import KeyService, ServiceKek
from tests.contract.kek_rigs import (
    BACKENDS,
    CONTEXT,
    KEY,
    ONCE,
    Around,
    EntraToken,
    Part,
    Rig,
    google_token,
    refusal,
    soon,
)

TROUBLES = [(name, each) for name, (_, troubles) in BACKENDS.items() for each in troubles]
MEANING: dict[str, type[Failure]] = {"disabled": Disabled, "denied": Denied, "missing": Unfit}
"""What a trouble is reported as; every other one passes."""
WAITS = {"throttled": timedelta(seconds=7), "busy_until": timedelta(days=1)}
"""How long to leave it alone then, where it says so; a day at most."""


@pytest.fixture(params=BACKENDS)
def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Part
) -> Iterator[Rig]:
    """Each of the KEKs, with what surrounds it."""
    with ExitStack() as stack:
        yield BACKENDS[request.param][0](Around(tmp_path, monkeypatch, stack, part))


def shows_nothing(failure: Failure) -> None:
    """No byte of a key is in what people read: one line of it."""
    for text in (str(failure), repr(failure)):
        assert "\n" not in text
        assert KEY.hex() not in text
        assert repr(KEY)[2:-1] not in text


class TestKeks:
    def test_a_wrapped_key_is_unwrapped(self, rig: Rig) -> None:
        """And nothing of it is to be seen in what is kept."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        assert KEY not in wrapped
        assert rig.kek.unwrap(wrapped, CONTEXT) == KEY
        backwards = dict(reversed(CONTEXT.items()))
        assert rig.kek.unwrap(wrapped, backwards) == KEY

    @pytest.mark.parametrize("key", [b"", b"\0" * 16, b"k" * MAX_KEY], ids=["0", "16", "most"])
    def test_keys_of_every_length_are_wrapped(self, rig: Rig, key: bytes) -> None:
        """A key that a KMS makes may be a Tink keyset."""
        assert rig.kek.unwrap(rig.kek.wrap(key, CONTEXT), CONTEXT) == key

    def test_a_longer_key_is_not_wrapped(self, rig: Rig) -> None:
        """Rather than by some KEKs, and not by the next one."""
        with pytest.raises(ValueError, match="4096 bytes at most"):
            rig.kek.wrap(b"k" * (MAX_KEY + 1), CONTEXT)

    def test_a_key_wrapped_twice_looks_different(self, rig: Rig) -> None:
        """Who sees both does not learn that they are one."""
        assert rig.kek.wrap(KEY, CONTEXT) != rig.kek.wrap(KEY, CONTEXT)

    def test_another_kek_does_not_unwrap_it(self, rig: Rig) -> None:
        """It says so, instead of that the key is damaged."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        with pytest.raises(WrongKek) as refused:
            rig.other.unwrap(wrapped, CONTEXT)
        shows_nothing(refused.value)
        assert refused.value.hint

    @pytest.mark.parametrize(
        "context",
        [{}, {"keyring": "payments"}, {**CONTEXT, "version": "4"}, {**CONTEXT, "more": ""}],
        ids=["none", "less", "other", "more"],
    )
    def test_a_key_of_another_context_is_not_unwrapped(
        self, rig: Rig, context: dict[str, str]
    ) -> None:
        """Somebody copied it from one keyring or version to another."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        with pytest.raises(ContextMismatch) as refused:
            rig.kek.unwrap(wrapped, context)
        shows_nothing(refused.value)

    def test_a_context_that_was_written_over_the_envelopes_does_not_help(self, rig: Rig) -> None:
        """The hash in an envelope is no proof: the key itself is bound to its context."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        stolen = {"keyring": "another", "version": "3"}
        found = envelope.opened(wrapped, CONTEXT)
        forged = envelope.sealed(found.kek_id, found.body, stolen)
        with pytest.raises(KekRefused):
            rig.kek.unwrap(forged, stolen)

    def test_a_truncated_key_is_reported_at_every_length(self, rig: Rig) -> None:
        """A full disk cuts anywhere."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        for length in range(len(wrapped)):
            with pytest.raises(Truncated):
                rig.kek.unwrap(wrapped[:length], CONTEXT)

    def test_a_flipped_bit_is_noticed_in_every_byte(self, rig: Rig) -> None:
        """Whichever reason it is given, it is none that another try helps."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        for index in range(len(wrapped)):
            flipped = bytearray(wrapped)
            flipped[index] ^= 1
            with pytest.raises(KekRefused) as refused:
                rig.kek.unwrap(bytes(flipped), CONTEXT)
            shows_nothing(refused.value)

    def test_what_follows_a_wrapped_key_is_refused(self, rig: Rig) -> None:
        """Nobody wrapped that."""
        with pytest.raises(KekRefused):
            rig.kek.unwrap(rig.kek.wrap(KEY, CONTEXT) + b"\0", CONTEXT)

    def test_a_rewrapped_key_is_the_same_key(self, rig: Rig) -> None:
        """By the new version where the KEK has versions; the old one is read until then."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        rig.rotate()
        assert rig.kek.unwrap(wrapped, CONTEXT) == KEY
        anew = rig.kek.rewrap(wrapped, CONTEXT)
        assert anew != wrapped
        assert rig.kek.unwrap(anew, CONTEXT) == KEY
        with pytest.raises(ContextMismatch):
            rig.kek.rewrap(wrapped, {})
        with pytest.raises(WrongKek):
            rig.other.rewrap(wrapped, CONTEXT)

    @pytest.mark.parametrize("act", ["wrap", "unwrap", "rewrap"])
    @pytest.mark.parametrize(("rig", "trouble"), TROUBLES, indirect=["rig"])
    def test_a_kek_in_trouble_says_who_can_help(self, rig: Rig, trouble: str, act: str) -> None:
        """One that is away is tried again; one that is disabled needs somebody."""
        wrapped = rig.kek.wrap(KEY, CONTEXT)
        rig.troubles[trouble]()
        with pytest.raises(MEANING.get(trouble, KekUnavailable)) as refused:
            getattr(rig.kek, act)(KEY if act == "wrap" else wrapped, CONTEXT)
        shows_nothing(refused.value)
        if trouble in WAITS:
            assert isinstance(refused.value, Transient)
            assert refused.value.retry_after == WAITS[trouble]
        if trouble in MEANING:
            assert refused.value.hint

    def test_a_service_logs_no_one_time_key(
        self, rig: Rig, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """With that and the wrapped key, whoever reads the log has the data key."""
        if not isinstance(rig.kek, ServiceKek):
            return
        once = b"a one-time key of thirty-two byt"
        object.__setattr__(rig.kek, "draw", lambda size: once[:size])
        with caplog.at_level(logging.DEBUG):
            wrapped = rig.kek.wrap(KEY, CONTEXT)
            rig.kek.unwrap(wrapped, CONTEXT)
        out = capfd.readouterr()
        for text in (
            caplog.text,
            out.out,
            out.err,
            *(repr(each.__dict__) for each in caplog.records),
        ):
            for form in (repr(once)[2:-1], once.hex(), base64.b64encode(once).decode()[:40]):
                assert form not in text

    def test_nothing_of_a_kek_is_in_its_repr(self, rig: Rig, tmp_path: Path) -> None:
        """A traceback with locals shows reprs."""
        secrets = [each.read_bytes().strip() for each in tmp_path.iterdir() if each.is_file()]
        for secret in secrets:
            assert repr(secret)[2:-1] not in repr(rig.kek)


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
    monkeypatch.setitem(sys.modules, module, None)
    failure = refusal(lambda: keeper.encrypt(ONCE, {}, soon()))
    assert isinstance(failure, Unfit)
    assert f"'.[{extra}]'" in failure.hint

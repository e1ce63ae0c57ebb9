"""What is a token's own: labels, PINs, attributes, and the module that it comes with."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from certrotd.clock import Deadline, SystemClock
from certrotd.kek import pkcs11
from certrotd.kek.pkcs11 import Pkcs11
from certrotd.kek.port import (
    Damaged,
    Denied,
    Disabled,
    KekUnavailable,
    Unfit,
)
from tests.contract.kek_rigs import (
    CONTEXT,
    ONCE,
    Around,
    refusal,
    secret,
    soon,
    write,
)
from tests.parts.key_services import SoftHsm


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
        assert isinstance(refusal(lambda: make("none").encrypt(ONCE, {}, soon())), Unfit)
        for _ in range(2):
            token.make_key("twice")
        assert "several AES keys" in str(refusal(lambda: make("twice").encrypt(ONCE, {}, soon())))
        assert make().encrypt(ONCE, {}, soon()).identity == b"kek"

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
            make(label="other").encrypt(ONCE, {}, soon())

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
            keeper.encrypt(ONCE, {}, soon())
        keeper.pin.file.unlink()  # type: ignore[union-attr]
        with pytest.raises(KekUnavailable):
            keeper.encrypt(ONCE, {}, soon())

    def test_a_module_that_is_none_is_unfit(
        self, make: Callable[..., Pkcs11], tmp_path: Path
    ) -> None:
        """The path is wrong, or the vendor's package is not installed."""
        (tmp_path / "module.so").write_text("no library")
        for path in (tmp_path / "module.so", tmp_path / "none.so"):
            assert isinstance(refusal(partial(make(module=path).encrypt, ONCE, {}, soon())), Unfit)

    def test_a_module_that_crashes_takes_only_its_own_process(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """SoftHSM without its configuration is one that answers; this one ends."""
        around.monkeypatch.setattr(pkcs11, "CHILD", around.tmp_path / "crashes.py")
        (around.tmp_path / "crashes.py").write_text("import os; os.abort()")
        with pytest.raises(KekUnavailable, match="status -6"):
            make().encrypt(ONCE, {}, soon())
        (around.tmp_path / "crashes.py").write_text("print('{}')")
        with pytest.raises(KekUnavailable, match="cannot be read"):
            make().encrypt(ONCE, {}, soon())

    def test_without_the_library_the_extra_is_named(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """python-pkcs11 is in none of the others."""
        (around.tmp_path / "pkcs11.py").write_text("raise ImportError")
        around.monkeypatch.setenv("PYTHONPATH", str(around.tmp_path))
        assert "'.[hsm]'" in refusal(lambda: make().encrypt(ONCE, {}, soon())).hint

    def test_a_process_that_cannot_be_started_passes(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """The machine has no memory or processes left, or the interpreter is being replaced."""
        around.monkeypatch.setattr("sys.executable", "/nonexistent")
        with pytest.raises(KekUnavailable, match="could not be started"):
            make().encrypt(ONCE, {}, soon())

    def test_without_time_nothing_is_started(self, make: Callable[..., Pkcs11]) -> None:
        """The deadline is the whole call's."""
        with pytest.raises(KekUnavailable, match="no time"):
            make().encrypt(ONCE, {}, Deadline(SystemClock(), 0))

    @pytest.mark.parametrize("error", ["MechanismInvalid", "FunctionNotSupported"])
    def test_a_token_without_aes_gcm_is_unfit(
        self, make: Callable[..., Pkcs11], around: Around, error: str
    ) -> None:
        """An older HSM, or one in a mode that allows less."""
        around.monkeypatch.setattr(pkcs11, "CHILD", around.tmp_path / "says.py")
        (around.tmp_path / "says.py").write_text(f"print({json.dumps({'error': error})!r})")
        assert isinstance(refusal(lambda: make().encrypt(ONCE, {}, soon())), Unfit)

    def test_what_a_token_says_otherwise_passes(
        self, make: Callable[..., Pkcs11], around: Around
    ) -> None:
        """DeviceError, SessionCount and the like."""
        around.monkeypatch.setattr(pkcs11, "CHILD", around.tmp_path / "says.py")
        (around.tmp_path / "says.py").write_text("""print('{"error": "DeviceError"}')""")
        with pytest.raises(KekUnavailable, match="DeviceError"):
            make().encrypt(ONCE, {}, soon())

"""An AES key on a PKCS#11 token, as an HSM or SoftHSM has one; the context is AES-GCM's AAD.

The token is asked by a process of its own, which is ended at the deadline. A key is known by its
label, so that a token that was restored elsewhere still unwraps. What the token makes of a one-time
key is ``nonce, 12 bytes | ciphertext | tag, 16``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from certrotd import process
from certrotd.clock import Deadline
from certrotd.errors import Failure, NeedsOperator, Transient
from certrotd.extras import how_to_install
from certrotd.kek import envelope
from certrotd.kek.answers import read
from certrotd.kek.port import Context, Denied, Disabled, Kek, KekUnavailable, Unfit
from certrotd.kek.service import Encrypted, ServiceKek

if TYPE_CHECKING:
    from certrotd.config.keks import Pkcs11KekEntry
    from certrotd.config.secrets import Reference

CHILD = Path(__file__).with_name("pkcs11_child.py")
NONCE = 12
_PIN_REFUSED = {"PinIncorrect", "PinInvalid", "PinLenRange"}
_UNFIT = {
    "NoSuchKey": "there is no AES key of that label",
    "MultipleObjectsReturned": "several AES keys have that label",
    "MultipleTokensReturned": "several tokens have that label",
    "MechanismInvalid": "the token knows no AES-GCM",
    "MechanismParamInvalid": "the token does not take a nonce that is given to it",
    "FunctionNotSupported": "the token does not do that",
}


@dataclass(frozen=True)
class Pkcs11:
    """The key of the label ``key`` on the token of the label ``token``."""

    module: Path
    token: str
    key: str
    pin: Reference
    _refused: set[bytes] = field(default_factory=set, init=False, repr=False, compare=False)

    type = "pkcs11"

    @property
    def place(self) -> str:
        """As KeyService.place."""
        return f"the key {self.key} of the token {self.token}"

    def identity(self, deadline: Deadline) -> bytes:
        """As KeyService.identity: the label of the key."""
        del deadline
        return self.key.encode()

    def encrypt(self, secret: bytes, context: Context, deadline: Deadline) -> Encrypted:
        """As KeyService.encrypt."""
        nonce = os.urandom(NONCE)
        data = nonce + self._asked("encrypt", secret, nonce, context, deadline)
        return Encrypted(data, self.key.encode())

    def decrypt(self, encrypted: bytes, context: Context, deadline: Deadline) -> bytes:
        """As KeyService.decrypt."""
        nonce, data = encrypted[:NONCE], encrypted[NONCE:]
        return self._asked("decrypt", data, nonce, context, deadline)

    def _asked(
        self, act: str, data: bytes, nonce: bytes, context: Context, deadline: Deadline
    ) -> bytes:
        pin = self._pin()
        given = {
            "module": str(self.module),
            "token": self.token,
            "key": self.key,
            "pin": pin,
            "seconds": deadline.remaining + 1,
            "act": act,
            "data": data.hex(),
            "nonce": nonce.hex(),
            "aad": envelope.associated_data(context).hex(),
        }
        answer = read(self.place, lambda: json.loads(self._run(given, deadline)))
        if "data" in answer:
            return read(self.place, lambda: bytes.fromhex(answer["data"]))
        error = read(self.place, lambda: str(answer["error"]))
        if error in _PIN_REFUSED:
            self._refused.add(_digest(pin))
        raise self._judged(error, str(answer.get("code", "")))

    def _run(self, given: dict[str, object], deadline: Deadline) -> bytes:
        """What the child prints."""
        if deadline.passed:
            raise KekUnavailable(f"{self.place} was not asked: no time was left")
        try:
            child = process.start(
                # -P: the folder of the program is not where modules come from
                [sys.executable, "-P", str(CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise KekUnavailable(process.unstarted(self.place, error).message) from None
        try:
            said, _ = child.communicate(json.dumps(given).encode(), deadline.remaining)
        except subprocess.TimeoutExpired:
            raise KekUnavailable(f"{self.place} did not answer in time") from None
        finally:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            child.communicate()  # closes the pipes; what had been read is returned already
        if child.returncode != 0 or not said:
            raise KekUnavailable(
                f"the module {self.module} ended the process that asked it "
                f"(status {child.returncode})",
                hint="see to the vendor's module: it may lack its own configuration",
            )
        return said

    def _pin(self) -> str:
        try:
            pin = self.pin.resolve().reveal().decode()
        except (NeedsOperator, Transient) as error:
            raise KekUnavailable(error.message, hint=error.hint) from None
        except UnicodeDecodeError:
            raise Denied(f"the PIN of the token {self.token} is not UTF-8") from None
        if _digest(pin) in self._refused:
            raise Denied(
                f"the token {self.token} has refused this PIN, which is not tried again: a few "
                "more tries would lock the token",
                hint="correct the PIN",
            )
        return pin

    def _judged(self, error: str, code: str) -> Failure:
        """What an error of the token means."""
        if error == "NotAuthentic":
            return envelope.damaged(self.place)
        if error == "NotPermitted":
            return Disabled(
                f"{self.place} may not be used: its CKA_ENCRYPT or CKA_DECRYPT is false",
                hint="allow both, or name another key",
            )
        if error in _PIN_REFUSED or error in ("PinLocked", "PinExpired", "UserPinNotInitialized"):
            return Denied(
                f"the token {self.token} refuses the PIN: {error}",
                hint="correct it; a locked one is reset by the token's security officer",
            )
        if error == "ImportError":
            return Unfit(
                f"{self.place} needs python-pkcs11, which is not installed",
                hint=how_to_install("hsm"),
            )
        if error in _UNFIT:
            return Unfit(f"{self.place} cannot be used: {_UNFIT[error]}", hint="see CKA_LABEL")
        if "OS exception while loading" in code:
            return Unfit(
                f"the module {self.module} cannot be loaded", hint="name the vendor's library"
            )
        return KekUnavailable(f"{self.place} did not do it: {error}")


def _digest(pin: str) -> bytes:
    return hashlib.sha256(b"certrotd refused pin\0" + pin.encode()).digest()


def build(name: str, entry: Pkcs11KekEntry) -> Kek:
    """The KEK of a configuration entry."""
    del name
    service = Pkcs11(entry.module, entry.token, entry.key, entry.pin)
    return ServiceKek(service, entry.timeout.total_seconds())

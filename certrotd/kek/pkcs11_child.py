"""The program that asks a PKCS#11 token: run by file, alone, for one operation.

The vendor's module is loaded here and not in the daemon: it may crash, hang or keep threads. JSON
comes from standard input: ``module``, ``token``, ``key`` (labels), ``pin``, ``seconds``, ``act``
(encrypt or decrypt), ``data``, ``nonce`` and ``aad`` in hex. Prints JSON: ``data`` in hex,
or ``error``, the name of what went wrong.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any


def main() -> None:
    """Do what standard input says, and print what came of it."""
    given = json.load(sys.stdin)
    signal.alarm(max(1, round(given["seconds"])))  # whoever waits for us may be gone
    try:
        import pkcs11
    except ImportError:
        answer = {"error": "ImportError"}
    else:
        try:
            answer = {"data": _done(pkcs11, given).hex()}
        except Exception as error:  # noqa: BLE001  # modules of vendors raise anything
            answer = {"error": type(error).__name__, "code": str(error)[:200]}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # not waiting for what the module has begun


def _done(pkcs11: Any, given: dict[str, Any]) -> bytes:
    token = pkcs11.lib(given["module"]).get_token(token_label=given["token"])
    with token.open(user_pin=given["pin"]) as session:
        key = session.get_key(
            object_class=pkcs11.ObjectClass.SECRET_KEY,
            key_type=pkcs11.KeyType.AES,
            label=given["key"],
        )
        work = getattr(key, given["act"], None)
        if work is None:  # as the attribute CKA_ENCRYPT or CKA_DECRYPT has it
            raise NotPermitted
        data, nonce, aad = (bytes.fromhex(given[name]) for name in ("data", "nonce", "aad"))
        parameters = pkcs11.GCMParams(nonce, aad)
        try:
            return bytes(work(data, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters))
        except pkcs11.PKCS11Error:
            if given["act"] == "decrypt" and _works(pkcs11, key):
                raise NotAuthentic from None
            raise


class NotPermitted(Exception):
    """The key's attributes do not allow it."""


class NotAuthentic(Exception):
    """The key decrypts, but not this: tokens answer that with errors that mean anything."""


def _works(pkcs11: Any, key: Any) -> bool:
    """Whether the key decrypts what it encrypts."""
    how = {
        "mechanism": pkcs11.Mechanism.AES_GCM,
        "mechanism_param": pkcs11.GCMParams(os.urandom(12), b"probe"),
    }
    try:
        return bytes(key.decrypt(key.encrypt(bytes(16), **how), **how)) == bytes(16)
    except (pkcs11.PKCS11Error, AttributeError):
        return False


if __name__ == "__main__":
    main()

"""An application that encrypts with the keys of a JSON keystore; it runs in pods, by itself.

The keystore is read once, at the start. POST /encrypt gives ciphertext for the body, POST /decrypt
the body for ciphertext, or the status 409 where the key of the ciphertext is none of its keys. With
more keys than MOST_KEYS it does not start.
"""

import hashlib
import hmac
import json
import os
import secrets
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEYSTORE, PORT = "/keys/keystore.json", 8080


class Keys:
    """Those of a keystore of the form {currentVersion, keys: {VERSION: {key: HEX}}}."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.current = str(told["currentVersion"])
        self.keys = {version: bytes.fromhex(each["key"]) for version, each in told["keys"].items()}

    def encrypt(self, data: bytes) -> bytes:
        """VERSION:NONCE:CIPHERTEXT:TAG."""
        nonce, key = secrets.token_bytes(16), self.keys[self.current]
        sealed = _combined(key, nonce, data)
        parts = (nonce, sealed, _tag(key, nonce + sealed))
        return ":".join([self.current, *(each.hex() for each in parts)]).encode()

    def decrypt(self, text: bytes) -> bytes:
        """Raises KeyError for a version that is not there, ValueError for a wrong tag."""
        version, *parts = text.decode().split(":")
        nonce, sealed, tag = map(bytes.fromhex, parts)
        key = self.keys[version]
        if not hmac.compare_digest(tag, _tag(key, nonce + sealed)):
            raise ValueError("the tag is wrong")
        return _combined(key, nonce, sealed)


def _combined(key: bytes, nonce: bytes, data: bytes) -> bytes:
    stream = hashlib.shake_256(key + nonce).digest(len(data))
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _tag(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, "sha256").digest()


def serve() -> None:
    """Until SIGTERM."""
    with open(KEYSTORE) as file:
        keys = Keys(json.load(file))
    if len(keys.keys) > int(os.environ.get("MOST_KEYS", "1000")):
        sys.exit("there are more keys than it knows what to do with")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, keys.current.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                act = keys.encrypt if self.path == "/encrypt" else keys.decrypt
                self._answer(200, act(body))
            except (KeyError, ValueError) as error:
                self._answer(409, repr(error).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("0.0.0.0", PORT), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    serve()

"""A web application that holds one key, of Python alone; it runs in pods, by itself.

It reads ENCRYPTION_KEY of a file when it starts. GET /NUMBER decrypts a value of its database, GET
/reads the first and the last one; what does not decrypt has the status 500. The values are Fernet
tokens: openssl decrypts them.
"""

import base64
import hmac
import sqlite3
import subprocess
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def decrypted(token: str, key: bytes) -> bytes:
    """What a token holds; raises ValueError for another key's."""
    raw = base64.urlsafe_b64decode(token)
    body, tag = raw[:-32], raw[-32:]
    if not hmac.compare_digest(tag, hmac.new(key[:16], body, "sha256").digest()):
        raise ValueError("it is of another key")
    argv = ["openssl", "enc", "-d", "-aes-128-cbc", "-K", key[16:].hex(), "-iv", body[9:25].hex()]
    return subprocess.run(argv, input=body[25:], check=True, capture_output=True).stdout


def serve(port: int, file: str, database: str) -> None:
    """For ever."""
    with open(file) as lines:
        [line] = [each for each in lines.read().splitlines() if "ENCRYPTION_KEY=" in each]
    key = base64.urlsafe_b64decode(line.partition("=")[2].strip("'\""))

    def value(condition: str) -> bytes:
        with closing(sqlite3.connect(database, timeout=20)) as lite:
            [(token,)] = lite.execute(f"select secret from secrets {condition}")
        return decrypted(token, key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                if self.path == "/reads":
                    for order in ("asc", "desc"):
                        value(f"order by id {order} limit 1")
                    body = b"readable"
                else:
                    body = value(f"where id = {int(self.path[1:])}")
                self.send_response(200)
            except ValueError as error:
                body = repr(error).encode()
                self.send_response(500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3])

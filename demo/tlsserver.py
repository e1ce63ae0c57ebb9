"""A small TLS server that reads its pair again on SIGHUP, for where nginx cannot be had."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import sys
from pathlib import Path


def main(port: int, certificate: Path, key: Path, config: Path) -> None:
    """Serve until the process is ended; ``config`` names the pair, as nginx's would."""

    def read() -> ssl.SSLContext:
        named = config.read_text().split() if config.exists() else [str(certificate), str(key)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(named[0], named[1])
        return context

    contexts = [read()]
    signal.signal(signal.SIGHUP, lambda *_: contexts.append(read()))
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            plain, _ = listener.accept()
            plain.settimeout(5)
            # a client that goes away is its own affair
            with contextlib.suppress(OSError), plain:
                contexts[-1].wrap_socket(plain, server_side=True).close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *(Path(argument) for argument in sys.argv[2:5]))

"""PEM files of roots that somebody else is checked against."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from certrotd.errors import NeedsOperator, of_the_machine

HINT = "name a PEM file of CA certificates"


def trust(ca_bundle: Path | None, *, what: str = "ca_bundle", hint: str = HINT) -> ssl.SSLContext:
    """A client's context that trusts ``ca_bundle`` (a PEM file) alone, else the machine's roots.

    Where the machine has none (a minimal container), certifi's. Raises NeedsOperator.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python before 3.11.4 has OpenSSL 3 take a connection that was cut for one that was closed
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if ca_bundle is None:
        _trust_the_machine(context)
    else:
        load_roots(context, ca_bundle, what=what, hint=hint)
    return context


def _trust_the_machine(context: ssl.SSLContext) -> None:
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        context.load_default_certs()
        return
    import certifi  # a dependency of requests

    context.load_verify_locations(cafile=certifi.where())


def load_roots(context: ssl.SSLContext, path: Path | str, *, what: str, hint: str = HINT) -> None:
    """Have ``context`` trust the certificates in a file, ``what`` it is for a message.

    Raises NeedsOperator for one that cannot be read or holds none.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a FIFO would be waited for
            raise NeedsOperator(f"{what} {path} is not a regular file", hint=hint)
        context.load_verify_locations(cafile=path)
        empty = context.cert_store_stats()["x509"] == 0  # a list of revoked ones is PEM, too
    except ssl.SSLError:
        empty = True
    except OSError as error:
        why = f"{what} {path} cannot be read: {error.strerror}"
        raise NeedsOperator(why, hint=of_the_machine(error) or hint) from None
    if empty:
        raise NeedsOperator(f"{what} {path} holds no certificate in PEM", hint=hint)

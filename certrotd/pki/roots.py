"""PEM files of roots that somebody else is checked against."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

from certrotd.errors import NeedsOperator, of_the_machine

HINT = "it is a PEM file of CA certificates"


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

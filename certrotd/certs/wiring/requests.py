"""The signing requests of certificates whose key is elsewhere, read from their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from certrotd.errors import Failure, InvalidInput, NeedsOperator
from certrotd.files.reading import read_file

LIMIT = 64 * 1024


def request_in(file: Path | None, names: Sequence[str]) -> bytes:
    """As World.request; NeedsOperator for a file that is none, or is not for these names."""
    from certrotd.pki.request import check_request, read_request, to_pem

    if file is None:
        raise NeedsOperator("the configuration names no csr of this certificate")
    what = f"csr {file}"
    try:
        request = read_request(read_file(file, limit=LIMIT), what=what)
        check_request(request, names, what=what)
    except FileNotFoundError:
        raise NeedsOperator(f"{what} does not exist") from None
    except InvalidInput as error:
        raise NeedsOperator(error.message, hint=error.hint) from None
    return to_pem(request)


def digest_now(file: Path) -> str:
    """As Policy.request: empty for what cannot be read, which the look before an order tells of."""
    from certrotd.pki.request import digest, read_request, to_pem

    try:
        return digest(to_pem(read_request(read_file(file, limit=LIMIT), what=str(file))))
    except (OSError, Failure):
        return ""

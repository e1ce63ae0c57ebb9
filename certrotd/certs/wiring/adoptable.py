"""The pairs of ``adopt:`` that certrotd takes over, read from their files."""

from __future__ import annotations

from certrotd.config.certificates import AdoptEntry
from certrotd.files.reading import read_file

MAX_ADOPTED = 4 * 1024 * 1024


def adoptable(entry: AdoptEntry | None) -> tuple[bytes, bytes] | None:
    """Key and chain, leaf first, at the ``adopt:`` paths; None if they are not (all) there."""
    from certrotd.pki.facts import parse_certificates
    from certrotd.stores.bundle import leaf_first

    if entry is None:
        return None
    paths = [path for path in (entry.fullchain, entry.cert, entry.chain) if path is not None]
    try:
        key = read_file(entry.privkey, limit=MAX_ADOPTED)
        texts = [read_file(path, limit=MAX_ADOPTED) for path in paths]
    except FileNotFoundError:
        return None
    blocks = [
        block
        for path, text in zip(paths, texts, strict=True)
        for block in parse_certificates(text, what=str(path))
    ]
    return key, leaf_first(blocks, key, what=str(paths[0]))

"""A certificate that is in the store and not, or not any more, in the configuration."""

from __future__ import annotations

from collections.abc import Collection

from certrotd.certs.policy import id_of
from certrotd.config.certificates import KeyEntry, RenewEntry
from certrotd.config.model import Certificate, Config
from certrotd.stores.configured import Stores


def entry_of(
    name: str, config: Config, stores: Stores, in_flight: Collection[str]
) -> Certificate | None:
    """An entry for what is there in files under that name, disabled; None if nothing is.

    Of what is ``in_flight`` (ids) a crash may have left the journal alone.
    """
    there = name in stores.names() or str(id_of(name)) in in_flight
    if not there or not config.issuers:
        return None
    standing = stores.of(name).look(name)
    known = [each for each in (standing.live, standing.newest) if each and each.facts]
    facts = known[0].facts if known else None
    names = facts.names if facts else ()
    return Certificate(
        name=name,
        names=names or ("unknown.invalid",),
        issuers=(next(iter(config.issuers)),),
        solver=None,
        key=KeyEntry(),
        renew=RenewEntry(),
        keep=1,
        window=None,
        enabled=False,
        install=(),
        adopt=None,
        bootstrap=None,
        targets=(),
    )

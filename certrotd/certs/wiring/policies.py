"""The policies of certificates, as the configuration asks for them."""

from __future__ import annotations

from typing import Any, NamedTuple

from certrotd.certs.policy import Issuance, Policy
from certrotd.config.certificates import UseEntry
from certrotd.config.model import Certificate, Config

Waves = tuple[tuple[str, ...], ...]


class _Told(NamedTuple):
    """What the targets of a certificate are together; see Policy."""

    waves: Waves
    programs: bool
    trailing: tuple[str, ...]


class Policies:
    """Makes the policy of each certificate of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._issuances = {name: _issuance(name, entry) for name, entry in config.issuers.items()}
        self._told: dict[tuple[str, ...], _Told] = {}

    def of(self, entry: Certificate) -> Policy:
        """What its entry and those of its issuers ask for."""
        first, told = self._issuances[entry.issuers[0]], self._told_by(entry.targets)
        return Policy(
            name=entry.name,
            names=entry.names,
            issuer=first.issuer,
            authority=first.authority,
            key_type=entry.key.type,
            reuse_key=entry.key.reuse,
            solver=entry.solver,
            fraction=entry.renew.at,
            before=entry.renew.before,
            jitter=entry.renew.jitter,
            window=entry.window,
            keep=entry.keep,
            enabled=entry.enabled,
            installs=bool(entry.install),
            waves=told.waves,
            adopts=entry.adopt is not None or (entry.store is not None and entry.store.adopt),
            bootstraps=entry.bootstrap is not None,
            terms=first.terms,
            programs=told.programs,
            trailing=told.trailing,
            renewal_info=first.renewal_info,
            preferred_chain=first.preferred_chain,
            others=tuple(self._issuances[name] for name in entry.issuers[1:]),
            elsewhere=entry.csr is not None,
        )

    def _told_by(self, uses: tuple[UseEntry, ...]) -> _Told:
        """What the targets are; most certificates have the same ones, so each answer is kept."""
        names = tuple(use.target for use in uses)
        if names not in self._told:
            entries = {name: self._config.targets[name] for name in names}
            waves = sorted({entry.wave for entry in entries.values()})
            self._told[names] = _Told(
                tuple(
                    tuple(name for name in names if entries[name].wave == each) for each in waves
                ),
                any(entry.programs for entry in entries.values()),
                tuple(name for name in names if entries[name].trails),
            )
        return self._told[names]


def authorities(config: Config) -> dict[str, str]:
    """The authority of each issuer: the URL of its directory, or its type and name."""
    return {name: _authority(name, entry) for name, entry in config.issuers.items()}


def _authority(issuer: str, entry: Any) -> str:
    return str(getattr(entry, "directory", None) or f"{entry.type}:{issuer}")


def _issuance(name: str, entry: Any) -> Issuance:
    return Issuance(
        name,
        _authority(name, entry),
        _terms(entry),
        getattr(entry, "preferred_chain", None) or "",
        getattr(entry, "renewal_info", False),
    )


def _terms(entry: Any) -> str:
    """What an issuer's entry says about how its certificates are to be."""
    options = ((name, getattr(entry, name, None)) for name in ("lifetime", "profile"))
    return ", ".join(f"{name}: {value}" for name, value in options if value is not None)

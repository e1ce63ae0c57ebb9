"""Name constraints: which names a CA may certify (RFC 5280 §4.2.1.10)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from cryptography import x509

_COMPARED = (x509.DNSName, x509.IPAddress, x509.DirectoryName)


def permits(constraints: x509.NameConstraints, name: x509.GeneralName) -> bool:
    """Whether a CA with these constraints may certify a name.

    A form of names that no permitted subtree mentions is not constrained by those. DNS names,
    wildcards, IP addresses and distinguished names are compared; any other form is let pass.
    """
    if not isinstance(name, _COMPARED):
        return True
    permitted = [each for each in constraints.permitted_subtrees or () if _alike(name, each)]
    if permitted and not any(_within(name, each) for each in permitted):
        return False
    return not any(_within(name, each) for each in constraints.excluded_subtrees or ())


def _alike(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    return type(name) is type(subtree)


def _within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    match name, subtree:
        case x509.DNSName(), x509.DNSName():
            return _below(name.value.lower(), subtree.value.lower())
        case x509.IPAddress(), x509.IPAddress():
            network = subtree.value
            return isinstance(network, IPv4Network | IPv6Network) and name.value in network
        case x509.DirectoryName(), x509.DirectoryName():
            top = _spelt(subtree.value)
            return _spelt(name.value)[: len(top)] == top
        case _:
            return False


def _below(name: str, top: str) -> bool:
    """Whether a DNS name is ``top`` or below it; of one with a leading dot, only below it.

    The empty name is above all; ``*.a`` stands for what is below ``a``.
    """
    if not top or name == top:
        return True
    return name.endswith(top if top.startswith(".") else f".{top}")


def _spelt(name: x509.Name) -> list[frozenset[tuple[x509.ObjectIdentifier, bytes | str]]]:
    """Its parts as they are compared: without regard to case and to how many spaces there are."""
    return [frozenset((each.oid, _plain(each.value)) for each in rdn) for rdn in name.rdns]


def _plain(value: bytes | str) -> bytes | str:
    return " ".join(value.split()).casefold() if isinstance(value, str) else value

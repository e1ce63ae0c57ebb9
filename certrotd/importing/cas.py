"""Public ACME CAs by what other clients call them."""

from __future__ import annotations

from urllib.parse import urlsplit

LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_NAMES = {
    LETSENCRYPT: "letsencrypt",
    "https://acme-staging-v02.api.letsencrypt.org/directory": "letsencrypt-staging",
    "https://acme.zerossl.com/v2/DV90": "zerossl",
    "https://dv.acme-v02.api.pki.goog/directory": "google",
    "https://dv.acme-v02.test-api.pki.goog/directory": "google-staging",
    "https://api.buypass.com/acme/directory": "buypass",
    "https://acme.ssl.com/sslcom-dv-ecc": "sslcom",
}
_ACME_SH = {
    "letsencrypt": LETSENCRYPT,
    "letsencrypt_test": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
    "buypass": "https://api.buypass.com/acme/directory",
    "sslcom": "https://acme.ssl.com/sslcom-dv-ecc",
}


def name_of(directory: str) -> str:
    """What an issuer of that directory is called: the CA's name, or its host."""
    host = _netloc(directory).partition(":")[0].lower()
    return _NAMES.get(directory) or host.replace(".", "-") or "acme"


def host_of(directory: str) -> str:
    """The host and port of a directory, without what may be a secret in its URL."""
    return _netloc(directory).rpartition("@")[2] or "its CA"


def directory_at(url: str, named: str = "") -> str:
    """The directory of the CA that an account's or a certificate's URL is of; "" if unknown.

    ``named`` is the user's, and counts where the hosts are the same.
    """
    host = _netloc(url)
    known = (named, *_NAMES) if named else tuple(_NAMES)
    return next((each for each in known if _netloc(each) == host), "")


def directory_called(name: str) -> str:
    """The directory of acme.sh's short name of a CA, or the name if it is none."""
    return _ACME_SH.get(name.lower(), name)


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""

"""Addresses of databases, as SQLAlchemy and libpq take them."""

from urllib.parse import parse_qsl, urlsplit

from certrotd.config.base import refuse, shown

_PASSWORDS = {"password", "passwd"}
_SECRETS = {"sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"}
"""Options that libpq takes and nobody should write into a URL: those have their places in files."""
_MARIADB_OPTIONS = {"unix_socket", "ssl_ca", "ssl_capath", "ssl_cert", "ssl_key"}


def database(value: str) -> str:
    """The URL of a database, without a password; raises what a validator raises."""
    parts = urlsplit(value)
    options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if parts.scheme == "sqlite":
        if parts.netloc or not parts.path.startswith("//") or parts.query:
            raise refuse("must be sqlite:// and an absolute path, as in sqlite:////var/lib/app.db")
        return value
    known = parts.scheme in ("postgresql", "mariadb", "mysql")
    if not known or (not parts.hostname and not parts.query):
        raise refuse(
            "must be an address such as postgresql://certrotd@db.example.com/shop, mariadb://… or "
            f"sqlite:////var/lib/app.db, got {shown(parts.scheme or 'text')}"
        )
    if parts.password or _PASSWORDS.intersection(options):
        raise refuse("has a password in it: give it under password")
    if secret := next((each for each in options if each in _SECRETS), None):
        raise refuse(
            f"has a secret in it, {shown(secret)}: leave it out (the key of a client certificate "
            "can be without a password, in a file that only certrotd reads)"
        )
    if parts.scheme != "postgresql":
        if strange := next((each for each in options if each not in _MARIADB_OPTIONS), None):
            raise refuse(f"takes {', '.join(sorted(_MARIADB_OPTIONS))}, got {shown(strange)}")
        if not parts.path.strip("/"):
            raise refuse("names no database, as mariadb://certrotd@db.example.com/shop does")
    return value

"""Directories as certbot, lego and acme.sh lay them out, around a pair of the tests'.

certbot's and lego's are also made by themselves, in tests/integration/test_moving_in.py. acme.sh is
a shell script that no package of Debian, PyPI or Go has: its tree follows its published source.
"""

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from certrotd.importing.reading import Reader
from certrotd.pki import keys
from tests.parts import pki

NOW = datetime.now(UTC) + timedelta(hours=12)
"""In the day of a leaf, also of one that is made hours after this module is imported."""
NAME = "example.test"
CA = "https://acme-v02.api.letsencrypt.org/directory"
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
ACCOUNT = "0123456789abcdef0123456789abcdef"


def reader(root: Path) -> Reader:
    """As the command makes one."""
    return Reader(root, users={os.geteuid()}, groups={os.getegid()})


def put(path: Path, text: str | bytes, *, mode: int = 0o600) -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def pair(*names: str) -> pki.Pair:
    """A leaf below a root, in date."""
    return pki.make_leaf(pki.make_intermediate(pki.make_root()), *(names or (NAME,)))


def certbot(root: Path, *, conf: str = "", name: str = NAME, **parameters: str) -> Path:
    """A lineage in certbot's directory, which is given back."""
    made = pair()
    files = {"privkey": made.key_pem, "fullchain": made.fullchain_pem}
    files |= {"cert": made.fullchain_pem, "chain": made.fullchain_pem}
    for shape, data in files.items():
        put(root / "archive" / name / f"{shape}1.pem", data)
        link = root / "live" / name / f"{shape}.pem"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../archive/{name}/{shape}1.pem")
    ini = put(root / "rfc2136.ini", _ini("dns_rfc2136_", server="192.0.2.1", name="key.test."))
    told = {"account": ACCOUNT, "server": CA, "authenticator": "dns-rfc2136"}
    told |= {"dns_rfc2136_credentials": str(ini), **parameters}
    lines = [f"{shape} = {root}/live/{name}/{shape}.pem" for shape in files]
    lines += [conf, "[renewalparams]", *(f"{key} = {value}" for key, value in told.items())]
    put(root / "renewal" / f"{name}.conf", "\n".join(lines) + "\n", mode=0o644)
    account = root / "accounts" / "acme-v02.api.letsencrypt.org" / "directory" / ACCOUNT
    put(account / "private_key.json", _jwk())
    return root


def _ini(prefix: str, **values: str) -> str:
    told = {"algorithm": "HMAC-SHA256", "secret": SECRET, **values}
    return "".join(f"{prefix}{key} = {value}\n" for key, value in told.items())


def _jwk() -> str:
    from certrotd.acme.network import account_jwk

    jwk = account_jwk(keys.generate(keys.KeyType.ECDSA_P256))
    assert jwk is not None
    return json.dumps(jwk.fields_to_partial_json() | {"kty": "EC"})


def lego(root: Path) -> Path:
    """lego's directory with one certificate and one account."""
    made = pair()
    folder = root / "certificates"
    put(folder / f"{NAME}.crt", made.fullchain_pem)
    put(folder / f"{NAME}.key", made.key_pem)
    put(folder / f"{NAME}.issuer.crt", made.fullchain_pem)
    record = {"domain": NAME, "certUrl": "https://acme-v02.api.letsencrypt.org/acme/cert/1"}
    put(folder / f"{NAME}.json", json.dumps(record))
    add_lego_account(root, "ops@example.test")
    return root


def add_lego_account(root: Path, user: str, host: str = "acme-v02.api.letsencrypt.org") -> None:
    """One more account."""
    folder = root / "accounts" / host / user
    registration = {"uri": f"https://{host}/acme/acct/1", "body": {"status": "valid"}}
    put(folder / "account.json", json.dumps({"email": user, "registration": registration}))
    put(folder / "keys" / f"{user}.key", keys.to_pem(keys.generate(keys.KeyType.ECDSA_P256)))


def acme_sh(root: Path, *, lines: str = "", account: str = "", **values: str) -> Path:
    """acme.sh's home with one certificate; ``lines`` are added to its file as they are."""
    made = pair()
    folder = root / f"{NAME}_ecc"
    put(folder / f"{NAME}.key", made.key_pem)
    for file in (f"{NAME}.cer", "fullchain.cer", "ca.cer"):
        put(folder / file, made.fullchain_pem)
    told = {"Le_Domain": NAME, "Le_Alt": "no", "Le_Webroot": "dns_cf", "Le_API": CA} | values
    put(folder / f"{NAME}.conf", assignments(told) + lines)
    put(root / "account.conf", assignments({"SAVED_CF_Token": SECRET}) + account)
    at = root / "ca" / "acme-v02.api.letsencrypt.org" / "directory"
    put(at / "account.key", keys.to_pem(keys.generate(keys.KeyType.ECDSA_P256)))
    put(at / "ca.conf", assignments({"CA_EMAIL": "ops@example.test"}))
    return root


def assignments(values: Mapping[str, str]) -> str:
    """As acme.sh writes them."""
    return "".join(f"{key}='{value}'\n" for key, value in values.items())


def encoded(value: str) -> str:
    """As acme.sh writes commands."""
    text = base64.b64encode(value.encode()).decode()
    return f"__ACME_BASE64__START_{text}__ACME_BASE64__END_"

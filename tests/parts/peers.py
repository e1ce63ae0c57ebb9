"""Other ACME clients, which obtain certificates from a Pebble as their users have them do."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.parts import locate
from tests.parts.bind import Bind
from tests.parts.pebble import Pebble

MAIL = "ops@example.test"


def certbot(folder: Path, ca: Pebble, bind: Bind, *names: str, more: Sequence[str] = ()) -> Path:
    """A lineage by certbot's RFC 2136 plugin; its configuration directory."""
    program = locate.require("certbot")
    secrets = folder / "rfc2136.ini"
    host, _, port = bind.server.rpartition(":")
    told = {"server": host, "port": port, "name": bind.key.name, "secret": bind.key.secret}
    told["algorithm"] = "HMAC-SHA256"
    secrets.touch(mode=0o600)
    secrets.write_text("".join(f"dns_rfc2136_{key} = {value}\n" for key, value in told.items()))
    argv: list[str | Path] = [program, "certonly", "-n", "--agree-tos", "-m", MAIL]
    argv += _places(folder)
    argv += ["--server", ca.directory_url, "--dns-rfc2136"]
    argv += [part for name in names for part in ("-d", name)]
    argv += ["--dns-rfc2136-credentials", str(secrets)]
    argv += ["--dns-rfc2136-propagation-seconds", "1", *more]
    _run(argv, {"REQUESTS_CA_BUNDLE": str(ca.ca_file)})
    return folder / "letsencrypt"


def certbot_renew(folder: Path) -> str:
    """Has certbot renew all of its lineages at once; what it says."""
    argv: list[str | Path] = [
        locate.require("certbot"),
        "renew",
        "--force-renewal",
        *_places(folder),
    ]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


def _places(folder: Path) -> list[str]:
    places = {"config": "letsencrypt", "work": "w", "logs": "l"}
    return [f"--{what}-dir={folder / name}" for what, name in places.items()]


def lego(folder: Path, ca: Pebble, bind: Bind, *names: str) -> tuple[Path, Path]:
    """A certificate by lego's RFC 2136 provider; its directory, and the file of its variables."""
    program = locate.require("lego")
    variables = {
        "LEGO_CA_CERTIFICATES": str(ca.ca_file),
        "RFC2136_NAMESERVER": bind.server,
        "RFC2136_TSIG_ALGORITHM": "hmac-sha256.",
        "RFC2136_TSIG_KEY": bind.key.name,
        "RFC2136_TSIG_SECRET": bind.key.secret,
        "RFC2136_POLLING_INTERVAL": "1",
        "RFC2136_SEQUENCE_INTERVAL": "1",  # between the records of two names
    }
    file = folder / "lego.env"
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    argv: list[str | Path] = [program, "--accept-tos", "--email", MAIL, "--path", folder / ".lego"]
    argv += ["--server", ca.directory_url, "--dns", "rfc2136", "--dns.resolvers", bind.server]
    argv += ["--dns.propagation-disable-ans", "--pem"]
    argv += [part for name in names for part in ("--domains", name)]
    _run([*argv, "run"], variables)
    return folder / ".lego", file


def _run(argv: Sequence[str | Path], environment: dict[str, str]) -> None:
    """Runs a client to success, again where it gives up at a nonce that Pebble refuses."""
    for _ in range(10):
        ran = subprocess.run(
            argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        said = ran.stdout + ran.stderr
        if ran.returncode == 0 or "anti-replay nonce" not in said:
            break
    assert ran.returncode == 0, said

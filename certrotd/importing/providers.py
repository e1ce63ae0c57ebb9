"""Which solver of certrotd does what a DNS plugin of another client did, and with which options.

The names of the plugins and of their variables are those of the clients' documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from certrotd.errors import InvalidInput, NeedsOperator
from certrotd.importing.found import Solver

Values = Mapping[str, str]


@dataclass(frozen=True)
class Recipe:
    """A solver that is made where all of ``secrets`` and of ``needed`` are there.

    ``secrets``, ``needed`` and ``settings`` are names of the client's and the option that takes
    each; options with a dot are within another.
    """

    type: str
    secrets: Mapping[str, str]
    needed: Mapping[str, str]
    settings: Mapping[str, str]
    fixed: Mapping[str, Any]

    def made(self, name: str, values: Values) -> Solver | None:
        """The solver, None where something that it needs is missing."""
        if not all(values.get(key) for key in (*self.secrets, *self.needed)):
            return None
        options: dict[str, Any] = {"type": self.type, **self.fixed}
        for key, option in (*self.needed.items(), *self.settings.items()):
            if values.get(key):
                _put(options, option, values[key])
        secrets = {option: values[key].encode() for key, option in self.secrets.items()}
        return Solver(name, options, secrets)


def _put(options: dict[str, Any], option: str, value: Any) -> None:
    *within, last = option.split(".")
    for each in within:
        options = options.setdefault(each, {})
    options[last] = value


def recipe(
    kind: str,
    secrets: Mapping[str, str],
    *,
    needed: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    **fixed: Any,
) -> Recipe:
    """A recipe of a solver of certrotd's own."""
    return Recipe(kind, secrets, needed or {}, settings or {}, fixed)


def lexicon(provider: str, secrets: Mapping[str, str], **needed: str) -> Recipe:
    """A recipe of a provider of dns-lexicon; ``needed`` are options that are no secrets."""
    return Recipe(
        "lexicon",
        {key: f"options.{option}" for key, option in secrets.items()},
        {key: f"options.{option}" for option, key in needed.items()},
        {},
        {"provider": provider},
    )


_AWS = "access_key_id", "secret_access_key"
_AWS_AS_FOUND = recipe("route53", {})
_TOKEN = "auth_token"  # noqa: S105  # the name of an option

CERTBOT: Mapping[str, Sequence[Recipe]] = {
    "dns-cloudflare": [
        recipe("cloudflare", {"api_token": "token"}),
        lexicon("cloudflare", {"api_key": _TOKEN}, auth_username="email"),
    ],
    "dns-route53": [_AWS_AS_FOUND],
    "dns-powerdns": [recipe("powerdns", {"api_key": "api_key"}, needed={"api_url": "url"})],
    "dns-digitalocean": [lexicon("digitalocean", {"token": _TOKEN})],
    "dns-dnsimple": [lexicon("dnsimple", {"token": _TOKEN})],
    "dns-dnsmadeeasy": [lexicon("dnsmadeeasy", {"secret_key": _TOKEN, "api_key": "auth_username"})],
    "dns-gehirn": [lexicon("gehirn", {"api_token": _TOKEN, "api_secret": "auth_secret"})],
    "dns-linode": [lexicon("linode4", {"key": _TOKEN})],
    "dns-luadns": [lexicon("luadns", {"token": _TOKEN}, auth_username="email")],
    "dns-nsone": [lexicon("nsone", {"api_key": _TOKEN})],
    "dns-ovh": [
        lexicon(
            "ovh",
            {
                "application_key": "auth_application_key",
                "application_secret": "auth_application_secret",
                "consumer_key": "auth_consumer_key",
            },
            auth_entrypoint="endpoint",
        )
    ],
    "dns-sakuracloud": [lexicon("sakuracloud", {"api_token": _TOKEN, "api_secret": "auth_secret"})],
    "dns-gandi": [lexicon("gandi", {"token": _TOKEN})],
    "dns-hetzner": [lexicon("hetzner", {"api_token": _TOKEN})],
    "dns-desec": [lexicon("desec", {"token": _TOKEN})],
    "dns-vultr": [lexicon("vultr", {"key": _TOKEN})],
    "dns-godaddy": [lexicon("godaddy", {"key": "auth_key", "secret": "auth_secret"})],
    "dns-porkbun": [lexicon("porkbun", {"key": "auth_key", "secret": "auth_secret"})],
}
"""By certbot's authenticator; the variables are without the plugin's prefix."""

LEGO: Mapping[str, Sequence[Recipe]] = {
    "cloudflare": [
        recipe("cloudflare", {"CLOUDFLARE_DNS_API_TOKEN": "token"}),
        recipe("cloudflare", {"CF_DNS_API_TOKEN": "token"}),
        lexicon("cloudflare", {"CLOUDFLARE_API_KEY": _TOKEN}, auth_username="CLOUDFLARE_EMAIL"),
        lexicon("cloudflare", {"CF_API_KEY": _TOKEN}, auth_username="CF_API_EMAIL"),
    ],
    "route53": [
        recipe(
            "route53",
            {"AWS_ACCESS_KEY_ID": _AWS[0], "AWS_SECRET_ACCESS_KEY": _AWS[1]},
            settings={"AWS_HOSTED_ZONE_ID": "zone_id"},
        ),
        recipe("route53", {}, settings={"AWS_HOSTED_ZONE_ID": "zone_id", "AWS_PROFILE": "profile"}),
    ],
    "pdns": [
        recipe(
            "powerdns",
            {"PDNS_API_KEY": "api_key"},
            needed={"PDNS_API_URL": "url"},
            settings={"PDNS_SERVER_NAME": "server_id"},
        )
    ],
    "httpreq": [
        recipe(
            "webhook",
            {"HTTPREQ_USERNAME": "username", "HTTPREQ_PASSWORD": "password"},
            needed={"HTTPREQ_ENDPOINT": "url"},
        ),
        recipe("webhook", {}, needed={"HTTPREQ_ENDPOINT": "url"}),
    ],
    "digitalocean": [lexicon("digitalocean", {"DO_AUTH_TOKEN": _TOKEN})],
    "dnsimple": [lexicon("dnsimple", {"DNSIMPLE_OAUTH_TOKEN": _TOKEN})],
    "gandiv5": [lexicon("gandi", {"GANDIV5_PERSONAL_ACCESS_TOKEN": _TOKEN})],
    "hetzner": [
        lexicon("hetzner", {"HETZNER_API_TOKEN": _TOKEN}),
        lexicon("hetzner", {"HETZNER_API_KEY": _TOKEN}),
    ],
    "linode": [lexicon("linode4", {"LINODE_TOKEN": _TOKEN})],
    "ovh": [
        lexicon(
            "ovh",
            {
                "OVH_APPLICATION_KEY": "auth_application_key",
                "OVH_APPLICATION_SECRET": "auth_application_secret",
                "OVH_CONSUMER_KEY": "auth_consumer_key",
            },
            auth_entrypoint="OVH_ENDPOINT",
        )
    ],
    "desec": [lexicon("desec", {"DESEC_TOKEN": _TOKEN})],
    "vultr": [lexicon("vultr", {"VULTR_API_KEY": _TOKEN})],
    "godaddy": [
        lexicon("godaddy", {"GODADDY_API_KEY": "auth_key", "GODADDY_API_SECRET": "auth_secret"})
    ],
    "porkbun": [
        lexicon("porkbun", {"PORKBUN_API_KEY": "auth_key", "PORKBUN_SECRET_API_KEY": "auth_secret"})
    ],
}
"""By the name after lego's ``--dns``."""

ACME_SH: Mapping[str, Sequence[Recipe]] = {
    "dns_cf": [
        recipe("cloudflare", {"CF_Token": "token"}, settings={"CF_Zone_ID": "zone_id"}),
        lexicon("cloudflare", {"CF_Key": _TOKEN}, auth_username="CF_Email"),
    ],
    "dns_aws": [
        recipe("route53", {"AWS_ACCESS_KEY_ID": _AWS[0], "AWS_SECRET_ACCESS_KEY": _AWS[1]}),
        _AWS_AS_FOUND,
    ],
    "dns_pdns": [
        recipe(
            "powerdns",
            {"PDNS_Token": "api_key"},
            needed={"PDNS_Url": "url"},
            settings={"PDNS_ServerId": "server_id"},
        )
    ],
    "dns_dgon": [lexicon("digitalocean", {"DO_API_KEY": _TOKEN})],
    "dns_dnsimple": [lexicon("dnsimple", {"DNSimple_OAUTH_TOKEN": _TOKEN})],
    "dns_gandi_livedns": [lexicon("gandi", {"GANDI_LIVEDNS_TOKEN": _TOKEN})],
    "dns_gd": [lexicon("godaddy", {"GD_Key": "auth_key", "GD_Secret": "auth_secret"})],
    "dns_hetzner": [lexicon("hetzner", {"HETZNER_Token": _TOKEN})],
    "dns_linode_v4": [lexicon("linode4", {"LINODE_V4_API_KEY": _TOKEN})],
    "dns_desec": [lexicon("desec", {"DEDYN_TOKEN": _TOKEN})],
    "dns_vultr": [lexicon("vultr", {"VULTR_API_KEY": _TOKEN})],
    "dns_porkbun": [
        lexicon("porkbun", {"PORKBUN_API_KEY": "auth_key", "PORKBUN_SECRET_API_KEY": "auth_secret"})
    ],
}
"""By the name in ``Le_Webroot``; the variables are without ``SAVED_``."""

_ALGORITHMS = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_KEY_FILE = re.compile(
    r'key\s+"?([^"\s{]+)"?\s*\{\s*algorithm\s+"?([A-Za-z0-9-]+)"?\s*;\s*'
    r'secret\s+"?([A-Za-z0-9+/=]+)"?\s*;\s*\}\s*;'
)


def solver_of(provider: str, values: Values, recipes: Mapping[str, Sequence[Recipe]]) -> Solver:
    """The solver for a client's ``provider``; raises InvalidInput with the reason for none."""
    if provider not in recipes:
        raise InvalidInput(f"certrotd has no recipe for {provider}", hint="see docs/dns.md")
    name = re.sub(r"^dns[-_]", "", provider).replace("_", "-")
    for each in recipes[provider]:
        if solver := each.made(name, values):
            return solver
    least = min(recipes[provider], key=lambda each: len(each.secrets) + len(each.needed))
    missing = [key for key in (*least.secrets, *least.needed) if not values.get(key)]
    raise InvalidInput(f"{provider} needs {' and '.join(missing)}, which is not there")


def rfc2136(*, server: str, port: str = "", name: str, algorithm: str, secret: str) -> Solver:
    """The solver of dynamic updates; raises InvalidInput for what certrotd does not sign with."""
    chosen = algorithm.lower().rstrip(".") or "hmac-md5"
    if chosen not in _ALGORITHMS:
        raise InvalidInput(
            f"certrotd does not sign updates by {chosen}",
            hint="make a key with tsig-keygen -a hmac-sha256",
        )
    if not (server and name and secret):
        raise InvalidInput("the server, the name of the key or its secret is missing")
    where = f"[{server}]" if server.count(":") > 1 and server[:1] != "[" else server
    options = {
        "type": "rfc2136",
        "server": f"{where}:{port}" if port else where,
        "tsig": {"name": name.rstrip("."), "algorithm": chosen},
    }
    return Solver("rfc2136", options, {"tsig.secret": secret.encode()})


def tsig_of(text: str) -> dict[str, str]:
    """Name, algorithm and secret in a key file of BIND; raises InvalidInput, showing none of it."""
    if found := _KEY_FILE.search(text):
        return dict(zip(("name", "algorithm", "secret"), found.groups(), strict=True))
    raise InvalidInput("the TSIG key file is not as tsig-keygen writes it")


def from_files(values: Values, read: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Values of lego's, of which those called ``…_FILE`` are the content of that file."""
    for key, value in values.items():
        if not key.endswith("_FILE"):
            yield key, value
        elif key.removesuffix("_FILE") not in values:
            yield key.removesuffix("_FILE"), read(value).strip()


def because(failure: InvalidInput | NeedsOperator) -> str:
    """A failure as the note of a row."""
    return f"{failure.message} ({failure.hint})" if failure.hint else failure.message

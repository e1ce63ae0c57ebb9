"""``certrotd init`` with its options."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from certrotd.cli.options import ConfigOption, end, path_of

_Texts = list[str] | None


def _option(flag: str, metavar: str, help_text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(flag, metavar=metavar, help=help_text)
    return found


def init(
    context: typer.Context,
    domain: Annotated[
        _Texts, typer.Option("--domain", "-d", metavar="NAME", help="A name; repeat it.")
    ] = None,
    name: Annotated[
        str | None, _option("--name", "NAME", "What the certificate is called (the first name).")
    ] = None,
    ca: Annotated[
        str | None,
        _option(
            "--ca", "CA", "letsencrypt (default), google, zerossl, internal, or a directory's URL."
        ),
    ] = None,
    production: Annotated[
        bool,
        typer.Option(
            "--production",
            help="Not the staging CA. Of a configuration that is there: change that one line.",
        ),
    ] = False,
    email: Annotated[str | None, _option("--email", "MAIL", "For warnings of the CA.")] = None,
    agree: Annotated[
        bool, typer.Option("--agree-to-terms", help="You agree to the CA's terms of service.")
    ] = False,
    eab_key_id: Annotated[
        str | None,
        _option("--eab-key-id", "ID", "Of a customer's account; its key: --secret-file eab.key=…"),
    ] = None,
    ca_bundle: Annotated[
        Path | None, _option("--ca-bundle", "FILE", "Roots of the CA's web server, if private.")
    ] = None,
    solver: Annotated[
        str | None,
        _option(
            "--solver",
            "TYPE",
            "How names are proven: rfc2136, responder, cloudflare, route53, powerdns, acmedns, "
            "webhook, lexicon, exec; or dns-persist-01: a TXT record that you set once.",
        ),
    ] = None,
    solver_set: Annotated[
        _Texts, _option("--solver-set", "NAME=VALUE", "Such as server=192.0.2.1; repeat it.")
    ] = None,
    secret_file: Annotated[
        _Texts,
        _option("--secret-file", "NAME=FILE", "Such as tsig.secret=/etc/certrotd/tsig; repeat it."),
    ] = None,
    service: Annotated[
        str | None,
        _option(
            "--service",
            "TYPE",
            "nginx, apache, haproxy, postfix, dovecot, postgresql, docker, systemd, signal, http, "
            "command or none (default: what runs here).",
        ),
    ] = None,
    service_set: Annotated[
        _Texts, _option("--service-set", "NAME=VALUE", "Such as containers=web; repeat it.")
    ] = None,
    probe: Annotated[
        _Texts,
        _option("--probe", "HOST:PORT", "Where it serves TLS, or none; repeat it."),
    ] = None,
    state_dir: Annotated[
        Path | None, _option("--state-dir", "DIR", "Where certrotd keeps everything.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take options and defaults.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write a first configuration, from answers or from options.

    Without a terminal it asks nothing. It never overwrites a file; secrets stay in files of their
    own.

    Example: certrotd init -d example.com --agree-to-terms --solver rfc2136
    --solver-set server=192.0.2.1 --secret-file tsig.secret=/etc/certrotd/tsig --service nginx
    """
    from certrotd.cli.init import Asked
    from certrotd.cli.init import init as carry_out

    asked = Asked(
        domains=domain or (),
        name=name,
        ca=ca,
        production=production,
        email=email,
        agree=agree,
        eab_key_id=eab_key_id,
        ca_bundle=ca_bundle,
        solver=solver,
        solver_set=solver_set or (),
        secret_files=secret_file or (),
        service=service,
        service_set=service_set or (),
        probes=probe or (),
        state_dir=state_dir,
    )
    ask = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    end(carry_out(path_of(context, config), asked, ask=ask))

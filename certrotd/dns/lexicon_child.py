"""The program that speaks to dns-lexicon: run by file, alone, with everything in its environment.

``CERTROTD_LEXICON`` is JSON with ``action`` (present, withdraw, ask or look), ``zone``, ``name``,
``value``, ``ttl``, ``provider``, ``options`` and ``seconds`` (how long it may run). Prints one line
of JSON: ``kind`` (done, later, denied, missing or refused), ``why`` and ``retry_after`` (seconds or
null).
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
from typing import Any
from urllib.parse import quote, quote_plus

MAX_MEMORY = 512 * 1024 * 1024
MAX_SHOWN = 300
LATER = 2
"""So many seconds after its time it ends by itself."""
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def main() -> None:
    """Do what is asked, and say what came of it."""
    asked = json.loads(os.environ.pop("CERTROTD_LEXICON"))
    # whoever waits for us may be gone; one who is there ends us before, and says why
    signal.alarm(math.ceil(asked["seconds"]) + LATER)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    out = os.dup(1)
    os.dup2(2, 1)  # what a provider prints is no answer
    outcome = _outcome(asked)
    os.write(out, f"{json.dumps(outcome)}\n".encode())
    os._exit(0)  # not waiting for threads of a provider's


def _outcome(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        _act(asked)
    except ModuleNotFoundError as error:
        return _said("missing", f"{error.name} is not installed", asked)
    except Exception as error:  # noqa: BLE001  # a provider's defect is a reason like any other
        return _failed(error, asked)
    return _said("done", "", asked)


def _act(asked: dict[str, Any]) -> None:
    import dns.name
    import dns.resolver
    from lexicon import client
    from lexicon.config import ConfigResolver

    zone = asked.get("zone", "example.com")
    # Lexicon looks for the zone by the system's resolver or guesses it by a list that it fetches:
    # it is known already
    dns.resolver.zone_for_name = lambda *_, **__: dns.name.from_text(zone)
    settings = {
        "provider_name": asked["provider"],
        "domain": zone,
        "resolve_zone_name": True,
        "ttl": asked["ttl"],
        asked["provider"]: asked["options"],
    }
    lexicon = client.Client(ConfigResolver().with_dict(settings))  # type: ignore[no-untyped-call]
    if asked["action"] == "look":
        return
    with lexicon as operations:
        if asked["action"] == "ask":  # it has authenticated, and found the zone
            return
        name, value = f"{asked['name']}.", asked["value"]
        if asked["action"] == "present":
            done = operations.create_record("TXT", name, value)
        else:
            there = operations.list_records("TXT", name, value)
            done = operations.delete_record(None, "TXT", name, value) if there else True
    if done is False:
        raise RuntimeError("the provider did not do it, and says nothing more")


def _failed(error: Exception, asked: dict[str, Any]) -> dict[str, Any]:
    """Whether somebody has to do something, by what the libraries of its providers raise."""
    why = f"{type(error).__name__}: {error}"
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    kinds = {each.__name__ for each in type(error).__mro__}
    if status in (401, 403) or "AuthenticationError" in kinds:
        return _said("denied", why, asked)
    if isinstance(status, int) and (status in (408, 429) or status >= 500):
        return _said("later", why, asked, getattr(response, "headers", {}).get("Retry-After"))
    # urllib3 and requests: what keeps an answer from coming
    if status is None and kinds & {"ConnectionError", "Timeout", "HTTPError", "TimeoutError"}:
        return _said("later", why, asked)
    if kinds & {"JSONDecodeError"}:
        return _said("later", f"an answer that is no JSON ({type(error).__name__})", asked)
    return _said("refused", why, asked)


def _said(kind: str, why: str, asked: dict[str, Any], wait: object = None) -> dict[str, Any]:
    seconds = int(wait) if isinstance(wait, str) and _SECONDS.fullmatch(wait.strip()) else None
    return {"kind": kind, "why": scrubbed(why, asked["options"]), "retry_after": seconds}


def scrubbed(text: str, options: dict[str, str]) -> str:
    """``text`` without the values of any option: which of them are secrets is not known here.

    Nor as they are in the URL of a request, which is what an error of a connection shows.
    """
    values: set[str] = set()
    for value in options.values():
        if len(value) > 3:
            values |= {value, quote(value), quote_plus(value), quote(value, safe="")}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return text[:MAX_SHOWN]


if __name__ == "__main__":
    main()

"""systemd's units by systemctl: what state they are in, and jobs on them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from certrotd import process
from certrotd.clock import Deadline
from certrotd.errors import InvalidInput, NeedsOperator, Transient

LOADED = {
    "not-found": ("does not exist", "correct the name, or install the service"),
    "masked": ("is masked", "systemctl unmask it"),
    "bad-setting": ("has a wrong setting", "systemd-analyze verify shows it"),
    "error": ("could not be loaded", "systemd-analyze verify shows why"),
}
"""What keeps a unit from being one, by its LoadState, and a hint."""

_SERVICE = "org.freedesktop.systemd1"
# in what it takes for a chroot, systemctl does nothing and exits with 0
_ENVIRONMENT = {"LC_ALL": "C", "SYSTEMD_IGNORE_CHROOT": "1"}
_CAN = ("CanReload", "CanStart", "CanStop")
_SHOWN = ("LoadState", "ActiveState", "SubState", "MainPID", *_CAN)
_DENIED = re.compile(r"Interactive authentication required|(Access|Permission) denied")
_PASSING = re.compile(r"canceled|timed out|is destructive|shutting down|maximum number")
_ASIDE = ("See ", "Warning: ")


@dataclass(frozen=True)
class UnitState:
    """A unit's LoadState, ActiveState and SubState, in systemd's words.

    ``main_pid`` is the main process of a service, 0 while there is none; ``can`` holds CanReload,
    CanStart and CanStop as far as they are true.
    """

    load: str
    active: str
    sub: str
    main_pid: int = 0
    can: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.active} ({self.sub})"

    @property
    def runs(self) -> bool:
        """Whether it has been started and not been stopped."""
        return self.active in ("active", "reloading", "refreshing")


def look(unit: str, deadline: Deadline) -> UnitState:
    """The state of a unit; the load state of one that does not exist is ``not-found``.

    Raises NeedsOperator where there is no systemd, Transient at the deadline.
    """
    argv = ("systemctl", "show", f"--property={','.join(_SHOWN)}", "--", unit)
    output = _answer(argv, deadline, f"show the state of {unit}")
    shown = dict(line.partition("=")[::2] for line in output.splitlines())
    try:
        return UnitState(
            load=shown["LoadState"],
            active=shown["ActiveState"],
            sub=shown["SubState"],
            main_pid=int(shown.get("MainPID", "0")),
            can=frozenset(name for name in _CAN if shown.get(name) == "yes"),
        )
    except (LookupError, ValueError):
        raise InvalidInput(f"systemctl shows {unit} in an unknown format: {output}") from None


def program(unit: str, deadline: Deadline) -> tuple[str, ...]:
    """The argv that a service is started with; empty if it has none. Raises as look()."""
    # systemctl shows the words of an argv without what tells them apart
    escaped = "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)
    path = f"/org/freedesktop/systemd1/unit/{escaped}"
    asked = (_SERVICE, path, f"{_SERVICE}.Service", "ExecStart")
    argv = ("busctl", "--json=short", "get-property", *asked)
    output = _answer(argv, deadline, f"show what starts {unit}")
    try:
        match json.loads(output)["data"]:
            case []:
                return ()
            case [[str(), [*words], *_], *_] if all(isinstance(word, str) for word in words):
                return tuple(words)
    except (ValueError, LookupError, TypeError):
        pass
    raise InvalidInput(f"systemd describes what starts {unit} in an unknown format")


def permits(verb: str, unit: str, deadline: Deadline) -> None:
    """Whether systemd, or polkit for it, would let us; NeedsOperator if not.

    polkit tells nobody but root about single units. So the act itself is asked for, in a way that
    systemd refuses once the permission is given: to isolate is for starting alone.
    """
    _refusal(verb, unit, _run(_job(verb, unit, "isolate"), deadline))


def tell(verb: str, unit: str, deadline: Deadline) -> None:
    """Have systemd do it, and wait for the end of that very job.

    Raises NeedsOperator, or Transient, for a job that systemd refuses or that does not succeed.
    """
    ran = _run(_job(verb, unit, "replace"), deadline, f"{verb} of {unit} did not end in time")
    if words := _refusal(verb, unit, ran):
        kind = Transient if _PASSING.search(words) else NeedsOperator
        raise kind(
            f"{verb} of {unit} failed: {words}; it is {look(unit, deadline)} now",
            hint=f"journalctl -u {unit} shows why",
        )


def _job(verb: str, unit: str, mode: str) -> tuple[str, ...]:
    return ("systemctl", "--no-ask-password", f"--job-mode={mode}", verb, "--", unit)


def _answer(argv: tuple[str, ...], deadline: Deadline, act: str) -> str:
    ran = _run(argv, deadline)
    if ran.status:
        kind = Transient if _PASSING.search(_words(ran)) else NeedsOperator
        raise kind(f"{argv[0]} cannot {act}: {_words(ran)}", hint="does systemd run here?")
    return ran.output.decode("utf-8", "replace").strip()


def _run(argv: tuple[str, ...], deadline: Deadline, late: str = "") -> process.Ran:
    variables = process.environment(_ENVIRONMENT)
    ran = process.run(argv, what=argv[0], deadline=deadline, variables=variables)
    if ran.status is None:
        raise Transient(
            late or f"{argv[0]} did not answer in time", hint="systemctl list-jobs shows what runs"
        )
    return ran


def _refusal(verb: str, unit: str, ran: process.Ran) -> str:
    """Why systemd does not do it; "" if it does. Raises NeedsOperator for a lack of rights."""
    if not ran.status:
        return ""
    words = _words(ran).removeprefix(f"Failed to {verb} {unit}: ")
    if _DENIED.search(words):
        raise NeedsOperator(
            f"systemd does not let user {os.geteuid()} {verb} {unit}: {words}",
            hint="install polkitd, and allow this verb on this unit by the polkit rule in "
            "deploy/systemd",
        )
    return words


def _words(ran: process.Ran) -> str:
    """What went wrong, in the words of systemctl."""
    lines = ran.output.decode("utf-8", "replace").splitlines()
    said = [line for line in lines if line and not line.startswith(_ASIDE)]
    return " | ".join(said[:3]).rstrip(".") or f"it {ran.how}"

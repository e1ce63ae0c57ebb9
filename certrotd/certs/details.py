"""What is shown of one certificate: its targets, its copies, and the facts on its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from certrotd.certs.fitness import standing_in
from certrotd.certs.policy import COPIES
from certrotd.errors import Failure
from certrotd.lifecycle.details import Cell, Consumer, Details, Table

if TYPE_CHECKING:  # both open sockets, which a listing does not
    from certrotd.certs.subject import CertificateFound
    from certrotd.certs.world import World
    from certrotd.observe.tls import Endpoint

PAUSE = 0.2
SHOWN_DIGITS = 16


def targets_of(found: CertificateFound, *, ask: bool = False) -> list[dict[str, Any]]:
    """What each target was last proven to serve, and with ``ask`` what it serves right now."""
    known, live = found.standing.state.targets, found.standing.live
    wanted = live.facts.fingerprint if live and live.facts else None
    targets = []
    for name in found.managed.policy.targets:
        state = known.get(name)
        target: dict[str, Any] = {
            "name": name,
            "generation": state.generation if state else None,
            "serves": state.fingerprint or None if state else None,
            "proven": state.proven if state and state.fingerprint else None,
        }
        target["current"] = wanted is not None and target["serves"] == wanted
        if ask:
            target["endpoints"] = _endpoints(found, name, wanted)
            if served := [endpoint["serves"] for endpoint in target["endpoints"]]:
                target["current"] = all(each is not None and each == wanted for each in served)
        targets.append(target)
    return targets


def consumers_of(found: CertificateFound, *, ask: bool = False) -> list[Consumer]:
    """Its targets, and its copies as one."""
    consumers = [
        Consumer(
            target["name"],
            target_words(target),
            target["current"],
            unproven=target["generation"] is not None and target["serves"] is None,
        )
        for target in targets_of(found, ask=ask)
    ]
    if found.managed.policy.installs:
        consumers.append(_copies(found))
    return consumers


def details_of(found: CertificateFound) -> Details:
    """The facts and tables of its page."""
    return Details(tuple(_facts(found)), tuple(_tables(found)))


def _facts(found: CertificateFound) -> Iterator[tuple[str, Cell]]:
    policy, live = found.managed.policy, found.standing.live
    yield "Issuer", Cell(", then ".join(policy.issuers), note=standing_in(live, policy) or "")
    if found.managed.policy.installs:
        yield "Copies", Cell(_copies(found).words)
    facts, renewal = found.facts, found.renewal
    if facts is None or renewal is None:
        return
    at, rule = renewal
    yield "Renewal", Cell(moment=at, note=rule)
    yield "Issued by", Cell(facts.issuer or "–")
    yield "Valid from", Cell(moment=facts.not_before)
    yield "Valid until", Cell(moment=facts.not_after)
    yield "Key", Cell(facts.key_type)
    yield "Serial", Cell(facts.serial, code=True)
    yield "SHA-256", Cell(facts.fingerprint, code=True)


def _tables(found: CertificateFound) -> Iterator[Table]:
    policy, state = found.managed.policy, found.standing.state
    nobody = "no service reloads"
    rest = f"a new one replaces its copies, and {nobody}" if policy.installs else f"{nobody} for it"
    yield Table(
        "Targets",
        ("Target", "State", "Generation", "Proven", "Serves"),
        [_target_row(target) for target in targets_of(found)],
        f"It has no targets: {rest}.",
    )
    if state.revoked:
        revoked = [
            (
                Cell(str(number)),
                Cell(each.words(number)),
                Cell(moment=each.done) if each.done else Cell("–"),
                Cell(each.fingerprint, code=True, cut=SHOWN_DIGITS),
            )
            for number, each in sorted(state.revoked.items())
        ]
        yield Table("Revocations", ("Generation", "State", "Revoked", "SHA-256"), revoked, "")
    if policy.installs:
        rows = [
            (Cell(path, code=True), Cell(state.copies[path].asked.partition(" ")[0]))
            for path in sorted(state.copies)
        ]
        yield Table("Copies", ("Path", "What"), rows, "None is installed yet.")


def _target_row(target: dict[str, Any]) -> Sequence[Cell]:
    words = target_words(target)
    proven = target["proven"]
    return (
        Cell(target["name"]),
        Cell("serves it" if target["current"] else words, chip=target["current"]),
        Cell(str(target["generation"] or "–")),
        Cell(moment=proven) if proven else Cell("–"),
        Cell(target["serves"] or "–", code=bool(target["serves"]), cut=SHOWN_DIGITS),
    )


def target_words(target: dict[str, Any]) -> str:
    """What is known of one of ``targets_of``, without its name."""
    if target["current"]:
        return "ok"
    if endpoints := target.get("endpoints"):
        silent = next((each["problem"] for each in endpoints if each["problem"]), None)
        return f"NOT SEEN: {silent}" if silent else "SERVES ANOTHER CERTIFICATE"
    if target["generation"] is None:
        return "not deployed yet"
    if target["serves"] is None:
        return f"generation {target['generation']}, no probe"
    return f"generation {target['generation']}"


def _copies(found: CertificateFound) -> Consumer:
    standing = found.standing
    state, live = standing.state.targets.get(COPIES), standing.live
    if standing.displaced:
        words, current = standing.displaced, False
    elif state is None or live is None:
        words, current = "not installed yet", False
    elif state.generation != live.number:
        words, current = f"of generation {state.generation}", False
    else:
        words, current = "up to date", True
    return Consumer("copies", words, current)


def _endpoints(found: CertificateFound, name: str, wanted: str | None) -> list[dict[str, Any]]:
    world = found.managed.world()
    bound = world.target(name)
    live, seen = found.standing.live, []
    key = live.facts.key_type if live and live.facts else ""
    for endpoint in bound.endpoints if bound else ():
        try:
            served, problem = _serves(world, replace(endpoint, key=key), wanted), None
        except Failure as failure:
            served, problem = None, str(failure)
        seen.append({"endpoint": str(endpoint), "serves": served, "problem": problem})
    return seen


def _serves(world: World, endpoint: Endpoint, wanted: str | None) -> str:
    """The leaf that is served: the one that is ``wanted`` if a row shows it after one that did not.

    An old worker that a busy machine leaves no time to end takes a connection now and then, long
    after the new ones were proven; what really serves something else does so again.
    """
    first = seen = world.prober.look(endpoint).fingerprint
    for _ in range(endpoint.consecutive if seen != wanted else 0):
        world.clock.sleep(PAUSE)
        seen = world.prober.look(endpoint).fingerprint
        if seen != wanted:
            return first
    return seen

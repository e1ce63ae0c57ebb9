"""What to do about a keyring and why: a pure function of its standing, its policy and now.

RULES are tried in order, and the first that matches decides; each has a code beside its words.
Then WAITS are tried, which postpone what is due. explain() says of each why it matched or why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from certrotd.keyring.evidence import Lacking, Missing
from certrotd.keyring.states import State, Version
from certrotd.keys.case import Case
from certrotd.keys.decision import (
    RECHECK,
    Compromise,
    Deliver,
    Destroy,
    Disable,
    Reencrypt,
    Retire,
    Rotate,
)
from certrotd.keys.policy import Attempts, Policy, Standing
from certrotd.lifecycle.decision import DAEMON, Action, Asked, Decision, Postpone, Tried, Wait
from certrotd.lifecycle.gate import Gate
from certrotd.lifecycle.rules import (
    IN_WINDOW,
    NO_BACKOFF,
    Rule,
    Waiting,
    backing_off,
    due_of,
    outside_window,
    postponed,
    says,
    tried,
    tried_waits,
)

_TIMES = frozenset({Lacking.DRAINING})


def decide(
    policy: Policy,
    standing: Standing,
    attempts: Attempts,
    asked: Asked = DAEMON,
    *,
    now: datetime,
) -> Decision:
    """The decision about one keyring.

    ``asked.named`` overrides its window, ``by_hand`` the backoff, as does a configuration that was
    mended; ``forced`` rotates whatever the dates say, and overrides a hold.
    """
    case = Case(policy, standing, attempts, now, asked)
    due = due_of(RULES, case)
    if isinstance(due, Wait):
        return due
    waits = postponed(WAITS, case, due)
    if waits is not None and waits.by is Gate.SLOT and (room := _room(case)) is not None:
        return postponed(WAITS, case, room) or room
    return waits or due


def explain(
    policy: Policy, standing: Standing, attempts: Attempts, *, now: datetime
) -> Iterator[Tried]:
    """Every rule that decide() tries, in its order, and why it matched or did not."""
    case = Case(policy, standing, attempts, now, DAEMON)
    yield from tried(RULES, case)
    if isinstance(due := due_of(RULES, case), Wait):
        return
    for each in tried_waits(WAITS, case, due):
        yield each
        if each.matched and each.code == Gate.SLOT and (room := _room(case)) is not None:
            yield Tried(room.code, True, room.why)


def _room(case: Case) -> Action | None:
    """What makes room for one more key, if anything can be done for it now."""
    for code, match in _MAKE_ROOM:
        if (found := match(case)) is not None:
            return replace(found, code=code)
    return None


def _disabled(case: Case) -> Wait | None:
    if case.policy.enabled:
        return None
    return Wait("disabled in the configuration", case.now + RECHECK)


def _backups(case: Case) -> Wait | None:
    return Wait(case.backed_up, case.now + RECHECK) if case.backed_up else None


def _adopt(case: Case) -> Wait | None:
    """An application has a key that certrotd does not know: a new one would lose its data."""
    if case.standing.versions is not None or not case.standing.present:
        return None
    where, name = ", ".join(case.standing.present), case.policy.name
    return Wait(
        f"an application has a key in {where}: take it over with certrotd keys adopt {name}",
        case.now + RECHECK,
    )


def _first(case: Case) -> Rotate | None:
    return Rotate("there is no key yet") if case.standing.versions is None else None


def _suspect(case: Case) -> Rotate | Compromise | None:
    """What others may know is replaced; what was undone or refused before is tried again."""
    for version in case.suspects:
        number = version.number
        said = case.standing.suspects.get(number)
        if version == case.active:
            why = f"version {number} is compromised, and not replaced yet"
            return Rotate(f"{why}: {said}" if said else why, compromised=number, urgent=True)
        return Compromise(said or "its replacement was undone", version=number)
    return None


def _staged(case: Case) -> Rotate | None:
    if (staged := case.staged) is None:
        return None
    return Rotate(f"version {staged.number} is {staged.state}: its rotation goes on")


def _inactive(case: Case) -> Rotate | None:
    if case.active is not None:
        return None
    return Rotate("no version of the keyring is active", urgent=True)


def _forced(case: Case) -> Rotate | None:
    return Rotate("forced by hand") if case.asked.forced else None


def _limit(case: Case) -> Rotate | None:
    for code, at, words in case.limits:
        if at is None or at <= case.now:
            return Rotate(words, code=code)
    return None


def _undelivered(case: Case) -> Deliver | None:
    if not case.standing.absent or case.active is None:
        return None
    return Deliver(f"nothing is at {', '.join(case.standing.absent)}")


def _reencrypt(case: Case) -> Reencrypt | None:
    if not (stored := case.stored):
        return None
    name, version = stored[0]
    why = f"values of {name} may be under version {version.number}"
    return Reencrypt(why, datasets=tuple(name for name, _ in stored))


def _destroy(case: Case) -> Destroy | None:
    for version in case.versions.in_state(State.DISABLED, State.COMPROMISED):
        due = version.since + case.policy.watch <= case.now
        if due and not case.lacking(version):
            why = f"version {version.number} has been {version.state} since {_day(version.since)}"
            return Destroy(f"{why}, and nothing is left under it", version=version.number)
    return None


def _disable(case: Case) -> Disable | None:
    for version in case.versions.in_state(State.RETIRED):
        if version.since + case.policy.grace <= case.now and not case.needed(version):
            why = f"version {version.number} has been retired since {_day(version.since)}"
            return Disable(why, version=version.number)
    return None


def _retire(case: Case) -> Retire | None:
    for version in case.versions.in_state(State.DECRYPT_ONLY):
        if not case.left_of(version):
            why = f"nothing is left under version {version.number}"
            return Retire(why, version=version.number)
    return None


def _not_due(case: Case) -> Wait:
    """Until the earliest of what comes next; what nobody can tell is looked at every day."""
    known = list(_coming(case))
    until, why = min(
        known, key=lambda each: each[0], default=(case.now + RECHECK, "nothing is due")
    )
    return Wait(why, until, planned=until if known else None)


def _coming(case: Case) -> Iterator[tuple[datetime, str]]:
    if (expected := case.expected) is not None:
        yield expected
    for version in case.versions.in_state(State.RETIRED):
        yield _until(case, version, version.since + case.policy.grace, case.needed(version))
    for version in case.versions.in_state(State.DISABLED, State.COMPROMISED):
        yield _until(case, version, version.since + case.policy.watch, case.lacking(version))
    for version in case.versions.in_state(State.DECRYPT_ONLY):
        yield from _drained(case, version)


def _until(
    case: Case, version: Version, at: datetime, lacking: Sequence[Missing]
) -> tuple[datetime, str]:
    """When a version is withheld or destroyed, or what keeps it from that."""
    words = f"version {version.number} is {version.state}"
    if lacking:
        why = lacking[0].why
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        return max(at, case.now + RECHECK), f"{words}: {why}{more}"
    then = "withheld" if version.state is State.RETIRED else "destroyed"
    return at, f"{words}, and {then} from {_day(at)}"


def _drained(case: Case, version: Version) -> Iterator[tuple[datetime, str]]:
    """When the last drain of a version is over, if that is all that it waits for."""
    left = case.left_of(version)
    drains = case.evidence(version).drains
    if left and drains and all(each.code in _TIMES for each in left):
        what, at = max(drains.items(), key=lambda each: each[1])
        yield at, f"version {version.number} decrypts until {what} have expired, {_day(at)}"


def _held(case: Case, due: Action) -> Postpone | None:
    """Nothing begins by itself for a while after somebody took a key back, or cancelled.

    Nor from a timer that rotates everything: only who names it has it.
    """
    held, asked = case.attempts.held, case.asked
    if asked.forced or asked.named or held is None or held <= case.now:
        return None
    if not isinstance(due, Rotate) or (due.urgent and due.compromised is None):
        return None
    return Postpone(
        "held after a rollback, a cancel by hand or a cut-over that was undone",
        held,
        due,
        Gate.HOLD,
    )


_CUT_OVER = "it needs a cut-over, see docs/keys/cut-over.md"


def no_slot(case: Case, due: Action) -> Postpone | None:
    """An application that holds so many keys cannot be given one more before one is withheld.

    And one whose keys are named by slots cannot before the key of a slot is destroyed: until then
    ciphertext, and a person who wants it back, name it by that slot.
    """
    policy, secondary = case.policy, case.versions.secondary
    if not isinstance(due, Rotate) or secondary is not None or policy.cuts_over:
        return None
    given = [each for each in case.versions.all if each.state.delivered]
    living = [each for each in case.versions.all if each.state is not State.DESTROYED]
    if policy.capacity == 1 and given:
        why = f"its output holds one key, so none can be staged: {_CUT_OVER}"
        return Postpone(why, case.now + RECHECK, due, Gate.SLOT)
    if not policy.stages and given:
        why = f"its output reads no key that does not encrypt yet: {_CUT_OVER}"
        return Postpone(why, case.now + RECHECK, due, Gate.SLOT)
    if policy.capacity is not None and len(given) >= policy.capacity:
        return _blocked(case, due, given)
    if policy.slots is not None and case.staged is None and len(living) >= policy.slots:
        return _blocked(case, due, living)
    return None


def _blocked(case: Case, due: Action, holding: Sequence[Version]) -> Postpone:
    """The version that is in the way, and until when at least."""
    old = next((each for each in holding if each.state is not State.ACTIVE), holding[0])
    words = f"no free slot: version {old.number} is {old.state}"
    if old.state is State.DECRYPT_ONLY:
        lacking = case.left_of(old)
    else:
        lacking = case.lacking(old) if old.state is State.DISABLED else ()
    if lacking:
        words = f"{words}, and {lacking[0].why}"
    return Postpone(words, _free_at(case, old), due, Gate.SLOT)


def _free_at(case: Case, version: Version) -> datetime:
    """When a version makes room at the earliest; a day from now if nobody can tell."""
    policy, at = case.policy, case.now + RECHECK
    match version.state:
        case State.DISABLED:
            at = version.since + policy.watch
        case State.RETIRED:
            at = version.since + policy.grace
        case State.DECRYPT_ONLY if drained := next(_drained(case, version), None):
            at = drained[0] + policy.grace
    return at if at > case.now else case.now + RECHECK


def _window_closed(case: Case, due: Action) -> Postpone | None:
    if isinstance(due, Reencrypt | Retire | Destroy | Compromise) or (
        isinstance(due, Rotate) and due.urgent
    ):
        return None
    return outside_window(case.policy.window, case.asked, due, now=case.now)


def _too_recent(case: Case, due: Action) -> Postpone | None:
    return backing_off(case.attempts, case.asked, due, now=case.now)


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"


_MAKE_ROOM: tuple[tuple[str, Callable[[Case], Action | None]], ...] = (
    ("destroy", _destroy),
    ("disable", _disable),
    ("retire", _retire),
    ("re-encrypt", _reencrypt),
)
RULES = (
    Rule("disabled", _disabled, says("enabled in the configuration")),
    Rule("backups", _backups, says("no backup is of a keyring that is gone")),
    Rule("adopt", _adopt, says("no application has a key that certrotd does not know")),
    Rule("first", _first, says("there is a key")),
    Rule("compromised", _suspect, says("nobody says that others know a key")),
    Rule("forced", _forced, says("not forced")),
    Rule("staged", _staged, says("no version is staged")),
    Rule("inactive", _inactive, says("a version is active")),
    Rule("limit", _limit, says("the active key is within its cryptoperiod and its other limits")),
    Rule("undelivered", _undelivered, says("there is something at every output")),
    Rule("re-encrypt", _reencrypt, says("nothing that certrotd re-encrypts is under an old key")),
    Rule("destroy", _destroy, says("no version is to be destroyed")),
    Rule("disable", _disable, says("no retired version is past its grace")),
    Rule("retire", _retire, says("something may be left under every older version")),
    Rule("not_due", _not_due, says("")),
)
WAITS = (
    Waiting(Gate.HOLD, _held, says("rotations are not held after a rollback, a cancel or an undo")),
    Waiting(Gate.SLOT, no_slot, says("every output has room for one more key")),
    Waiting(Gate.WINDOW, _window_closed, IN_WINDOW),
    Waiting(Gate.BACKOFF, _too_recent, NO_BACKOFF),
)

"""The metrics, in Prometheus' text format 0.0.4, written out family by family.

By hand, because of the memory: 10,000 subjects are at least 30,000 samples, and the library
makes an object of each before the first is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, product

from certrotd import __version__
from certrotd.daemon.http.sources import Around
from certrotd.errors import Failure
from certrotd.id import Id
from certrotd.lifecycle.finding import MISMATCH, FindingSeverity, Watched
from certrotd.lifecycle.report import Verdict
from certrotd.reporting.snapshot import LastLook, Snapshot
from certrotd.scheduling.clock_trust import ClockTrust
from certrotd.scheduling.due import RESUME

CONTENT = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "certrotd_"
Sample = tuple[str, float]
"""What follows the name (a suffix, labels), and the value."""


def exposition(around: Around) -> Iterator[str]:
    """Every metric, in pieces of whole lines."""
    snapshot = around.snapshot
    return chain(
        _itself(around),
        _subjects(snapshot),
        _rotations(around),
        _watched(around),
        _accounts(around),
    )


def standby_exposition() -> Iterator[str]:
    """Those of a replica that waits to take over."""
    yield from _version()
    yield from _one("standing_by", "gauge", "1: this replica waits to take over.", 1)


def _version() -> Iterator[str]:
    return _family("build_info", "gauge", "The running version.", [
        (_labels(version=__version__), 1)
    ])  # fmt: skip


def _itself(around: Around) -> Iterator[str]:
    snapshot = around.snapshot
    configured, trust = snapshot.configured, snapshot.judgement.trust
    yield from _version()
    yield from _one("ready", "gauge", "Whether certrotd is ready.", not around.unready)
    part = _labels(number=str(around.shard.number), of=str(around.shard.of))
    yield from _family("shard_info", "gauge", "What it looks after.", [(part, 1)])
    if snapshot.last_tick is not None:
        what = "When the scheduler last ticked."
        yield from _one("last_tick_timestamp_seconds", "gauge", what, snapshot.last_tick)
    what = "Whether the clock can be right: 1 for one of sound, wrong."
    yield from _family(
        "clock_trust",
        "gauge",
        what,
        ((_labels(trust=each.value), each is trust) for each in ClockTrust),
    )
    what = "Whether all of the configuration on disk is in force."
    yield from _one("config_valid", "gauge", what, configured.valid)
    what = "Since when the configuration is in force."
    yield from _one("config_in_force_timestamp_seconds", "gauge", what, configured.since)
    what = "Entries skipped because they are wrong."
    yield from _one("entries_left_out", "gauge", what, len(configured.left_out))
    what = "Lasting problems, such as a missing directory."
    yield from _one("troubles", "gauge", what, len(snapshot.troubles))


def _subjects(snapshot: Snapshot) -> Iterator[str]:
    known = {subject: each for subject, each in snapshot.known.items() if each is not None}
    what = "How many subjects of each kind are in each state."
    states = (
        (_labels(kind=kind, state=state), count)
        for kind, counts in snapshot.count().items()
        for state, count in counts.items()
    )
    yield from _family("subjects", "gauge", what, states)

    def each(value: Callable[[LastLook], float | None]) -> Iterator[Sample]:
        for subject, one in known.items():
            if (found := value(one)) is not None:
                yield _subject(subject), found

    def dates(name: str, what: str, value: Callable[[LastLook], float | None]) -> Iterator[str]:
        return _family(f"subject_{name}_timestamp_seconds", "gauge", what, each(value))

    yield from dates(
        "not_before", "Start of the validity of what is in use.", lambda k: k.not_before
    )
    yield from dates("not_after", "When what is in use expires.", lambda k: k.not_after)
    yield from dates("next_check", "When certrotd looks at it again.", lambda k: k.next)
    what = "Rotations that failed in a row, if any."
    failures = each(lambda k: k.failures or None)
    yield from _family("subject_failures", "gauge", what, failures)
    what = "When the waiting rotation in flight began, if any."
    flying = each(lambda k: k.flight.since.timestamp() if k.flight and k.flight.since else None)
    name = "subject_in_flight_since_timestamp_seconds"
    yield from _family(name, "gauge", what, flying)
    what = "The gate that holds back a due rotation, if any."
    held = ((subject, snapshot.held(subject)) for subject in known)
    gates = (
        (_labels(kind=subject.kind, name=subject.name, by=each.by), 1)
        for subject, each in held
        if each
    )
    yield from _family("subject_held", "gauge", what, gates)
    what = "Attempts left before it expires if all fail, if something is due or failed."
    left = ((subject, snapshot.attempts_left(subject)) for subject in known)
    samples = ((_subject(subject), n) for subject, n in left if n is not None)
    yield from _family("attempts_left", "gauge", what, samples)


def _rotations(around: Around) -> Iterator[str]:
    snapshot = around.snapshot
    acts = (*around.terms.acts, RESUME.act)
    what = "Rotations since the start that ended or wait."
    counts = dict.fromkeys(product(Verdict, acts), 0) | dict(snapshot.rotations)
    samples = ((_labels(outcome=o, act=k), n) for (o, k), n in sorted(counts.items()))
    yield from _family("rotations_total", "counter", what, samples)
    yield from _one("rotations_running", "gauge", "Running rotations.", len(snapshot.running))
    yield from _family(
        "step_duration_seconds", "histogram", "Duration of the steps.", _buckets(snapshot)
    )
    what = "Steps whose run or undo failed."
    failures = dict.fromkeys(snapshot.steps, 0) | dict(snapshot.failed_steps)
    failed = ((_labels(step=step), n) for step, n in sorted(failures.items()))
    yield from _family("step_failures_total", "counter", what, failed)


def _buckets(snapshot: Snapshot) -> Iterator[Sample]:
    for step, durations in sorted(snapshot.steps.items()):
        count = 0
        for bound, count in durations.cumulated():
            le = "+Inf" if bound is None else _number(bound)
            yield f"_bucket{_labels(step=step, le=le)}", count
        yield f"_sum{_labels(step=step)}", durations.total
        yield f"_count{_labels(step=step)}", count


def _watched(around: Around) -> Iterator[str]:
    snapshot = around.snapshot
    ends = [seen for seen in snapshot.watched if seen.is_endpoint]
    what = "Whether an endpoint serves another certificate than the live generation."
    ours = ((_endpoint(seen), _mismatch(seen)) for seen in ends if seen.about is not None)
    yield from _family("served_mismatch", "gauge", what, ours)
    what = "When the certificate that an endpoint serves expires."
    dated = ((_endpoint(s), s.not_after.timestamp()) for s in ends if s.not_after is not None)
    yield from _family("endpoint_not_after_timestamp_seconds", "gauge", what, dated)
    found = snapshot.found()
    what = "Current findings of the watcher, by kind."
    samples = (
        (_labels(finding=kind, severity=severity), found.get((kind, severity), 0))
        for kind in around.terms.findings
        for severity in FindingSeverity
    )
    yield from _family("findings", "gauge", what, samples)


def _accounts(around: Around) -> Iterator[str]:
    what = "Orders that an account may still place, if limited."
    left = around.budgets.items()
    samples = ((_labels(issuer=issuer), n) for issuer, n in left if not isinstance(n, Failure))
    yield from _family("budget_left", "gauge", what, samples)
    audit = around.audit
    trusted = not isinstance(audit, Failure) and audit.state != "unreadable"
    what = "Whether the head file of the audit log is readable."
    yield from _one("audit_head_readable", "gauge", what, trusted)
    if not isinstance(audit, Failure) and audit.known is not None:
        what = "Records in the audit log, by its head file."
        yield from _one("audit_records_total", "counter", what, audit.head.seq)
    what = "Failed writes and detected damages of the audit log."
    yield from _one("audit_failures_total", "counter", what, around.snapshot.unaudited)


def _subject(subject: Id) -> str:
    return f'{{kind="{subject.kind}",name="{subject.name}"}}'


def _endpoint(seen: Watched) -> str:
    return _labels(
        kind=seen.about.kind if seen.about else "",
        name=seen.about.name if seen.about else "",
        target=seen.target or "",
        endpoint=seen.what,
        sni=seen.sni,
    )


def _mismatch(seen: Watched) -> bool:
    return any(finding.kind == MISMATCH for finding in seen.findings)


def _one(name: str, kind: str, what: str, value: float) -> Iterator[str]:
    return _family(name, kind, what, [("", value)])


def _family(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterator[str]:
    name = PREFIX + name
    yield f"# HELP {name} {what}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{labels} {_number(value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _labels(**labels: str) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inside}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
